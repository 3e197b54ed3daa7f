"""How a row was made, as short marks: the words of `zslkit compare`, each with its kind and its meaning."""

from __future__ import annotations

from dataclasses import dataclass

from zslkit.results.comparison import Row, Setting

KINDS = ("protocol", "selection", "settings", "calibration", "folds", "backbone", "trained", "resolution", "input", "semantics", "note")

_SAID = {
    "inductive": "Nothing of the unseen classes in training.",
    "class-inductive": "Semantics of the unseen classes in training, none of their images.",
    "transductive": "Images of the unseen classes in training.",
    "last epoch": "No epoch was picked: the last one counts.",
    "epoch picked on validation": "On classes and images held out of trainval; never on test images.",
    "trained elsewhere": "The weights come from another program.",
    "settings picked on validation": "On classes and images held out of trainval; never on test images.",
    "uncalibrated": "Nothing is added to the scores of unseen classes.",
    "gamma picked on validation": "A constant is added to the scores of unseen classes, picked on held-out trainval data.",
    "backbone frozen": "The network that makes the features was not trained along.",
    "backbone tuned": "The network that makes the features was trained along.",
    "pooled": "The model is fed with one vector an image.",
    "map": "The model is fed with a feature map, a vector for each position.",
    "image": "The model is fed with pixels.",
}


@dataclass(frozen=True)
class Badge:
    """One mark. kind: one of KINDS, the same for marks that answer one question; said: what it means, or ""."""

    kind: str
    text: str
    said: str = ""


def badges_of(row: Row, setting: Setting) -> tuple[Badge, ...]:
    """The row's marks, in the order of KINDS. setting: of its block."""
    marks = [(_kind(text), text) for text in row.badges]
    marks += [("backbone", setting.backbone), ("resolution", setting.resolution), ("input", row.input)]
    if setting.kind != "attributes":
        marks.append(("semantics", setting.kind))
    found = [Badge(kind, text, _SAID.get(text, "")) for kind, text in marks]
    return tuple(sorted(found, key=lambda badge: KINDS.index(badge.kind)))


def _kind(text: str) -> str:
    if text in ("inductive", "class-inductive", "transductive"):
        return "protocol"
    if text in ("trained elsewhere", "last epoch", "epoch picked on validation"):
        return "selection"
    if text == "settings picked on validation":
        return "settings"
    if text in ("uncalibrated", "gamma picked on validation"):
        return "calibration"
    if text.endswith(" validation folds"):
        return "folds"
    return "trained" if text in ("backbone frozen", "backbone tuned") else "note"
