"""Holds the figures of a record against the scores that were kept with it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from zslkit.errors import DataError
from zslkit.evaluation.gzsl import Metrics, measure, peak
from zslkit.evaluation.metrics import harmonic_mean
from zslkit.evaluation.sets import AnsweredSets, checked_sets
from zslkit.record import RunRecord
from zslkit.runs import checked
from zslkit.runs.folders import CONFIG, HEADING, Run, heading
from zslkit.utils.files import read_small

ROUNDING = 0.01
"""Largest difference between a record's figures and those of its scores, in percent."""

_FOLDER = re.compile(r"seed(-?\d+)-([0-9a-f]{12})")


class Recorded(Protocol):
    """A finished run: its record and its folder."""

    @property
    def record(self) -> RunRecord: ...
    @property
    def folder(self) -> Path: ...


class Contradiction(DataError):
    """Records say what the scores kept with them do not give.

    Attributes:
        reasons: Run folder -> sentence.
    """

    def __init__(self, reasons: Mapping[Path, str]) -> None:
        self.reasons = dict(reasons)
        super().__init__(". ".join(self.reasons.values()))


def check_run(run: Run) -> None:
    """Check that a record follows from the scores beside it.

    Raises:
        Contradiction: The record does not.
        DataError: The scores are missing or damaged.
    """
    state = checked.state_of(run)
    if not checked.is_noted(run, state):
        scores = run.scores()
        check_figures(run, checked_sets(*scores.sets()), scores.classes, state)


def check_figures(run: Run, sets: AnsweredSets, classes: Sequence[str], state: str) -> None:
    """As `check_run`, for scores loaded since `checked.state_of`; raises Contradiction alone."""
    if checked.is_noted(run, state):
        return
    if fault := next(_faults(run, sets, classes), ""):
        raise Contradiction(
            {run.folder: f"{run.folder}: {fault}; move the folder away and run again"}
        )
    checked.note(run, state)


def check_kept(run: Run) -> None:
    """As `check_run`, where scores can be read; raises Contradiction alone."""
    try:
        check_run(run)
    except Contradiction:
        raise
    except DataError:
        pass


def _faults(run: Run, sets: AnsweredSets, classes: Sequence[str]) -> Iterator[str]:
    record = run.record
    if (named := _FOLDER.fullmatch(run.folder.name)) is not None:
        place = int(named[1]), named[2]
        if place != (record.seed, record.identity):
            yield (
                f"its record is of seed {record.seed} and identity {record.identity}, and the "
                "folder is not called so"
            )
    kept, title = _kept_settings(run.folder)
    if title.startswith(HEADING) and title != heading(record):
        yield f"its record is a {heading(record)[2:]}, and its {CONFIG} a {title[2:]}"
    if kept is not None and kept != record.config:
        key = next(k for k in [*kept, *record.config] if kept.get(k) != record.config.get(k))
        yield f"its record and its {CONFIG} say different settings ({key})"
    counts = {
        "classes": len(classes),
        "seen": int(sets.seen.sum()),
        "unseen": int((~sets.seen).sum()),
        "n_test_seen": len(sets.test_seen.labels),
        "n_test_unseen": len(sets.test_unseen.labels),
    }
    for name, count in counts.items():
        yield from _unequal(f"dataset.{name}", getattr(record.dataset, name), count)
    gamma = record.protocol.gamma
    if gamma and record.protocol.calibration == "none":
        yield f"its record says that it is not calibrated, and gamma {gamma:.4g}"
    yield from _measured_faults(record, sets, classes, measure(sets, gamma))


def _optimism(picked: Mapping[str, float], sets: AnsweredSets, plain: Metrics) -> Iterator[str]:
    """Faults of the figures picked on test; those of earlier epochs are held to bounds alone."""
    if (h := picked.get("H_gamma_on_test")) is not None:
        yield from _unequal("H under the best gamma on test", h, peak(sets.curve())[1])
    if not {"H", "U", "S", "T1"} <= picked.keys():
        return
    yield from _unequal(
        "H of its U and S picked on test",
        picked["H"],
        float(harmonic_mean(picked["S"], picked["U"])),
    )
    for name in ("H", "T1"):  # the last epoch is among those that were picked from
        if picked[name] < plain.figures()[name] - ROUNDING:
            yield from _unequal(f"{name} picked on test", picked[name], plain.figures()[name])


def _kept_settings(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """Settings beside the record, and the file's first line; None if they cannot be read."""
    try:
        text = read_small(folder / CONFIG)
        kept = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text).get_single_data()  # C is fast
    except (OSError, ValueError, yaml.YAMLError):
        return None, ""
    return kept if isinstance(kept, dict) else None, text.partition("\n")[0]


def one_run_of_several_seeds(runs: Iterable[Recorded]) -> dict[Path, str]:
    """Folders of runs that share an identity and have different seeds, and why that cannot be.

    The identity is a hash of the seed too, so one of the records was edited or copied.
    """
    alike: dict[str, list[Recorded]] = {}
    for run in runs:
        alike.setdefault(run.record.identity, []).append(run)
    return {
        run.folder: f"{run.folder}: {others[0]} has its identity {identity} and another seed, and "
        "identities of two seeds differ, so a record was edited; move both away and run again"
        for identity, same in alike.items()
        if len({run.record.seed for run in same}) > 1
        for run in same
        if (others := [o.folder for o in same if o.record.seed != run.record.seed])
    }


def _measured_faults(
    record: RunRecord, sets: AnsweredSets, classes: Sequence[str], found: Metrics
) -> Iterator[str]:
    for name, value in found.figures().items():
        yield from _unequal(name, getattr(record.metrics, name), value)
    plain = measure(sets) if found.gamma else found
    for name, value in plain.figures().items():
        yield from _unequal(f"{name} at gamma 0", getattr(record.uncalibrated, name), value)
    for name, value in found.chance.items():
        yield from _unequal(f"{name} of chance", getattr(record.chance, name), value)
    yield from _optimism(record.optimistic or {}, sets, plain)
    if set(classes) != record.per_class.keys():
        yield "its record names other classes than its scores"
        return
    for name, value in zip(classes, found.per_class.tolist(), strict=True):
        own = record.per_class[name]
        yield from _unequal(f"accuracy of class {name!r}", own, value)


def _unequal(name: str, said: float | None, value: float) -> Iterator[str]:
    own = math.nan if said is None else said
    scale = 100 if name.startswith("AUSUC") else 1
    if math.isnan(own) != math.isnan(value) or abs(value - own) * scale > ROUNDING:
        yield f"its record says {name} {own:.4g} and its scores give {value:.4g}"
