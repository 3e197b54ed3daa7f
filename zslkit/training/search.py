"""A search over a declared grid of settings: all of it, or some trials of it; what was tried is kept, so that it resumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from zslkit.errors import DataError, UserError
from zslkit.utils import distributed
from zslkit.utils.files import check_permitted, parse_json, read_small, replacing

TRIED = "search.json"
"""The file of a run that keeps what was tried."""

LOST = -1.0
"""The H of a point that could not be trained: below every figure, and never the best."""

AT_ONCE = 8
"""Points that a sampler proposes before it hears of their figures, so that they can be tried beside each other. It is the same
whatever number really is, since what is tried must not depend on how many processes there are."""

Point = Mapping[str, Any]
"""A point of the grid: key -> one of its values."""


@dataclass(frozen=True)
class TrialResult:
    """What came of a point: its figures, of which "H" counts; failed: why it could not be trained, and then H is LOST."""

    figures: Mapping[str, float]
    failed: str = ""


Try = Callable[[Point], TrialResult]
TrialExecutor = Callable[[Sequence[Point]], Iterable[tuple[int, TrialResult]]]
"""Tries many points, and gives each one's number among them with what came of it, in any order."""


def in_turn(one: Try) -> TrialExecutor:
    """One point after another, in this process."""
    return lambda points: ((number, one(point)) for number, point in enumerate(points))


class Search:
    """Finds the point of a grid with the highest figure.

    grid: key -> its values. kept: JSON file of the points that were tried, with their figures. trials: how many points Optuna's TPE
    sampler may try (extra `tune`); None: every point. seed: of that sampler.
    """

    def __init__(
        self,
        grid: Mapping[str, Sequence[Any]],
        kept: Path,
        trials: int | None = None,
        seed: int = 0,
    ) -> None:
        self._grid, self._kept, self._seed = grid, kept, seed
        points = prod(len(values) for values in grid.values())
        self._trials = None if trials is None or trials >= points else trials
        self.total = self._trials or points
        """How many points will be tried."""

    def best(self, executor: TrialExecutor, told: Callable[[float], None]) -> dict[str, Any] | None:
        """The settings with the highest "H", of equally good ones the first proposed; None if every H is LOST.

        tries is called for the points that were not tried before, and each is kept as soon as it comes; told gets every point's H.
        Raises DataError if the kept file is damaged, UserError if trials are asked for and Optuna is not installed.
        """
        tried = self._read()
        distributed.wait()  # nothing is written before all processes of the run have read it
        best: tuple[float, Point | None] = (LOST, None)
        proposals = self._every() if self._trials is None else self._sampled()
        heard: list[float] | None = None
        while True:
            try:
                points = proposals.send(heard) if heard is not None else next(proposals)
            except StopIteration:
                return None if best[1] is None else dict(best[1])
            self._try(points, tried, executor, told)
            heard = [tried[_name(point)]["H"] for point in points]
            best = max([best, *zip(heard, points, strict=True)], key=lambda pair: pair[0])

    def _try(
        self,
        points: Sequence[Point],
        tried: dict[str, dict[str, float]],
        executor: TrialExecutor,
        told: Callable[[float], None],
    ) -> None:
        """Fill `tried` with those of the points that are missing."""
        names = [_name(point) for point in points]
        new = {name: point for name, point in zip(names, points, strict=True) if name not in tried}
        for name in names:
            if name in tried:
                told(tried[name]["H"])
        asked = list(new)
        for number, outcome in executor(list(new.values())) if new else ():
            tried[asked[number]] = dict(outcome.figures)
            self._write(tried)
            for _ in range(names.count(asked[number])):  # a sampler may propose a point twice
                told(outcome.figures["H"])

    def _every(self) -> Generator[list[Point], list[float], None]:
        yield [
            dict(zip(self._grid, values, strict=True)) for values in product(*self._grid.values())
        ]

    def _sampled(self) -> Generator[list[Point], list[float], None]:
        try:
            import optuna
        except ImportError as error:
            raise UserError(
                "protocol.trials needs Optuna; install it with: pip install 'zslkit[tune]', or search the whole grid"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(
            seed=self._seed, constant_liar=True
        )  # keeps away from points that are being tried
        study = optuna.create_study(direction="maximize", sampler=sampler)
        assert self._trials is not None
        for begun in range(0, self._trials, AT_ONCE):
            trials = [study.ask() for _ in range(min(AT_ONCE, self._trials - begun))]
            heard = yield [
                {
                    key: values[trial.suggest_categorical(key, list(range(len(values))))]
                    for key, values in self._grid.items()
                }
                for trial in trials
            ]
            for trial, h in zip(trials, heard, strict=True):
                study.tell(trial, h)

    def _read(self) -> dict[str, dict[str, float]]:
        """The figures of each point by its name, those of points that the grid no longer has among them."""
        if not self._kept.is_file():
            return {}
        check_permitted(self._kept)
        try:
            rows = parse_json(read_small(self._kept))
            return {
                _name(row["point"]): {**row["figures"], "H": float(row["figures"]["H"])}
                for row in rows
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"The tried settings in {self._kept} are damaged ({error}); remove that file and run again"
            ) from error

    def _write(self, tried: Mapping[str, Mapping[str, float]]) -> None:
        if not distributed.first():
            return
        rows = [{"point": json.loads(name), "figures": figures} for name, figures in tried.items()]
        with replacing(self._kept) as beside:
            beside.write_text(json.dumps(rows), encoding="utf-8")


def _name(point: Point) -> str:
    """The same for the same settings, whatever place they have in the grid: a kept point may be of another one."""
    return json.dumps({key: str(value) for key, value in sorted(point.items())})
