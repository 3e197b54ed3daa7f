"""What is picked is picked on a fold inside trainval: no image of a test set is ever read for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zslkit import selection
from zslkit.dataset import Dataset, Index, Split
from zslkit.progress import Silent
from zslkit.semantics import Semantics
from zslkit.settings import make_plan
from zslkit.training.source import Inputs


@dataclass(frozen=True)
class Guarded:
    """Features of the images, which refuses those it must not give."""

    features: np.ndarray
    allowed: frozenset[int]
    given: set[int]

    def batch(self, index: Index) -> Tensor:
        assert set(index.tolist()) <= self.allowed, "an image of a test set was read while something was picked"
        self.given.update(index.tolist())
        return torch.from_numpy(self.features[index])


@pytest.fixture
def data() -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 10)
    table = rng.random((8, 6), dtype=np.float32)
    features = (table[labels] @ rng.standard_normal((6, 12)) + 0.1 * rng.standard_normal((80, 12))).astype(np.float32)
    order = np.arange(80)
    seen = order[labels < 6]
    split = Split(seen[seen % 5 > 0], seen[seen % 5 == 0], order[labels >= 6])
    names = tuple(f"a{i}" for i in range(6))
    return Dataset("made", tuple("abcdefgh"), labels, split, Semantics(table, names), features=features)


def picked(data: Dataset, tmp_path: Path, settings: list[str]) -> tuple[selection.Picks, set[int], list[dict[str, Any]]]:
    assert data.features is not None
    plan, given, log = make_plan("eszsl", "digits", settings=settings), set[int](), list[dict[str, Any]]()
    source = Guarded(np.asarray(data.features), frozenset(data.split.trainval.tolist()), given)
    inputs = Inputs(source, "pooled", (12,), None, None, "", "", "", "", None)
    shop = selection.Workshop(plan, data.fold(0), inputs, 0, torch.device("cpu"), Silent(), lambda **v: log.append(v), tmp_path)
    return selection.pick(shop), given, log


def test_search_and_gamma_see_trainval_alone(data: Dataset, tmp_path: Path) -> None:
    picks, given, log = picked(data, tmp_path, ["protocol.tune=true", "protocol.calibration=validation"])
    assert given == set(data.split.trainval.tolist())  # all of it, and (Guarded) nothing else
    points = [line for line in log if line["phase"] == "search"]
    best = max(points, key=lambda line: line["H"])
    assert len(points) > 50 and picks.figures["H"] == pytest.approx(best["H"])
    assert all(picks.changes[key] == best[key] for key in picks.changes)
    assert np.isfinite(picks.gamma)


def test_without_calibration_gamma_is_nothing(data: Dataset, tmp_path: Path) -> None:
    picks, _, _ = picked(data, tmp_path, ["protocol.tune=true", "protocol.calibration=none"])
    assert picks.gamma == 0.0


def test_nothing_to_pick_needs_no_fold() -> None:
    settings = ["protocol.tune=false", "protocol.calibration=none"]
    assert not selection.needed(make_plan("eszsl", "digits", settings=settings))
    assert selection.needed(make_plan("dedn", "digits", settings=[*settings, "protocol.selection=validation"]))
