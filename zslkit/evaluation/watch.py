"""Observes test metrics during training, to show what selecting an epoch on test would give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zslkit.evaluation.gzsl import measure
from zslkit.evaluation.sets import AnsweredSets
from zslkit.model import GradientModel

SHARE = 0.03
"""Share of a training that looks at the test sets may take if nobody asked for them."""


def affordable(every: int, epochs: int, trained: int, scored: int) -> int:
    """Interval between looks that takes at most SHARE of a training.

    An image scored counts as much as one trained, which is more than it takes; time itself is not
    asked, so that a run looks at the same epochs on every machine. The last epoch costs nothing,
    since its scores are those of the run.

    Args:
        every: Epochs between two looks.
        epochs: Epochs of the training.
        trained: Images of one epoch.
        scored: Images of one look.

    Returns:
        The smallest multiple of `every` that is cheap enough.
    """
    most = int(SHARE * epochs * trained / max(1, scored))
    interval = every
    while (epochs - 1) // interval > most:
        interval += every
    return interval


class TestWatch:
    """Scores the test sets every so many epochs; the best values are reported as optimistic only.

    It cannot stop the training or change the model; `answers` gives a model's answers on both sets.
    """

    __test__ = False  # not a class of tests for pytest

    def __init__(self, answers: Callable[[GradientModel], AnsweredSets], every: int) -> None:
        self.history: list[dict[str, Any]] = []
        self._answers, self._every = answers, every

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        """Score the test sets if it is time; never stops the training."""
        if epoch % self._every == 0 and epoch != model.config.train.epochs:
            self.history.append({"epoch": float(epoch), **measure(self._answers(model)).figures()})
        return False

    def best(self, epochs: int, last: Mapping[str, float]) -> dict[str, float]:
        """The best H and the best T1, each at its own epoch, as papers print them.

        Args:
            epochs: The last epoch.
            last: Metrics of the finished run without calibration, which are those of that epoch.

        Returns:
            Metrics, with "every" and "best_epoch"; empty if no earlier epoch was observed.
        """
        # A checkpoint of an earlier version holds the last epoch too.
        rows = [row for row in self.history if row["epoch"] != epochs]
        if not rows:
            return {}
        rows.append({"epoch": float(epochs), **last})
        h, t1 = (max(rows, key=lambda row, name=name: row[name]) for name in ("H", "T1"))  # type: ignore[misc]
        best = {"every": self._every, "best_epoch": int(h["epoch"])}
        return {**best, "U": h["U"], "S": h["S"], "H": h["H"], "T1": t1["T1"]}
