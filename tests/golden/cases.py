"""Reading a worked case, a task of its sizes, and comparing with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zslkit.model import Task
from zslkit.training.loop import Loop
from zslkit.utils.progress import Silent

FLOAT32, FLOAT64 = 1e-5, 1e-9
"""Relative tolerances of the two types."""


class Case(dict[str, np.ndarray]):
    """The arrays of a file by key, such as in/att, state/V, train/cub/total and grad/cub/V."""

    def tensor(self, key: str, dtype: torch.dtype = torch.float64) -> Tensor:
        value = torch.from_numpy(np.asarray(self[key]))
        return value.to(dtype) if value.is_floating_point() else value

    def number(self, key: str) -> float:
        return float(self[key])

    def below(self, prefix: str) -> dict[str, np.ndarray]:
        """The keys that begin with prefix/, without it."""
        return {
            k.removeprefix(f"{prefix}/"): v for k, v in self.items() if k.startswith(f"{prefix}/")
        }

    @property
    def seen(self) -> np.ndarray:
        """(C,) bool."""
        return np.isin(np.arange(len(self["in/att"])), self["in/seen"])


def read(path: Path) -> Case:
    with np.load(path, allow_pickle=False) as stored:
        return Case(stored)


def task_of(case: Case, **changes: Any) -> Task:
    """The task of the case's sizes; its attributes are float32, so that a test in float64 puts the
    exact ones into the model."""
    attributes = case["in/att"]
    shape = case["in/feature_map"].shape[1:] if "in/feature_map" in case else None
    width = (
        case["in/features"].shape[1:]
        if "in/features" in case
        else case.get("in/train_features", np.empty((0, 1))).shape[1:]
    )
    words = case.get("in/w2v")
    told: dict[str, Any] = {
        "dataset": "made-up",
        "classes": tuple(f"class {k}" for k in range(len(attributes))),
        "seen": case.seen,
        "attributes": attributes.astype(np.float32),
        "attribute_names": tuple(f"attribute {i}" for i in range(attributes.shape[1])),
        "input": "map" if shape else "pooled",
        "feature_shape": shape or width,
        "map_shape": shape,
        "word_vectors": None if words is None else words.astype(np.float32),
    }
    return Task(**(told | changes))


def fill(model: nn.Module, values: Mapping[str, np.ndarray | Tensor]) -> None:
    """Put arrays in place of parameters and buffers by name, with their own type."""
    named = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, value in values.items():
            value = torch.as_tensor(np.asarray(value))
            assert named[name].shape == value.shape, (name, named[name].shape, value.shape)
            named[name].data = value.to(named[name].dtype)


def close(
    ours: Tensor | np.ndarray | float,
    theirs: np.ndarray,
    relative: float = FLOAT64,
    absolute: float = 1e-12,
) -> None:
    """The largest difference is at most `relative` of the largest value; `absolute` is for what is
    zero by an invariance."""
    found = (
        ours.detach().double().numpy()
        if isinstance(ours, Tensor)
        else np.asarray(ours, dtype=np.float64)
    )
    assert found.shape == theirs.shape
    assert np.abs(found - theirs).max() <= relative * np.abs(theirs).max() + absolute


class View:
    """The training images of a case whose features are vectors, as a TrainingView."""

    def __init__(self, x: Tensor, labels: np.ndarray) -> None:
        self._x, self.labels = x, labels

    def __len__(self) -> int:
        return len(self._x)

    def batch(self, index: np.ndarray) -> Tensor:
        return self._x[torch.from_numpy(index)]

    def everything(self) -> tuple[Tensor, Tensor]:
        return self._x, torch.from_numpy(self.labels)


def fitted(model: Any, case: Case, dtype: torch.dtype = torch.float64) -> Any:
    """The model after its closed form on the case's training images."""
    loop = Loop(seed=0, device=torch.device("cpu"), reporter=Silent(), log=lambda **_: None)
    model.fit(View(case.tensor("in/train_features", dtype), case["in/train_label"]), loop)
    return model


def unit_rows(table: np.ndarray) -> np.ndarray:
    """Each row divided by its L2 norm."""
    return table / np.linalg.norm(table, axis=1, keepdims=True)
