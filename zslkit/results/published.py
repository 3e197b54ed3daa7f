"""Published results as data, to stand beside ours and never among them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

Figure = Literal["T1", "U", "S", "H"]
Percent = Annotated[float, Field(ge=0, le=100)]


class Published(BaseModel):
    """One method on one dataset, in percent; a figure that is not known is None.

    unconfirmed: the figures that no public source was found for. source: where the other ones were read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    dataset: str
    input: Literal["pooled", "map", "end to end"]
    T1: Percent | None
    U: Percent | None
    S: Percent | None
    H: Percent | None
    source: str | None = None
    unconfirmed: tuple[Figure, ...] = ()
    notes: str = ""

    def figures(self) -> dict[str, float | None]:
        return {"T1": self.T1, "U": self.U, "S": self.S, "H": self.H}

    @property
    def confirmed(self) -> bool:
        """Every figure that is given was read in a public source."""
        return not self.unconfirmed

    @property
    def remarks(self) -> str:
        """What a table says beside the figures."""
        whole = len(self.unconfirmed) == sum(v is not None for v in self.figures().values())
        doubt = "unconfirmed" if whole else f"{', '.join(self.unconfirmed)} unconfirmed"
        return "; ".join(part for part in (doubt if self.unconfirmed else "", self.notes) if part)


def published(dataset: str) -> list[Published]:
    """Published results on a dataset by the name that `published_as` gives it; none if nothing is comparable."""
    return [entry for entry in _everything() if entry.dataset == dataset]


@cache
def _everything() -> tuple[Published, ...]:
    path = Path(__file__).with_suffix(".yaml")
    return tuple(Published.model_validate(row) for row in yaml.safe_load(path.read_text(encoding="utf-8")))
