"""Badges on the page, without those that the title of the block contains."""

from __future__ import annotations

from zslkit.report.badges import KINDS, Badge, Badges
from zslkit.report.comparability import Comparability

__all__ = ["KINDS", "Badge", "marks_of"]


def marks_of(made: Badges, setting: Comparability) -> tuple[Badge, ...]:
    """Badges of a row, in the order of KINDS.

    Args:
        made: How the row was produced.
        setting: Shared properties of its block.
    """
    usual = {"split", *(["semantics"] if setting.kind == "attributes" else [])}
    return tuple(mark for mark in made.marks() if mark.kind not in usual)
