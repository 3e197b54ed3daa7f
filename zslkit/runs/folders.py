"""Run folders: `<out>/<dataset>/<model>/seed<seed>-<identity>/`, written whole or not at all.

A run in progress has its own folder with the suffix `.partial`, which is renamed when the run is
finished. A lock file keeps two processes off one run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zslkit.errors import DataError, UserError
from zslkit.evaluation.attributes import AttributeScores
from zslkit.record import RunRecord, parse_record
from zslkit.runs.attribute_scores import read_attributes
from zslkit.runs.scores import Scores, read_scores
from zslkit.training.search import TRIED
from zslkit.utils.files import (
    NotPermitted,
    check_permitted,
    permitted,
    read_small,
)

RECORD, CONFIG, LOG, SCORES = "record.json", "config.yaml", "log.jsonl", "scores.npz"
ATTRIBUTES = "attributes.npz"
"""Optional: only models that predict attributes have it."""
WEIGHTS = "model.safetensors"

_FINISHED = re.compile(r"seed-?\d+-[0-9a-f]{12}")
_logger = logging.getLogger(__name__)


def identity(payload: Mapping[str, Any]) -> str:
    """Hash of everything that determines a run's outcome: 12 hex digits.

    The payload is JSON; the order of keys does not matter.

    Raises:
        TypeError: A value is not JSON.
        ValueError: A number is not finite.
    """
    how: dict[str, Any] = {"sort_keys": True, "separators": (",", ":"), "allow_nan": False}
    canonical = json.dumps(payload, **how)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:12]


def run_path(out: Path, dataset: str, model: str, seed: int, identity: str) -> Path:
    """The folder of a run below `out`; UserError for a name that would lead elsewhere."""
    return out / _part(dataset) / _part(model) / f"seed{seed}-{identity}"


HEADING = "# run of "


def heading(record: RunRecord) -> str:
    """First line of a run's config.yaml: whose settings these are."""
    of = {"model": record.model.name, "dataset": record.dataset.name, "seed": record.seed}
    return HEADING + json.dumps(of)


def lock_of(final: Path) -> Path:
    """The lock file of a run folder; hidden, so that `seed0-*` matches run folders only."""
    return final.with_name(f".{final.name}.lock")


@dataclass(frozen=True)
class Run:
    """A finished run: its record, and its files on request."""

    record: RunRecord
    folder: Path

    def scores(self) -> Scores:
        """The scores of both test sets, memory-mapped; DataError if missing or damaged."""
        return read_scores(self.folder / SCORES)

    def attributes(self) -> AttributeScores | None:
        """The attribute scores of both test sets, None if there are none; DataError if damaged."""
        return read_attributes(self.folder / ATTRIBUTES)


def goes_on(partial: Path) -> bool:
    """Whether a folder of an unfinished run holds a state to go on from."""
    return any(partial.glob("*.pt")) or (partial / TRIED).is_file()


def half_written(partial: Path) -> str:
    """What starting an unfinished run again does."""
    return (
        "start the same run again and it goes on from there"
        if goes_on(partial) or not any(partial.glob("*"))
        else "nothing of it is kept to go on from, so start the same run again"
    )


def load_run(folder: str | Path) -> Run:
    """Load the finished run in `folder`.

    Raises:
        UserError: There is no finished run.
        DataError: The record is damaged.
    """
    folder = Path(folder)
    if folder.name.endswith(".partial"):
        raise UserError(f"{folder} is a run that was not finished; {half_written(folder)}")
    with permitted(folder):
        if not folder.is_dir():
            raise UserError(f"There is no run folder {folder}; give the folder that holds {RECORD}")
    place = folder / RECORD
    check_permitted(place)
    try:
        text = read_small(place)
    except FileNotFoundError as error:
        raise DataError(
            f"{place} is missing; is {folder} a run folder? If so, move it away and run again"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{place} cannot be read ({error}); move the folder {folder} away and run again"
        ) from error
    return Run(parse_record(text, place), folder)


def run_places(out: Path, on_fault: Callable[[str], None]) -> Iterator[Path]:
    """The folders `out/*/*/seed*`, sorted by path; `on_fault` is told of the unreadable."""

    def inner(folder: Path) -> list[Path]:
        try:
            with permitted(folder):
                return sorted(path for path in folder.iterdir() if path.is_dir())
        except NotPermitted as error:
            on_fault(str(error))
        except OSError:  # removed meanwhile
            pass
        return []

    for dataset in inner(out):
        for model in inner(dataset):
            yield from (folder for folder in inner(model) if folder.name.startswith("seed"))


def find_runs(out: Path, on_damage: Callable[[str], None] = _logger.warning) -> list[Run]:
    """All finished runs below `out`, sorted by path; `on_damage` is told of each run left out."""
    return _found(run_places(out, on_damage), on_damage)


def find_runs_of(
    place: Path, seed: int, on_damage: Callable[[str], None] = _logger.warning
) -> list[Run]:
    """All finished runs of one seed in a folder OUT/DATASET/MODEL, as `find_runs`."""
    return _found(sorted(place.glob(f"seed{seed}-*")), on_damage)


def _found(folders: Iterable[Path], on_damage: Callable[[str], None]) -> list[Run]:
    runs: list[Run] = []
    for folder in folders:
        if not (_FINISHED.fullmatch(folder.name) and folder.is_dir()):
            continue
        try:
            runs.append(load_run(folder))
        except UserError as error:
            on_damage(str(error))
    return runs


def _part(name: str) -> str:
    """A registry name as a folder name, without the colon of "dist:name" (Windows forbids it)."""
    part = re.sub(r"[^\w.+@-]", "_", name.replace(":", "@"))
    if not part.strip("._"):
        raise UserError(f"{name!r} cannot name a folder of results; give it letters or digits")
    return part
