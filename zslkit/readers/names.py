"""Comparison of names as people read them: equality, clashes, and joins of two lists."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from zslkit.errors import DataError, listed

_VARIANTS = "\ufe0e\ufe0f"  # variation selectors: another glyph for the character before them


def same_look(name: str) -> str:
    """Key of a name by its look: equal for two names that look the same on a screen.

    Some file systems and keyboards decompose accented letters, so equal names differ in bytes.

    >>> same_look(" cafe\\u0301\\u200b  noir") == same_look("caf\\u00e9 noir")
    True
    """
    text = unicodedata.normalize("NFKC", name)
    kept = (
        c
        for c in text
        if c.isspace() or (unicodedata.category(c) not in ("Cc", "Cf") and c not in _VARIANTS)
    )
    return " ".join("".join(kept).split())


def same_name(name: str) -> str:
    """Key of a name by its look, without regard to case.

    >>> same_name("Red  Fox") == same_name("red fox")
    True
    """
    return unicodedata.normalize("NFKC", same_look(name).casefold())


def clash(names: Iterable[str], key: Callable[[str], str] = same_name) -> tuple[str, str] | None:
    """First two entries of a list with the same key, None if all differ."""
    seen: dict[str, str] = {}
    for name in names:
        known = key(name)
        if known in seen:
            return seen[known], name
        seen[known] = name
    return None


def match(
    names: Iterable[str], among: Iterable[str], key: Callable[[str], str] = same_name
) -> dict[str, str]:
    """Join two lists of names: name -> the name in `among` with the same key.

    All joins by name use this function. A key shared by several names of one list is left out.
    """
    left, right = _by_key(names, key), _by_key(among, key)
    return {
        mine[0]: right[k][0]
        for k, mine in left.items()
        if len(mine) == 1 and len(right.get(k, ())) == 1
    }


def _by_key(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(key(name), []).append(name)
    return groups


def shown(name: str) -> str:
    """A name in quotes, followed by its escaped form if it has characters outside ASCII.

    >>> shown("wren"), shown("caf\\u00e9")
    ("'wren'", "'café' (caf\\\\xe9)")
    """
    plain = ascii(name)
    return repr(name) if plain == repr(name) else f"{name!r} ({plain[1:-1]})"


def clash_words(kind: str, names: Iterable[str], key: Callable[[str], str] = same_name) -> str:
    """Error text for a list in which two names have the same key, "" if there is none.

    `kind` says what the names stand for, in the plural.
    """
    pair = clash(names, key)
    if pair is None:
        return ""
    if pair[0] == pair[1]:
        return f"two {kind} are named {shown(pair[0])}; leave one"
    alike = same_look(pair[0]) == same_look(pair[1])
    why = "look the same" if alike else "are the same but for capitals"
    return (
        f"the names of two {kind} {why}: {shown(pair[0])} and {shown(pair[1])}; rename one, or "
        "make them one"
    )


def refuse_clash(
    place: object, kind: str, names: Iterable[str], key: Callable[[str], str] = same_name
) -> None:
    """Raise DataError, which names `place` and the two, if two names of a list are the same."""
    if words := clash_words(kind, names, key):
        raise DataError(f"{place}: {words}")


def some(names: Sequence[str], most: int = 5) -> str:
    """The first `most` names of a list, quoted."""
    return listed([*map(shown, names)], most)
