"""Run folders: `<out>/<dataset>/<model>/seed<seed>-<identity>/`, written whole or not at all.

A run in progress lives beside its place, in the same path with `.partial`, and is renamed into it when it is done.
A lock file keeps two processes off one run.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import yaml

from zslkit.errors import CannotWrite, DataError, UserError
from zslkit.utils.files import (
    NotPermitted,
    check_permitted,
    clear,
    disk_full,
    parse_json,
    partial_of,
    permitted,
    read_small,
    replacing,
    why,
)
from zslkit.training.search import TRIED
from zslkit.utils.locks import acquired
from zslkit.runs.attribute_scores import KeptAttributes, read_attributes
from zslkit.runs.provenance import now
from zslkit.record import RunRecord, parse_record
from zslkit.runs.scores import ModelError, Scores, ScoreStream, read_scores, distinguish
from zslkit.runs.source import CHANGED, changed

RECORD, CONFIG, LOG, SCORES = "record.json", "config.yaml", "log.jsonl", "scores.npz"
ATTRIBUTES = "attributes.npz"
"""Optional: of a model that tells attributes."""
SOURCE = "source.json"
"""Which source of the model a run in progress is made with; once it is done, its record says it."""
WEIGHTS, CHECKPOINT = "model.safetensors", "checkpoint.pt"

_FINISHED = re.compile(r"seed-?\d+-[0-9a-f]{12}")
_logger = logging.getLogger(__name__)


def identity(payload: Mapping[str, Any]) -> str:
    """12 hex digits that stand for everything in `payload`, whatever the order of its keys.

    payload: what decides a run's outcome, as JSON knows it. Raises TypeError or ValueError for anything else (NaN too).
    """
    canonical = json.dumps(
        payload, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:12]


def run_path(out: Path, dataset: str, model: str, seed: int, identity: str) -> Path:
    """Where the run belongs below `out`. Raises UserError for a name that would lead elsewhere."""
    return out / _part(dataset) / _part(model) / f"seed{seed}-{identity}"


def lock_of(final: Path) -> Path:
    """The file that a process holds while it works on the run of that folder; hidden, so that seed0-* names run folders alone."""
    return final.with_name(f".{final.name}.lock")


class RunFolder:
    """The folder of one run, while this process alone works on it. Made by `open`."""

    def __init__(self, final: Path) -> None:
        self.final = final
        self.finished = final.is_dir()
        self.source: Mapping[str, str] = {}
        """What the record will say of the model's source; set by `begin`."""
        self._kept: Scores | None = None
        self.listeners: list[Callable[[Mapping[str, Any]], None]] = []
        """Each gets every line that is logged, after it was written."""

    @classmethod
    @contextmanager
    def open(
        cls,
        out: Path,
        dataset: str,
        model: str,
        seed: int,
        identity: str,
        on_wait: Callable[[str], None] = _logger.warning,
    ) -> Iterator[RunFolder]:
        """Lock the run's folder, make it if it is not there, and free it at the end.

        If another process works on the same run, `on_wait` gets a sentence and this one waits; then `finished` is
        most likely True. What an interrupted run left is kept in `path`, so that it can go on from there.
        Raises CannotWrite, and UserError for a name that is no folder name.
        """
        final = run_path(out, dataset, model, seed, identity)
        clear(out)
        sentence = f"Another process works on {final}; this one waits until it is done"
        held: AbstractContextManager[object] = contextlib.nullcontext()
        with _explained(final):
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
                held = acquired(lock_of(final), on_wait, sentence, patience=0)
            except OSError as error:
                if (
                    error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS)
                    or not final.is_dir()
                ):
                    raise  # and a finished run is read without a lock where none can be made
        with held:
            folder = cls(final)
            if folder.finished:
                folder._drop_state()
            else:
                with _explained(folder.path):
                    folder.path.mkdir(exist_ok=True)
                    _drop_cut_line(folder.path / LOG)
            yield folder

    @property
    def path(self) -> Path:
        """Where the run's files are now: beside its place while in progress, then in it."""
        return self.final if self.finished else partial_of(self.final)

    @property
    def checkpoint(self) -> Path:
        """Where training keeps its state; gone once the run is finished."""
        return self.path / CHECKPOINT

    @property
    def weights(self) -> Path:
        """Where the trained model's parameters belong."""
        return self.path / WEIGHTS

    def log(self, **values: Any) -> None:
        """Append a line with the time and `values` to the log. A number that is not finite is written as null."""
        line = {"time": now()} | {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in values.items()
        }
        with _explained(self.path), (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        for listener in self.listeners:
            listener(line)

    def begin(self, source: Mapping[str, str]) -> list[str]:
        """Note which source of the model this start of the run is made with.

        Args:
            source: Digests by module (`zslkit.runs.source.sources`).

        Returns:
            The modules that an earlier start, whose state this one goes on from, knew otherwise. The
            record will not name the source of such a one, since both had a part in the run.
        """
        place = self.path / SOURCE
        before = (
            read_source(place)
            if any(self.path.glob("*.pt")) or (self.path / TRIED).is_file()
            else {}
        )
        other = changed(before, source) if before else []
        self.source = {**source, **dict.fromkeys(other, CHANGED)}
        with _explained(self.path):
            _write(place, lambda file: file.write(json.dumps(dict(self.source)).encode()))
        return other

    def retire(self) -> None:
        """Let a finished run be made again; until that is done it stays, and then it is kept under the time it was replaced."""
        self.finished = False
        with _explained(self.path):
            self.path.mkdir(exist_ok=True)
            _drop_cut_line(self.path / LOG)

    def _beside(self, when: datetime) -> Path:
        """A name that is free: a clock that was set back may show the same time twice."""
        while (
            place := self.final.with_name(f"{self.final.name}.replaced-{when:%Y%m%dT%H%M%S%f}")
        ).exists():
            when += timedelta(microseconds=1)
        return place

    def keep(self, stream: ScoreStream) -> Scores:
        """Write scores beside their place while they are computed, and give them back mapped; `commit` need not write them again.

        Raises CannotWrite, for instance if the disk is full, and whatever computing them raises.
        """
        stream = replace(
            stream,
            test_seen=distinguish(stream.test_seen),
            test_unseen=distinguish(stream.test_unseen),
        )
        place = self.path / f"{SCORES}.new"
        try:
            with _explained(self.path):
                self._kept = stream.keep(place)
        except BaseException as error:
            place.unlink(missing_ok=True)
            if isinstance(error, ModelError):
                raise error.error from None
            raise
        return self._kept

    def keep_attributes(self, kept: KeptAttributes) -> None:
        """Write attribute scores beside the scores. Raises CannotWrite."""
        with _explained(self.path):
            _write(self.path / ATTRIBUTES, kept.write)

    def commit(self, record: RunRecord, scores: Scores) -> None:
        """Write the settings, the scores and the record, and move the folder to its place in one step.

        scores: as `keep` gave them back, or any others. Raises CannotWrite, for instance if the disk is full; then everything
        before this call is still there.
        """
        if self.finished:
            raise ValueError(f"{self.final} is finished already")
        with _explained(self.path):
            settings = yaml.safe_dump(
                record.model_dump(mode="json")["config"], sort_keys=False, allow_unicode=True
            )
            (self.path / LOG).touch()
            _write(self.path / CONFIG, lambda file: file.write(settings.encode()))
            if scores is self._kept:
                os.replace(self.path / f"{SCORES}.new", self.path / SCORES)
            else:
                _write(self.path / SCORES, scores.write)
            _write(self.path / RECORD, lambda file: file.write(record.to_json().encode()))
            if self.final.is_dir():
                os.replace(self.final, self._beside(datetime.now(UTC)))
            os.replace(self.path, self.final)
            self.finished = True
        self._drop_state()

    def _drop_state(self) -> None:
        """Remove what trainings, of folds too, could have gone on from. Only after the rename: a crash before it must cost no training.

        What is left if the process ends here is harmless, and goes the next time the run is opened.
        """
        with contextlib.suppress(OSError):
            for state in (*self.final.glob("*.pt"), self.final / SOURCE):
                state.unlink(missing_ok=True)


@dataclass(frozen=True)
class Run:
    """A finished run: its record, and its scores when asked for."""

    record: RunRecord
    folder: Path

    def scores(self) -> Scores:
        """The scores of both test sets, mapped. Raises DataError if the file is missing or damaged."""
        return read_scores(self.folder / SCORES)

    def attributes(self) -> KeptAttributes | None:
        """The attribute scores of both test sets, None if none were kept. Raises DataError if the file is damaged."""
        return read_attributes(self.folder / ATTRIBUTES)

    def settings(self) -> dict[str, Any]:
        """The settings that the model was trained with."""
        return self.record.used


def load_run(folder: Path) -> Run:
    """The finished run in `folder`. Raises UserError if there is none, DataError if its record is damaged."""
    if folder.name.endswith(".partial"):
        raise UserError(
            f"{folder} is a run that was not finished; start the same run again and it goes on from there"
        )
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
    """The folders `out/*/*/seed*` in the order of their paths. on_fault: told of each folder that may not be read."""

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
    """All finished runs below `out`, by path. `on_damage` is told of each that is left out because it is damaged or may not be read."""
    return _found(run_places(out, on_damage), on_damage)


def find_runs_of(
    place: Path, seed: int, on_damage: Callable[[str], None] = _logger.warning
) -> list[Run]:
    """The same of one seed, of those in `place` (OUT/DATASET/MODEL)."""
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
    """A registry name as one part of a path; "dist:name" is allowed there and no folder name everywhere."""
    part = re.sub(r"[^\w.+@-]", "_", name.replace(":", "@"))
    if not part.strip("._"):
        raise UserError(f"{name!r} cannot name a folder of results; give it letters or digits")
    return part


def read_source(place: Path) -> dict[str, str]:
    """What `RunFolder.begin` wrote; empty if there is nothing that can be read, as of an older run."""
    try:
        found = parse_json(read_small(place))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _write(path: Path, fill: Callable[[IO[bytes]], Any]) -> None:
    """Write beside, make sure it is on the disk, then put it in its place."""
    with replacing(path) as beside, beside.open("wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())


def _drop_cut_line(log: Path) -> None:
    """A killed process or a full disk may have left half a line at the end; the next one must not be glued to it."""
    if not log.exists():
        return
    content = log.read_bytes()
    if not content.endswith(b"\n"):
        os.truncate(log, content.rfind(b"\n") + 1)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if disk_full(error):
            raise CannotWrite(
                f"No space is left on the disk that holds {folder}; what was done so far is kept there, "
                f"so free some space and start the same run again"
            ) from error
        raise CannotWrite(
            f"{folder} cannot be written ({why(error)}); check its permissions or choose another --out"
        ) from error
