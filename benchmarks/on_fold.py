"""Figures of a model on validation folds alone, to choose a preset by; no test image is scored.

    python benchmarks/on_fold.py MODEL DATASET [--data-root DIR] [--set KEY=VALUE ...]
        [--recipes FILE [--only NAME]] [--preset NAME] [--folds N] [--seed N] [--thin N]

Each recipe is trained on each fold. A recipe is what --set says, or, with --recipes, a name in a
YAML file that maps names to settings; --set then holds for all. --thin 4 keeps every fourth channel
of feature maps: a fourth of the time, and the order of recipes that are far apart.

Prints a line for each recipe and fold, then means: T1, S, U and H at gamma 0, the fold's best gamma
and the H there, AUSUC, and minutes of training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from torch import Tensor

from zslkit.runs import api
from zslkit.training.fit import fit, make_model
from zslkit.training.inputs import Inputs
from zslkit.training.loop import Loop
from zslkit.training.selection import ValidationContext, judge

COLUMNS = ("T1", "S", "U", "H", "gamma", "best H", "AUSUC", "minutes")
DIGITS = {"gamma": 2, "AUSUC": 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--recipes", type=Path, help="YAML file: name -> settings")
    parser.add_argument("--only", action="append", help="a recipe of the file; may be repeated")
    parser.add_argument("--preset")
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--thin", type=int, default=1, help="keep every so manieth channel")
    chosen = parser.parse_args()
    recipes: dict[str, Mapping[str, Any]] = {" ".join(chosen.settings) or "preset": {}}
    if chosen.recipes:
        recipes = yaml.safe_load(chosen.recipes.read_text("utf-8"))
    print(f"{'recipe':<40} {'fold':>4} " + " ".join(f"{c:>7}" for c in COLUMNS), flush=True)
    for name in chosen.only or recipes:
        rows = []
        for part, figures in enumerate(trained(chosen, recipes[name] or {})):
            rows.append(figures)
            show(name, str(part), figures)
        if len(rows) > 1:
            show(name, "mean", {c: fmean(row[c] for row in rows) for c in COLUMNS})


def trained(chosen: argparse.Namespace, recipe: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    """Figures of one recipe on each fold."""
    with TemporaryDirectory() as folder:
        context = api.context(
            Path(folder),
            chosen.model,
            chosen.dataset,
            seed=chosen.seed,
            data_root=chosen.data_root,
            preset=chosen.preset,
            settings=[
                "protocol.tune=false",
                *chosen.settings,
                *(f"{key}={json.dumps(value)}" for key, value in recipe.items()),
                f"protocol.folds={chosen.folds}",
                "protocol.calibration=validation",
            ],
        )
        for whole in context.folds:
            fold = replace(whole, inputs=thinned(whole.inputs, chosen.thin))
            model = make_model(
                context.plan.model_class,
                context.plan.config,
                fold.data,
                fold.inputs,
                context.seed,
                context.device,
            )
            seconds = fit(
                model,
                fold.data,
                fold.inputs,
                Loop(
                    seed=context.seed,
                    device=context.device,
                    reporter=context.reporter,
                    log=context.log,
                    name="recipe",
                ),
            )
            plain = judge(without_calibration(context), fold, model).figures
            best = judge(context, fold, model)
            found = {"gamma": best.gamma, "best H": best.figures["H"], "minutes": seconds / 60}
            yield {**plain, **found}


class Thinned:
    """Every so manieth channel of feature maps, read as they are asked for."""

    def __init__(self, source: Any, every: int) -> None:
        self._source, self._every = source, every

    def batch(self, index: NDArray[np.int64]) -> Tensor:
        return self._source.batch(index)[:, :: self._every].contiguous()


def thinned(inputs: Inputs, every: int) -> Inputs:
    """The inputs with fewer channels; unchanged for 1."""
    if every == 1:
        return inputs
    channels, *size = inputs.feature_shape
    shape = (len(range(0, channels, every)), *size)
    source: Any = Thinned(inputs.source, every)
    return replace(inputs, source=source, feature_shape=shape, map_shape=shape)


def without_calibration(context: ValidationContext) -> ValidationContext:
    """The context in which models are judged at gamma 0."""
    plan = context.plan
    protocol = plan.protocol.model_copy(update={"calibration": "none"})
    return replace(context, plan=replace(plan, protocol=protocol))


def show(name: str, fold: str, figures: Mapping[str, float]) -> None:
    cells = " ".join(f"{figures[c]:>7.{DIGITS.get(c, 1)}f}" for c in COLUMNS)
    print(f"{name:<40} {fold:>4} {cells}", flush=True)


if __name__ == "__main__":
    main()
