"""A row's marks on the page: those of zslkit.report.badges, without what its block's title says already."""

from __future__ import annotations

from zslkit.report.badges import KINDS, Badge, Badges
from zslkit.report.comparability import Comparability

__all__ = ["KINDS", "Badge", "marks_of"]


def marks_of(made: Badges, setting: Comparability) -> tuple[Badge, ...]:
    """The marks of a row that was made so, in the order of KINDS. setting: of its block."""
    usual = {"split", *(["semantics"] if setting.kind == "attributes" else [])}
    return tuple(mark for mark in made.marks() if mark.kind not in usual)
