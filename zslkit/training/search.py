"""Searches a grid of settings, all of it or with Optuna; resumes from the points tried."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from zslkit.errors import DataError, UserError
from zslkit.utils import distributed
from zslkit.utils.files import check_permitted, parse_json, read_small, write_text

TRIED = "search.json"
"""File of the tried points in a run folder."""

LOST = -1.0
"""H of a point whose training failed; below every real H, and never selected."""

AT_ONCE = 8
"""Points that Optuna proposes before it gets their results, so that processes can share them.
Constant, since the proposals must not depend on the number of processes."""

Point = Mapping[str, Any]
"""A point of the grid: setting -> value."""


@dataclass(frozen=True)
class TrialResult:
    """Figures of one point on validation, of which "H" counts; LOST if the training `failed`."""

    figures: Mapping[str, float]
    failed: str = ""


Try = Callable[[Point], TrialResult]
TrialExecutor = Callable[[Sequence[Point]], Iterable[tuple[int, TrialResult]]]
"""Tries many points and yields the number and the result of each, in any order."""


def in_turn(one: Try) -> TrialExecutor:
    """Try one point after another in this process."""
    return lambda points: ((number, one(point)) for number, point in enumerate(points))


class Search:
    """Finds the point of a grid with the highest H.

    Args:
        grid: Setting -> its values.
        kept: JSON file of the tried points and their figures.
        trials: Number of points that Optuna's TPE sampler tries (extra `tune`); None for all.
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
        """Number of points to try."""

    def best(
        self, executor: TrialExecutor, on_result: Callable[[float], None]
    ) -> dict[str, Any] | None:
        """The settings with the highest H, the first of equals; None if every training failed.

        The executor tries the points that were not tried before; each is kept as it finishes, and
        `on_result` gets its H.

        Raises:
            DataError: The file of tried points is damaged.
            UserError: `trials` is set and Optuna is not installed.
        """
        tried = self._read()
        distributed.wait()  # all processes read the file before one writes it
        best: tuple[float, Point | None] = (LOST, None)
        proposals = self._every() if self._trials is None else self._sampled()
        results: list[float] | None = None
        while True:
            try:
                points = proposals.send(results) if results is not None else next(proposals)
            except StopIteration:
                return None if best[1] is None else dict(best[1])
            self._try(points, tried, executor, on_result)
            results = [tried[_name(point)]["H"] for point in points]
            best = max([best, *zip(results, points, strict=True)], key=lambda pair: pair[0])

    def _try(
        self,
        points: Sequence[Point],
        tried: dict[str, dict[str, float]],
        executor: TrialExecutor,
        on_result: Callable[[float], None],
    ) -> None:
        """Add the figures of missing points to `tried`."""
        names = [_name(point) for point in points]
        new = {name: point for name, point in zip(names, points, strict=True) if name not in tried}
        for name in names:
            if name in tried:
                on_result(tried[name]["H"])
        for number, outcome in executor(list(new.values())) if new else ():
            name = list(new)[number]
            tried[name] = dict(outcome.figures)
            self._write(tried)
            for _ in range(names.count(name)):  # a sampler may repeat a point
                on_result(outcome.figures["H"])

    def _every(self) -> Generator[list[Point], list[float], None]:
        points = product(*self._grid.values())
        yield [dict(zip(self._grid, values, strict=True)) for values in points]

    def _sampled(self) -> Generator[list[Point], list[float], None]:
        try:
            import optuna
        except ImportError as error:
            raise UserError(
                "protocol.trials needs Optuna; install it with: "
                "pip install 'zslkit[tune]', or search the whole grid"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # constant_liar keeps the sampler away from points that are being tried.
        sampler = optuna.samplers.TPESampler(seed=self._seed, constant_liar=True)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        assert self._trials is not None
        for begun in range(0, self._trials, AT_ONCE):
            trials = [study.ask() for _ in range(min(AT_ONCE, self._trials - begun))]
            results = yield [
                {
                    key: values[trial.suggest_categorical(key, list(range(len(values))))]
                    for key, values in self._grid.items()
                }
                for trial in trials
            ]
            for trial, h in zip(trials, results, strict=True):
                study.tell(trial, h)

    def _read(self) -> dict[str, dict[str, float]]:
        """Figures of the tried points by name, also of points that the grid no longer has."""
        if not self._kept.is_file():
            return {}
        check_permitted(self._kept)
        try:
            rows = {}
            for row in parse_json(read_small(self._kept)):
                name, figures = _name(row["point"]), row["figures"]
                if row.get("digest") not in (None, self._digest(name, figures)):  # None: older
                    raise ValueError(f"{row['point']} was edited, or is of another run")
                rows[name] = figures
            return {name: {**row, "H": float(row["H"])} for name, row in rows.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"The tried settings in {self._kept} are damaged ({error}); "
                "remove that file and run again"
            ) from error

    def _write(self, tried: Mapping[str, Mapping[str, float]]) -> None:
        if not distributed.first():
            return
        rows = [
            {"point": json.loads(name), "figures": figures, "digest": self._digest(name, figures)}
            for name, figures in tried.items()
        ]
        write_text(self._kept, json.dumps(rows))

    def _digest(self, name: str, figures: Mapping[str, float]) -> str:
        """Digest of a point, its figures and the run's folder, which shows that none was edited."""
        facts = [self._kept.parent.name, name, sorted(figures.items())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _name(point: Point) -> str:
    """Name of a point; independent of the grid, since the file may be of another grid."""
    return json.dumps({key: str(value) for key, value in sorted(point.items())})
