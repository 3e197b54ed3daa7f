"""Figures of a model on the validation folds alone, to choose a preset by: no test image is scored.

    python benchmarks/on_fold.py MODEL DATASET [--data-root DIR] [--seed N] [--set KEY=VALUE ...]

The model is trained once on each fold (`protocol.folds`) and judged under the gamma of the fold and
at gamma 0. Prints one line:
T1, H with and without gamma, U and S under gamma, gamma, and the minutes of the training.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from zslkit.evaluation.folds import together
from zslkit.runs import api
from zslkit.training import selection
from zslkit.utils.progress import Silent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    given = parser.parse_args()
    choices = {
        "settings": ["protocol.calibration=validation", "protocol.tune=false", *given.settings],
        "config": None,
        "preset": None,
        "overrides": None,
    }
    job = api._job(
        given.model, given.dataset, given.seed, given.data_root, "cpu", Silent(), choices
    )
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        context = job.context(Path(folder), lambda **line: None)
        trained = [
            selection._train(context, fold, job.plan.config, "fold") for fold in context.folds
        ]
        minutes = (time.monotonic() - began) / 60
        gamma, calibrated = together([selection.judge(context, t.fold, t.model) for t in trained])
        plain = fmean(_plain_h(context, t) for t in trained)
    print(
        f"{given.model} {' '.join(given.settings)}: T1 {calibrated['T1']:.1f}  "
        f"H {calibrated['H']:.1f} (U {calibrated['U']:.1f}, S {calibrated['S']:.1f}, "
        f"gamma {gamma:.2f})  H at gamma 0 {plain:.1f}  {minutes:.1f} min",
        flush=True,
    )


def _plain_h(context: selection.ValidationContext, trained: selection.TrainedFold) -> float:
    """H of the fold at gamma 0."""
    protocol = context.plan.protocol.model_copy(update={"calibration": "none"})
    plan = replace(context.plan, protocol=protocol)
    judged = selection.judge(replace(context, plan=plan), trained.fold, trained.model)
    return judged.figures["H"]


if __name__ == "__main__":
    main()
