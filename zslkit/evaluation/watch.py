"""Observes test metrics during training, to show what selecting an epoch on test would give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zslkit.evaluation.gzsl import measure
from zslkit.evaluation.sets import AnsweredSets
from zslkit.model import GradientModel


class TestWatch:
    """Scores the test sets at intervals; the best values are reported as optimistic, never used.

    It cannot stop the training or change the model.

    Args:
        answers: Returns a model's answers on both test sets.
        every: Epochs between two observations.
    """

    __test__ = False  # not a class of tests for pytest

    def __init__(self, answers: Callable[[GradientModel], AnsweredSets], every: int) -> None:
        self.history: list[dict[str, Any]] = []
        self._answers, self._every = answers, every

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        """Score the test sets if it is time; never stops the training."""
        if epoch % self._every == 0 or epoch == model.config.train.epochs:
            self.history.append({"epoch": float(epoch), **measure(self._answers(model)).figures()})
        return False

    def best(self) -> dict[str, float]:
        """The best H and the best T1, each at its own epoch, as papers print them."""
        if not self.history:
            return {}
        h, t1 = (max(self.history, key=lambda row, name=name: row[name]) for name in ("H", "T1"))  # type: ignore[misc]
        return {
            "every": self._every,
            "best_epoch": int(h["epoch"]),
            "U": h["U"],
            "S": h["S"],
            "H": h["H"],
            "T1": t1["T1"],
        }
