"""A row's marks on the page: those of zslkit.results.badges, without what its block's title says already."""

from __future__ import annotations

from zslkit.results.badges import KINDS, Badge
from zslkit.results.comparison import Row
from zslkit.results.setting import Setting

__all__ = ["KINDS", "Badge", "badges_of"]


def badges_of(row: Row, setting: Setting) -> tuple[Badge, ...]:
    """The row's marks, in the order of KINDS. setting: of its block."""
    usual = {"split", *(["semantics"] if setting.kind == "attributes" else [])}
    return tuple(mark for mark in row.made.marks() if mark.kind not in usual)
