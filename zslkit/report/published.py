"""Published results as data, to stand beside ours and never among them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

UNKNOWN: Final = "unknown"
"""The label of a row that neither the method as it is described nor the authors' program tells."""
Doubt = Literal["T1", "U", "S", "H", "backbone"]
Percent = Annotated[float, Field(ge=0, le=100)]


class Published(BaseModel):
    """One method on one dataset, in percent; a figure that is not known is None.

    backbone: what the features are from; tuned: whether it was trained with the method. averaging: of accuracies, over classes or
    over images. unconfirmed: what no public source was found for. source: where the rest was read. protocol, selection, calibration and
    resolution are labels given here, "unknown" where nothing tells them; calibration "constant": a gamma that stands in the program, picked
    nobody knows how. program: the authors' program that labels were read from, which need not be the one that made the figures.
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
        """Whether the backbone was trained with the method; pooled features and maps come from a frozen one."""
        return self.input == "end to end"

    def figures(self) -> dict[str, float | None]:
        return {"T1": self.T1, "U": self.U, "S": self.S, "H": self.H}

    @property
    def confirmed(self) -> bool:
        """Every figure that is given was read in a public source."""
        return not self._doubted

    @property
    def _doubted(self) -> list[str]:
        return [name for name in self.unconfirmed if name != "backbone"]

    @property
    def remarks(self) -> str:
        """What a table says beside the figures."""
        whole = len(self._doubted) == sum(v is not None for v in self.figures().values())
        doubt = "unconfirmed" if whole else f"{', '.join(self._doubted)} unconfirmed"
        image = "accuracy per image" if self.averaging == "per image" else ""
        return "; ".join(
            part for part in (doubt if self._doubted else "", image, self.notes) if part
        )


def published(dataset: str) -> list[Published]:
    """Published results on a dataset by the name that `published_as` gives it; none if nothing is comparable."""
    return [entry for entry in everything() if entry.dataset == dataset]


@cache
def everything() -> tuple[Published, ...]:
    """All published results that are known."""
    path = Path(__file__).with_suffix(".yaml")
    return tuple(
        Published.model_validate(row) for row in yaml.safe_load(path.read_text(encoding="utf-8"))
    )
