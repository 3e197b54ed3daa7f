"""A search over a declared grid of settings: all of it, or some trials of it; what was tried is kept, so that it resumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from zslkit import ranks
from zslkit.errors import DataError, UserError
from zslkit.files import parse_json, read_small, replacing

LOST = -1.0
"""The H of a point that could not be trained: below every figure, and never the best."""

Place = tuple[int, ...]
"""A point of the grid: the place of each key's value among its values."""


class Search:
    """Finds the point of a grid with the highest figure.

    grid: key -> its values. kept: JSON file of the points that were tried, with their figures. trials: how many points Optuna's TPE
    sampler may try (extra `tune`); None: every point. seed: of that sampler.
    """

    def __init__(self, grid: Mapping[str, Sequence[Any]], kept: Path, trials: int | None = None, seed: int = 0) -> None:
        self._grid, self._kept, self._seed = grid, kept, seed
        points = prod(len(values) for values in grid.values())
        self._trials = None if trials is None or trials >= points else trials
        self.total = self._trials or points
        """How many points will be tried."""

    def best(self, figures_of: Callable[[Mapping[str, Any]], Mapping[str, float]], told: Callable[[float], None]) -> dict[str, Any] | None:
        """The settings with the highest "H", of equally good ones the first tried; None if every H is LOST.

        figures_of is called for the points that were not tried before; told gets every point's H. Raises DataError if the kept file
        is damaged, UserError if trials are asked for and Optuna is not installed.
        """
        tried = self._read()
        ranks.wait()  # nothing is written before all processes of the run have read it
        best: tuple[float, dict[str, Any] | None] = (LOST, None)
        proposals = self._every() if self._trials is None else self._sampled()
        h: float | None = None
        while True:
            try:
                place = proposals.send(h) if h is not None else next(proposals)
            except StopIteration:
                return best[1]
            point = {key: values[i] for (key, values), i in zip(self._grid.items(), place, strict=True)}
            if place not in tried:
                tried[place] = dict(figures_of(point))
                self._write(tried)
            h = tried[place]["H"]
            told(h)
            if h > best[0]:
                best = (h, point)

    def _every(self) -> Generator[Place, float, None]:
        # No "yield from": what is sent must end here, and a product takes nothing.
        for place in product(*(range(len(values)) for values in self._grid.values())):  # noqa: UP028
            yield place

    def _sampled(self) -> Generator[Place, float, None]:
        try:
            import optuna
        except ImportError as error:
            raise UserError(
                "protocol.trials needs Optuna; install it with: pip install 'zslkit[tune]', or search the whole grid"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self._seed))
        assert self._trials is not None
        for _ in range(self._trials):
            trial = study.ask()
            h = yield tuple(trial.suggest_categorical(key, list(range(len(values)))) for key, values in self._grid.items())
            study.tell(trial, h)

    def _read(self) -> dict[Place, dict[str, float]]:
        if not self._kept.is_file():
            return {}
        try:
            rows = parse_json(read_small(self._kept))
            return {tuple(row["place"]): {**row["figures"], "H": float(row["figures"]["H"])} for row in rows}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"The tried settings in {self._kept} are damaged ({error}); remove that file and run again") from error

    def _write(self, tried: Mapping[Place, Mapping[str, float]]) -> None:
        if not ranks.first():
            return
        rows = [
            {"place": place, "point": {key: str(v[i]) for (key, v), i in zip(self._grid.items(), place, strict=True)}, "figures": figures}
            for place, figures in tried.items()
        ]
        with replacing(self._kept) as beside:
            beside.write_text(json.dumps(rows), encoding="utf-8")
