"""Sentences that describe a class to CLIP, by its name or its strongest attributes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import UserError
from zslkit.readers.word_vectors import phrases_of

SLOT = "{}"
"""Placeholder for the class in a template."""


def readable(name: str) -> str:
    """A class name as plain words: no leading number, blanks for _, + and /, lower case.

    >>> readable("001.Black_footed_Albatross")
    'black footed albatross'
    >>> readable("grizzly+bear")
    'grizzly bear'
    >>> readable("b/bow_window/indoor")
    'b bow window indoor'
    """
    text = re.sub(r"^\d+\.\s*(?=\D)", "", unicodedata.normalize("NFKC", name).strip())
    return " ".join(re.sub(r"[_+/\\]", " ", text).lower().split())


def name_prompts(classes: Sequence[str], templates: Sequence[str]) -> list[tuple[str, ...]]:
    """Sentences of each class, one per template.

    Raises:
        UserError: Two classes give the same sentences, so that no score could separate them.
    """
    names = [readable(name) for name in classes]
    for spoken, group in groupby(
        sorted(range(len(names)), key=lambda k: names[k]), key=lambda k: names[k]
    ):
        if len(alike := list(group)) > 1:
            raise UserError(
                f"clip: the classes {classes[alike[0]]!r} and {classes[alike[1]]!r} both read "
                f"{spoken!r}; rename one of them, "
                "or describe classes by prompts=attributes"
            )
    return [tuple(template.replace(SLOT, name) for template in templates) for name in names]


def attribute_prompts(
    table: NDArray[np.float32],
    classes: Sequence[str],
    attributes: Sequence[str],
    templates: Sequence[str],
    strongest: int,
    words: Mapping[str, str],
) -> list[tuple[str, ...]]:
    """Sentences of each class from its strongest attributes, strongest first.

    Args:
        table: `(C, A)`; the largest values above zero are chosen, at ties the first.
        classes: Class names.
        attributes: Attribute names.
        templates: Sentences with a slot.
        strongest: Number of attributes per class.
        words: Attribute name -> plain words for it.

    Raises:
        UserError: Attribute names are not words, `words` has an unknown attribute, or a class has
            no attribute above zero.
    """
    if all(re.fullmatch(r"\w+ \d+", name) for name in attributes):
        raise UserError(
            "clip: prompts=attributes needs attributes with names in words, and here they are "
            f"{attributes[0]!r}, ...; "
            "name them, or take prompts=names"
        )
    phrases = [" ".join(phrase.words) for phrase in phrases_of(attributes, words)]
    prompts = []
    for name, row in zip(classes, table, strict=True):
        chosen = [int(i) for i in np.argsort(-row, kind="stable")[:strongest] if row[i] > 0]
        if not chosen:
            raise UserError(
                f"clip: the class {name!r} has no attribute above zero to be described by; take "
                "prompts=names"
            )
        described = ", ".join(phrases[i] for i in chosen)
        prompts.append(tuple(template.replace(SLOT, described) for template in templates))
    return prompts
