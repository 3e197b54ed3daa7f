"""Published results as data (`published.yaml`), shown beside our runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from zslkit.errors import UnknownName

UNKNOWN: Final = "unknown"
"""Label of a property that neither the paper nor the authors' program states."""
Doubt = Literal["T1", "U", "S", "H", "backbone"]
Percent = Annotated[float, Field(ge=0, le=100)]


class Published(BaseModel):
    """Result of one method on one dataset (`published_as`), in percent; None if unknown.

    Protocol, selection, calibration and resolution are labels assigned here, read from the authors'
    `program`, which need not have produced the numbers; a "constant" calibration is a gamma in it,
    of unknown selection. `source` is that of the rest; `unconfirmed` values have no public one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    dataset: str
    input: Literal["pooled", "map", "end to end"]
    T1: Percent | None
    U: Percent | None
    S: Percent | None
    H: Percent | None
    backbone: str = "ResNet-101"
    averaging: Literal["per class", "per image"] = "per class"
    protocol: Literal["inductive", "class-inductive", "transductive", "unknown"]
    selection: Literal["last", "validation", "test (as papers do)", "unknown"]
    calibration: Literal["none", "validation", "oracle", "constant", "unknown"]
    resolution: str
    program: str | None = None
    source: str | None = None
    unconfirmed: tuple[Doubt, ...] = ()
    notes: str = ""

    @property
    def tuned(self) -> bool:
        """Whether the backbone was trained; backbones of pooled features and maps are frozen."""
        return self.input == "end to end"

    def figures(self) -> dict[str, float | None]:
        return {"T1": self.T1, "U": self.U, "S": self.S, "H": self.H}

    @property
    def confirmed(self) -> bool:
        """Whether a public source states every given number."""
        return not self._doubted

    @property
    def _doubted(self) -> list[str]:
        return [name for name in self.unconfirmed if name != "backbone"]

    @property
    def remarks(self) -> str:
        """Remarks to show beside the numbers."""
        whole = len(self._doubted) == sum(v is not None for v in self.figures().values())
        doubt = "unconfirmed" if whole else f"{', '.join(self._doubted)} unconfirmed"
        image = "accuracy per image" if self.averaging == "per image" else ""
        return "; ".join(filter(None, (doubt if self._doubted else "", image, self.notes)))


def published(dataset: str | None = None) -> list[Published]:
    """Published results, as papers print them; of one dataset, such as "cub", or of all.

    Raises:
        UnknownName: There is no published result on this dataset.
    """
    found = [entry for entry in everything() if dataset in (None, entry.dataset)]
    if not found:
        known = {entry.dataset for entry in everything()}
        raise UnknownName("published result on a dataset named", str(dataset), known)
    return found


@cache
def everything() -> tuple[Published, ...]:
    """All known published results."""
    path = Path(__file__).with_suffix(".yaml")
    return tuple(
        Published.model_validate(row) for row in yaml.safe_load(path.read_text(encoding="utf-8"))
    )
