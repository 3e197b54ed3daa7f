"""What a training would print if its epoch were picked on the test sets, as many papers do: looked at beside it, and no result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zslkit.evaluation.gzsl import measure
from zslkit.evaluation.sets import AnsweredSets
from zslkit.model import GradientModel


class TestWatch:
    """Scores the test sets now and then, for the one figure that says what picking on them would give.

    It can neither stop the training nor change the model, and nothing of it reaches a result but `optimistic`.
    answers: those of the model to both test sets; every: epochs between two looks.
    """

    __test__ = False  # pytest would take it for a class of tests

    def __init__(self, answers: Callable[[GradientModel], AnsweredSets], every: int) -> None:
        self.history: list[dict[str, Any]] = []
        self._answers, self._every = answers, every

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        if epoch % self._every == 0 or epoch == model.config.train.epochs:
            self.history.append({"epoch": float(epoch), **measure(self._answers(model)).figures()})
        return False

    def best(self) -> dict[str, float]:
        """The best H and the best T1, each at an epoch of its own, as papers print them."""
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
