"""Which unseen classes a backbone may have been shown by name: the classes of ImageNet-1k against those of a dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["same", "wider", "narrower"]


@dataclass(frozen=True)
class Leak:
    """An unseen class and the ImageNet class of that name.

    kind: "same" name; "wider", ImageNet's name is the end of the class's (albatross, Sooty Albatross) and may hold its
    images; "narrower", the class's name is the end of ImageNet's (sheep, bighorn sheep).
    """

    name: str
    synset: str
    imagenet: str
    kind: Kind


def words(name: str) -> tuple[str, ...]:
    """A class name as plain words: without number and initial letter, in lower case.

    >>> words("051.Horned_Grebe"), words("grizzly+bear"), words("a/apse/indoor")
    (('horned', 'grebe'), ('grizzly', 'bear'), ('apse', 'indoor'))
    """
    bare = re.sub(r"^(?:\d+\.|/?\w/)", "", name).lower().replace("'", "")
    spelled = (re.sub("^grey$", "gray", word) for word in re.split(r"[\W_]+", bare))
    return tuple(word for word in spelled if word)


def imagenet_names() -> dict[str, tuple[str, ...]]:
    """Synset -> its names, for the 1000 classes of ImageNet-1k, from the lists that timm carries."""
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo("imagenet-1k")
    return {
        str(info.index_to_label_name(k)): tuple(
            lemma.strip() for lemma in info.index_to_description(k).split(",")
        )
        for k in range(info.num_classes())
    }


def find_leaks(unseen: Sequence[str], names: Mapping[str, Sequence[str]]) -> list[Leak]:
    """At most one leak for each unseen class, the nearest kind.

    Names are compared by whole words, and by their ends alone, since the last word of an English name says what a thing
    is: a loggerhead shrike is a shrike and no loggerhead. Two names for one thing (horse, sorrel) are not recognised.
    """
    lemmas = [
        (synset, lemma, words(lemma)) for synset, all_names in names.items() for lemma in all_names
    ]
    found = []
    for name in unseen:
        own = words(name)
        hits = [
            (rank, Leak(name, synset, lemma, kind))
            for synset, lemma, theirs in lemmas
            if own and theirs
            for rank, kind in _kinds(own, theirs)
        ]
        if hits:
            found.append(min(hits, key=lambda hit: hit[0])[1])
    return found


def _kinds(own: tuple[str, ...], theirs: tuple[str, ...]) -> list[tuple[tuple[int, int], Kind]]:
    if own == theirs or "".join(own) == "".join(theirs):
        return [((0, 0), "same")]
    if own[-len(theirs) :] == theirs:
        return [((1, -len(theirs)), "wider")]  # the longest name is the nearest
    if theirs[-len(own) :] == own:
        return [((2, len(theirs)), "narrower")]
    return []
