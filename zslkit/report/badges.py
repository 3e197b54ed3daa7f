"""Badges: how a number was produced, for runs, published rows and rows selected on test.

Tables and exports print their text, JSON contains them as an object, and the page explains each.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from zslkit.record import FeatureInfo, RunRecord
from zslkit.report.published import UNKNOWN, Published

ON_TEST: Final = "test (as papers do)"
"""Selection of an epoch on the test sets; never that of a run, whose record refuses it."""
ORACLE: Final = "oracle"
"""Calibration with a gamma selected on the test sets."""
BY_HAND: Final = "by hand"
"""Calibration with a gamma given by the user."""
CONSTANT: Final = "constant"
"""Calibration of a published row with a constant gamma in the authors' program."""
AS_IT_COMES: Final = "as it comes"
"""Resolution of images that are not resized, and of features that come with a dataset."""

OF_TEST: Final = " (means over test photos)"
"""After the kind of semantics that were made from test photos of the unseen classes."""
NOT_INDUCTIVE: Final = "not inductive: attributes of test photos"
"""Protocol of a run with such semantics."""

KINDS = (
    "protocol",
    "selection",
    "settings",
    "calibration",
    "folds",
    "backbone",
    "trained",
    "linear",
    "resolution",
    "split",
    "input",
    "semantics",
    "note",
)
"""Kinds of badges, in display order."""

_WORDS = {
    "selection": {
        "last": "last epoch",
        "validation": "epoch picked on validation",
        ON_TEST: "epoch: test (as papers do)",
    },
    "calibration": {
        "none": "uncalibrated",
        "validation": "gamma picked on validation",
        ORACLE: "gamma: oracle",
        BY_HAND: "gamma given by hand",
        CONSTANT: "gamma: a constant",
    },
    "trained": {"frozen": "backbone frozen", "tuned": "backbone tuned"},
}

LINEAR: Final = "frozen: linear"
"""A model whose local losses need a trained backbone, on a frozen one."""

MEANINGS: Final = {
    LINEAR: (
        "With frozen features no local term of the loss reaches the class scores: the model is one "
        "linear map of pooled features."
    ),
    NOT_INDUCTIVE: (
        "The attributes of unseen classes are means over what their own test photos show."
    ),
    "inductive": "Nothing of the unseen classes in training.",
    "class-inductive": "Semantics of the unseen classes in training, none of their images.",
    "transductive": "The test images in training, without their labels.",
    "last epoch": "No epoch was picked: the last one counts.",
    "epoch picked on validation": (
        "On classes and images held out of trainval; never on test images."
    ),
    "epoch: test (as papers do)": "The epoch with the best figure on the test sets: no result.",
    "trained elsewhere": "The weights come from another program.",
    "settings picked on validation": (
        "On classes and images held out of trainval; never on test images."
    ),
    "uncalibrated": "Nothing is added to the scores of unseen classes.",
    "gamma picked on validation": (
        "A constant is added to the scores of unseen classes, picked on held-out trainval data."
    ),
    "gamma: oracle": (
        "The constant with the best H on the test sets is added to the scores of "
        "unseen classes: no result."
    ),
    "gamma given by hand": (
        "A constant that the user chose is added to the scores of unseen classes: no result."
    ),
    "gamma: a constant": (
        "A constant that stands in the authors' program; how it was picked is not known."
    ),
    "backbone frozen": "The network that makes the features was not trained along.",
    "backbone tuned": "The network that makes the features was trained along.",
    "pooled": "The model is fed with one vector an image.",
    "map": "The model is fed with a feature map, a vector for each position.",
    "image": "The model is fed with pixels.",
}
"""Explanation of a badge whose text needs one."""


@dataclass(frozen=True)
class Badge:
    """One badge; `kind` is one of KINDS."""

    kind: str
    text: str
    explanation: str = ""


@dataclass(frozen=True)
class Badges:
    """How one row was produced; "unknown" for unknown properties of a published row.

    Attributes:
        protocol: inductive, class-inductive, transductive or NOT_INDUCTIVE.
        selection: last, validation, test (as papers do), or trained elsewhere.
        calibration: none, validation, oracle, by hand, or constant.
        trained: Whether the backbone was frozen or tuned.
        linear: Whether the frozen backbone leaves one linear map of pooled features of the model.
        resolution: Such as "224 px".
        split: Fingerprint of the split; `semantics` has a kind before its own.
        settings: Whether a search on validation selected settings, on so many `folds`.
        notes: Remarks to show with every metric.
    """

    protocol: str | None
    selection: str | None
    calibration: str | None
    backbone: str | None
    trained: str | None
    resolution: str | None
    split: str | None
    semantics: str | None = None
    input: str | None = None
    settings: bool = False
    folds: int | None = None
    linear: bool = False
    notes: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Badges for JSON; null where a badge does not apply."""
        return {**asdict(self), "notes": list(self.notes)}

    @property
    def words(self) -> tuple[str, ...]:
        """Texts for a table row, without those that the whole block shares."""
        shared = ("backbone", "resolution", "split", "semantics", "input")
        return tuple(mark.text for mark in self.marks() if mark.kind not in shared)

    @property
    def every_word(self) -> tuple[str, ...]:
        """Texts of all badges, for a row outside a block."""
        return tuple(mark.text for mark in self.marks())

    def marks(self) -> tuple[Badge, ...]:
        """Badges with explanations, in the order of KINDS; unknown ones are listed in `unknown`."""
        kind, _, fingerprint = (self.semantics or "").rpartition(" ")
        texts: dict[str, list[str | None]] = {
            "settings": ["settings picked on validation"] if self.settings else [],
            "folds": [f"{self.folds} validation folds"] if (self.folds or 1) > 1 else [],
            "linear": [LINEAR] if self.linear else [],
            "split": [f"split {self.split[:8]}"] if self.split not in (None, UNKNOWN) else [],
            "semantics": [f"{kind} {fingerprint[:8]}".strip()],
            "note": list(self.notes),
        }
        for kind in KINDS:
            if kind not in texts:
                value: str | None = getattr(self, kind)
                texts[kind] = [
                    None if value in (None, UNKNOWN) else _WORDS.get(kind, {}).get(value, value)
                ]
        return tuple(
            Badge(kind, text, MEANINGS.get(text, ""))
            for kind in KINDS
            for text in texts[kind]
            if text
        )

    @property
    def unknown(self) -> tuple[str, ...]:
        """Kinds whose value is unknown."""
        return tuple(kind for kind in KINDS if getattr(self, kind, None) == UNKNOWN)


def badges_of(record: RunRecord) -> Badges:
    """Badges of a run."""
    protocol, features = record.protocol, record.features
    scoring = record.scoring.remark if record.scoring else ""
    return Badges(
        protocol=NOT_INDUCTIVE if from_test_photos(record) else protocol.training,
        selection="trained elsewhere" if record.elsewhere else protocol.selection,
        calibration=protocol.calibration,
        backbone=features.backbone,
        trained="tuned" if features.tuned else "frozen",
        resolution=resolution(features),
        split=record.fingerprints.split,
        semantics=f"{record.dataset.semantics} {record.fingerprints.semantics}",
        input=features.input,
        settings=bool(protocol.tuned),
        folds=protocol.folds,
        linear=record.model.linear,
        notes=tuple(filter(None, (record.model.pretraining_note, scoring))),
    )


def from_test_photos(record: RunRecord) -> bool:
    """Whether class attributes were made from test photos."""
    return record.protocol.class_attributes != "given"


def badges_of_published(entry: Published) -> Badges:
    """Badges of a published row; its split is never known."""
    return Badges(
        protocol=entry.protocol,
        selection=entry.selection,
        calibration=entry.calibration,
        backbone=entry.backbone,
        trained="tuned" if entry.tuned else "frozen",
        resolution=entry.resolution,
        split=UNKNOWN,
        input=entry.input,
        notes=tuple(entry.remarks.split("; ")) if entry.remarks else (),
    )


def picked_on_test(made: Badges, *, epoch: bool = False, gamma: bool = False) -> Badges:
    """Badges of a row whose epoch or gamma was selected on the test sets instead."""
    if epoch:  # protocol.watch_test scores without calibration
        made = replace(made, selection=ON_TEST, calibration="none")
    return replace(made, calibration=ORACLE) if gamma else made


def resolution(features: FeatureInfo) -> str:
    """Input size of the backbone: "224 px", "48x112 px" (height x width), or "as it comes"."""
    size = features.size
    if isinstance(size, tuple):
        return f"{size[0]}x{size[1]} px"
    return f"{size} px" if size else AS_IT_COMES
