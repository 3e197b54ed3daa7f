"""Compares training recipes of a model on validation folds inside trainval; no test image is
scored.

    OMP_NUM_THREADS=1 python benchmarks/fast_recipes.py dedn cub2010 recipes.yaml --data-root DATA

The file maps the name of a recipe to its settings, as `--set` takes them with dotted keys or
sections; `--thin 4` keeps every fourth channel of the feature maps, which takes a fourth of the
time
and keeps the order of recipes that are far apart. A line is printed for each recipe and fold, and
means at the end: T1, S, U and H without
calibration, the best H under any gamma, AUSUC, and seconds of training.
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
from zslkit.training.selection import ValidationContext, judge

COLUMNS = ("T1", "S", "U", "H", "best H", "AUSUC", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("recipes", type=Path, help="YAML file: name -> settings")
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--preset")
    parser.add_argument("--only", action="append", help="a recipe of the file; may be repeated")
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--thin", type=int, default=1, help="keep every so manieth channel")
    chosen = parser.parse_args()
    recipes: dict[str, Mapping[str, Any]] = yaml.safe_load(chosen.recipes.read_text("utf-8"))
    print(f"{'recipe':<40} {'fold':>4} " + " ".join(f"{c:>7}" for c in COLUMNS), flush=True)
    for name in chosen.only or recipes:
        rows = []
        for part, figures in enumerate(trained(chosen, recipes[name] or {})):
            rows.append(figures)
            show(name, str(part), figures)
        if len(rows) > 1:
            show(name, "mean", {c: fmean(row[c] for row in rows) for c in COLUMNS})


def trained(chosen: argparse.Namespace, settings: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    """Figures of one recipe on each fold."""
    written = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    with TemporaryDirectory() as folder:
        context = api.context(
            Path(folder),
            chosen.model,
            chosen.dataset,
            seed=chosen.seed,
            data_root=chosen.data_root,
            preset=chosen.preset,
            settings=[
                *written,
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
                seed=context.seed,
                device=context.device,
                reporter=context.reporter,
                log=context.log,
                name="recipe",
            )
            plain = judge(without_calibration(context), fold, model).figures
            best = judge(context, fold, model).figures
            yield {**plain, "best H": best["H"], "seconds": seconds}


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
    cells = " ".join(f"{figures[c]:>7.{3 if c == 'AUSUC' else 1}f}" for c in COLUMNS)
    print(f"{name:<40} {fold:>4} {cells}", flush=True)


if __name__ == "__main__":
    main()
