"""Names as people read them: which two are one name, and which name of one list is which of another."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from zslkit.errors import DataError, listed

_VARIANTS = "\ufe0e\ufe0f"  # ask for another drawing of the sign before them


def same_look(name: str) -> str:
    """A name as it looks: equal for two that nobody can tell apart on a screen.

    Some file systems and keyboards take accented letters apart, so that equal names have unequal bytes.

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
    """The same, without regard to case: equal for two that are one name.

    >>> same_name("Red  Fox") == same_name("red fox")
    True
    """
    return unicodedata.normalize("NFKC", same_look(name).casefold())


def clash(names: Iterable[str], key: Callable[[str], str] = same_name) -> tuple[str, str] | None:
    """The first two entries of a list that are one name, None if all differ."""
    held: dict[str, str] = {}
    for name in names:
        known = key(name)
        if known in held:
            return held[known], name
        held[known] = name
    return None


def match(
    names: Iterable[str], among: Iterable[str], key: Callable[[str], str] = same_name
) -> dict[str, str]:
    """Name -> the one of `among` that is the same name. All joins by name go through here.

    Two are joined only where exactly one name on each side has this key; all others are left out.
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
    """A name in quotes, and with its signs by number where that tells more.

    >>> shown("wren"), shown("caf\\u00e9")
    ("'wren'", "'café' (caf\\\\xe9)")
    """
    plain = ascii(name)
    return repr(name) if plain == repr(name) else f"{name!r} ({plain[1:-1]})"


def clash_words(kind: str, names: Iterable[str], key: Callable[[str], str] = same_name) -> str:
    """What is wrong with a list in which two names are one, "" if nothing is. kind: what they name, in the plural."""
    pair = clash(names, key)
    if pair is None:
        return ""
    if pair[0] == pair[1]:
        return f"two {kind} are named {shown(pair[0])}; leave one"
    why = (
        "look the same"
        if same_look(pair[0]) == same_look(pair[1])
        else "are the same but for capitals"
    )
    return f"the names of two {kind} {why}: {shown(pair[0])} and {shown(pair[1])}; rename one, or make them one"


def refuse_clash(
    place: object, kind: str, names: Iterable[str], key: Callable[[str], str] = same_name
) -> None:
    """Raises DataError that shows both names if two of a list are one."""
    if words := clash_words(kind, names, key):
        raise DataError(f"{place}: {words}")


def some(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, quoted."""
    return listed([*map(shown, names)], most)
