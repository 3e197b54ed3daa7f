"""The columns of a comparison table that a user may choose, and the table's caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from zslkit.errors import UnknownName

_WORDS: Final = "runs T1 U S H H-none AUSUC parameters training peak-memory protocol"
NAMES: Final = {w: w.replace("-", " ") for w in _WORDS.split()} | {"H-none": "H, gamma 0"}
"""Word of a column -> its header. The column of the model always comes first."""
COST_NAMES: Final = ("parameters", "training", "peak memory")
"""Headers of the columns of costs."""


@dataclass(frozen=True)
class Layout:
    """What a table shows.

    Attributes:
        columns: Headers in order; None for all.
        caption: Text in place of the block's title, which becomes a note; "" for the title.
        costs: Whether columns of costs are shown in Markdown and LaTeX if `columns` is None.
    """

    columns: tuple[str, ...] | None = None
    caption: str = ""
    costs: bool = True

    def title(self, title: str, blocks: int) -> str:
        """Heading of a block; with several blocks the caption alone would not tell them apart."""
        if not self.caption:
            return title
        return self.caption if blocks == 1 else f"{self.caption} ({title})"

    def notes(self, title: str, blocks: int) -> list[str]:
        """Note with what the caption replaces."""
        return [f"All rows: {title}."] if self.caption and blocks == 1 else []


def headers(words: Sequence[str]) -> tuple[str, ...]:
    """Headers of the columns with these words, each once.

    Raises:
        UnknownName: There is no such column.
    """
    for word in words:
        if word not in NAMES:
            raise UnknownName("column", word, NAMES)
    return tuple(dict.fromkeys(NAMES[word] for word in words))
