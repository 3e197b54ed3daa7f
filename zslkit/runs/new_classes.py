"""Adds classes to a trained model by their attributes, for predictions after training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zslkit.datasets.attribute_table import ClassTable, read_class_table
from zslkit.errors import DataError, UserError, did_you_mean
from zslkit.model import Model
from zslkit.readers.names import match, refuse_clash, same_look, shown, some
from zslkit.record import RunRecord
from zslkit.semantics import Semantics

_OF_TASK = frozenset({"attributes", "seen"})
"""Buffers of the contract that follow from the task, whether a model saves them or not."""
_PROBES = 4
_ROUNDING = 1e-3
"""Largest change of a known class's score, as a share of the spread of the image's scores."""
_FAR = 5
"""A class of attributes that many times longer or shorter than any other is remarked on."""


def add_classes(
    model: Model, record: RunRecord, file: Path, tell: Callable[[str], None] = lambda note: None
) -> tuple[Model, tuple[str, ...]]:
    """A trained model with further unseen classes behind the known ones, and their names.

    The state of the model is kept. A model whose saved state or whose scores of the known classes
    depend on the number of classes is refused, because nothing is trained here. `file` is a CSV
    with a new class in each row and the attributes of the run in its columns, on the scale of the
    run's dataset; `tell` gets remarks.

    Raises:
        DataError: The file has other columns than the run, or a class that the run knows.
        UserError: The model cannot take classes without training.
    """
    task = model.task
    table = read_class_table(file)
    refuse_clash(file, "classes", table.classes)
    if known := match(table.classes, task.classes):
        name, there = next(iter(known.items()))
        raise DataError(
            f"{file}: the class {shown(name)} is known to the run already, as {shown(there)}; "
            "remove its row, or give it another name"
        )
    values = _in_order(file, table, task.attribute_names)
    rows = Semantics(values, task.attribute_names).normalised(model.config.attributes)
    _remark(file, table.classes, task.attributes, rows, tell)
    count = len(table.classes)
    grown = replace(
        task,
        classes=(*task.classes, *table.classes),
        seen=np.concatenate([task.seen, np.zeros(count, dtype=bool)]),
        attributes=np.concatenate([task.attributes, rows]),
    )
    torch.manual_seed(record.seed)
    rebuilt = type(model)(model.config, grown).to(model.attributes.device)
    refused = (
        f"The model {record.model.name} cannot take classes after training: {{why}}; train it "
        "again with the new classes in the table of its dataset"
    )
    if why := _fill(rebuilt, model) or _moved(model, rebuilt.eval()):
        raise UserError(refused.format(why=why))
    return rebuilt, table.classes


def _in_order(file: Path, table: ClassTable, names: tuple[str, ...]) -> np.ndarray:
    """The values (K, A) of the table in the order of the run's attributes."""
    joined = match(names, table.attributes, same_look)
    lacking = [name for name in names if name not in joined]
    extra = sorted(set(table.attributes) - set(joined.values()))
    if lacking or extra:
        faults = []
        if lacking:
            faults.append(f"lacks {len(lacking)} of the run's {len(names)} ({some(lacking, 3)})")
        if extra:
            faults.append(f"has {len(extra)} that the run does not know ({some(extra, 3)})")
        hint = did_you_mean(extra[0], lacking) if extra and lacking else ""
        hint = hint if hint.endswith("?") else "; give each class the attributes of the run"
        raise DataError(f"{file}: of the attributes it {' and '.join(faults)}{hint}")
    column = {name: k for k, name in enumerate(table.attributes)}
    return table.values[:, [column[joined[name]] for name in names]]


def _remark(
    file: Path,
    classes: tuple[str, ...],
    known: np.ndarray,
    rows: np.ndarray,
    tell: Callable[[str], None],
) -> None:
    """Remark on rows that seem to have another scale than the run's, or are those of others."""
    usual, new = (np.linalg.norm(table, axis=1) for table in (known, rows))
    low, high = usual.min() / _FAR, usual.max() * _FAR
    if odd := [name for name, n in zip(classes, new, strict=True) if not low <= n <= high]:
        tell(
            f"{file}: {some(odd, 3)}: the attributes are over {_FAR} times smaller or larger than "
            "those of any class of the run; are they on the scale of its dataset?"
        )
    every = np.concatenate([known, rows])
    counts = [(every == row).all(axis=1).sum() for row in rows]
    if same := [name for name, n in zip(classes, counts, strict=True) if n > 1]:
        tell(
            f"{file}: {some(same, 3)}: another class has the same attributes, so that no model can "
            "tell them apart"
        )


def _fill(rebuilt: Model, model: Model) -> str:
    """Copy the trained state; returns why that is not possible, else ""."""
    state, fresh = model.state_dict(), rebuilt.state_dict()
    if other := sorted(state.keys() ^ fresh.keys()):
        return f"with more classes it has other trained parts ({other[0]})"
    kept = {name: fresh[name] if name in _OF_TASK else value for name, value in state.items()}
    for name, value in kept.items():
        if value.shape != fresh[name].shape:
            shapes = f"{name} is {tuple(value.shape)} and would be {tuple(fresh[name].shape)}"
            return f"what it learned depends on the number of classes ({shapes})"
    rebuilt.load_state_dict(kept)
    return ""


def _moved(model: Model, rebuilt: Model) -> str:
    """Why the new classes change what the model says of the known ones, else "".

    One number for all classes of an image, added or multiplied, changes no answer: a softmax over
    more classes does that.
    """
    shape = (_PROBES, *model.task.feature_shape)
    probes = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    probes = probes.to(model.attributes.device)
    with torch.inference_mode():
        before = model.scores(probes).double()
        after = rebuilt.scores(probes).double()
    if after.shape != (_PROBES, rebuilt.task.n_classes):
        return f"for {rebuilt.task.n_classes} classes its scores have shape {tuple(after.shape)}"
    after = after[:, : model.task.n_classes]
    ways = [(before, after), [x - x.mean(dim=1, keepdim=True) for x in (before, after)]]
    if bool((before > 0).all()) and bool((after > 0).all()):
        ways.append([x / x.sum(dim=1, keepdim=True) for x in (before, after)])
    if any(_same(*pair) for pair in ways):
        return ""
    return "its scores of the known classes depend on which other classes there are"


def _same(before: Tensor, after: Tensor) -> bool:
    spread = before.amax(dim=1, keepdim=True) - before.amin(dim=1, keepdim=True)
    return bool(((before - after).abs() <= _ROUNDING * spread.clamp(min=1e-12)).all())
