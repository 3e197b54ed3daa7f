"""What a fold's best epoch is worth on all of trainval: as many epochs, or as many steps?

    python benchmarks/carry_over.py MODEL [--epochs N] [--seeds K]

Of the built-in digits, each seed with a fold of its own: the best of N epochs on the fold, then a
training on trainval whose H and T1
on the test sets are looked at after every epoch, under the fold's gamma where the model's settings
ask for one. Nothing is picked on test.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from zslkit.evaluation.gzsl import measure
from zslkit.evaluation.sets import answered_sets
from zslkit.runs import api
from zslkit.training import selection
from zslkit.training.scoring import score_both
from zslkit.utils.progress import Silent


class Watch:
    """The figures on the test sets of the fold `whole` after every epoch."""

    def __init__(self, whole: selection.Fold, device: Any, gamma: float) -> None:
        self.history: list[dict[str, float]] = []
        self._whole, self._device, self._gamma = whole, device, gamma

    def after_epoch(self, epoch: int, model: Any) -> bool:
        data = self._whole.data
        parts = data.split.test_seen, data.split.test_unseen
        seen, unseen = score_both(model, self._whole.inputs.source, *parts, self._device)
        of_seen, of_unseen = (data.labels[part] for part in parts)
        sets = answered_sets(seen, of_seen, unseen, of_unseen, data.seen)
        self.history.append(measure(sets, self._gamma).figures())
        return False


def once(name: str, epochs: int, seed: int) -> tuple[float, float]:
    """By how much H and T1 are higher with as many epochs than with as many steps; printed with
    what they are made of."""
    settings = [
        "protocol.tune=false",
        "protocol.selection=validation",
        "protocol.patience=0",
        f"protocol.fold_seed={seed}",
    ]
    choices = {"settings": [*settings, f"train.epochs={epochs}"]}
    job = api._job(name, "digits", seed, "data", "cpu", Silent(), choices)
    whole, config = selection.Fold(0, job.data, job.inputs), job.plan.config
    with tempfile.TemporaryDirectory() as folder:
        shop = job.context(Path(folder), lambda **line: None)
        (fold,) = shop.folds
        history = selection._train(shop, fold, config, "fold").history
        best = max(history, key=lambda row: row["H"])
        watch = Watch(whole, job.device, best["gamma"])
        shop.trained(whole, config, "whole", observer=watch)
    train: Any = config.train  # type: ignore[attr-defined]
    steps = [len(data.split.trainval) // train.batch_size for data in (fold.data, job.data)]
    epoch = int(best["epoch"])
    fewer = max(1, round(epoch * steps[0] / steps[1]))
    a, b = watch.history[epoch - 1], watch.history[fewer - 1]
    print(
        f"{name} {seed}: {epoch} epochs H {a['H']:.1f} T1 {a['T1']:.1f}; as many steps, {fewer} "
        f"epochs, H {b['H']:.1f} T1 {b['T1']:.1f}",
        flush=True,
    )
    return a["H"] - b["H"], a["T1"] - b["T1"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    gained = [once(given.model, given.epochs, seed) for seed in range(given.seeds)]
    for figure, values in zip(("H", "T1"), zip(*gained, strict=True), strict=True):
        error = (
            f" ± {stdev(values) / len(values) ** 0.5:.1f} (standard error)"
            if len(values) > 1
            else ""
        )
        print(f"{figure}: epochs above steps by {fmean(values):+.1f}{error}")


if __name__ == "__main__":
    main()
