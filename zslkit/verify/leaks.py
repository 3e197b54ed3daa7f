"""Unseen classes whose names are also ImageNet-1k classes, on which most backbones are trained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["same", "wider", "narrower"]


@dataclass(frozen=True)
class Leak:
    """An unseen class and the ImageNet class with its name."""

    name: str
    synset: str  # Synset of the ImageNet class
    imagenet: str
    # "same": equal names. "wider": ImageNet's name is the end of the class's (albatross, Sooty
    # Albatross) and may include its images. "narrower": the class's name is the end of ImageNet's
    # (sheep, bighorn sheep).
    kind: Kind


def words(name: str) -> tuple[str, ...]:
    """Split a class name into lower-case words, without number and initial letter.

    >>> words("051.Horned_Grebe"), words("grizzly+bear"), words("a/apse/indoor")
    (('horned', 'grebe'), ('grizzly', 'bear'), ('apse', 'indoor'))
    """
    bare = re.sub(r"^(?:\d+\.|/?\w/)", "", name).lower().replace("'", "")
    spelled = (re.sub("^grey$", "gray", word) for word in re.split(r"[\W_]+", bare))
    return tuple(word for word in spelled if word)


def imagenet_names() -> dict[str, tuple[str, ...]]:
    """Synset -> its names, for the 1000 classes of ImageNet-1k, from timm's lists."""
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo("imagenet-1k")
    names: dict[str, tuple[str, ...]] = {}
    for k in range(info.num_classes()):
        lemmas = info.index_to_description(k).split(",")
        names[str(info.index_to_label_name(k))] = tuple(lemma.strip() for lemma in lemmas)
    return names


def find_leaks(unseen: Sequence[str], names: Mapping[str, Sequence[str]]) -> list[Leak]:
    """Find the closest ImageNet class of each unseen class, if there is one.

    Names are compared by whole words from their ends, since the last word of an English name is the
    kind: a loggerhead shrike is a shrike, not a loggerhead. Synonyms (horse, sorrel) are not
    recognised. `names` are those of `imagenet_names`.
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
    """Rank (lower is closer) and kind of the match of two names; empty if they do not match."""
    if own == theirs or "".join(own) == "".join(theirs):
        return [((0, 0), "same")]
    if own[-len(theirs) :] == theirs:
        return [((1, -len(theirs)), "wider")]  # the longest name is the closest
    if theirs[-len(own) :] == own:
        return [((2, len(theirs)), "narrower")]
    return []
