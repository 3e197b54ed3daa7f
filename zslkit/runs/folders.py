"""Run folders: `<out>/<dataset>/<model>/seed<seed>-<identity>/`, written whole or not at all.

A run in progress has its own folder with the suffix `.partial`, which is renamed when the run is
finished. A lock file keeps two processes off one run.
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
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any

import yaml

from zslkit.errors import CannotWrite, DataError, UserError
from zslkit.evaluation.attributes import AttributeScores
from zslkit.record import RunRecord, parse_record
from zslkit.runs.attribute_scores import read_attributes, write_attributes
from zslkit.runs.provenance import now
from zslkit.runs.scores import ModelError, Scores, ScoreStream, distinguish, read_scores
from zslkit.runs.source import CHANGED, changed
from zslkit.training.search import TRIED
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
from zslkit.utils.locks import acquired

RECORD, CONFIG, LOG, SCORES = "record.json", "config.yaml", "log.jsonl", "scores.npz"
ATTRIBUTES = "attributes.npz"
"""Optional: only models that predict attributes have it."""
SOURCE = "source.json"
"""Digests of the model's source while a run is in progress; later they are in its record."""
WEIGHTS, CHECKPOINT = "model.safetensors", "checkpoint.pt"

_FINISHED = re.compile(r"seed-?\d+-[0-9a-f]{12}")
_logger = logging.getLogger(__name__)


def identity(payload: Mapping[str, Any]) -> str:
    """Hash of everything that determines a run's outcome: 12 hex digits.

    The payload is JSON; the order of keys does not matter.

    Raises:
        TypeError: A value is not JSON.
        ValueError: A number is not finite.
    """
    canonical = json.dumps(
        payload, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:12]


def run_path(out: Path, dataset: str, model: str, seed: int, identity: str) -> Path:
    """The folder of a run below `out`; UserError for a name that would lead elsewhere."""
    return out / _part(dataset) / _part(model) / f"seed{seed}-{identity}"


def lock_of(final: Path) -> Path:
    """The lock file of a run folder; hidden, so that `seed0-*` matches run folders only."""
    return final.with_name(f".{final.name}.lock")


class RunFolder:
    """The folder of one run, locked by this process. Opened by `open`."""

    def __init__(self, final: Path) -> None:
        self.final = final
        self.finished = final.is_dir()
        self.source: Mapping[str, str] = {}
        """Digests of the model's source for the record; set by `begin`."""
        self._kept: Scores | None = None
        self.listeners: list[Callable[[Mapping[str, Any]], None]] = []
        """Called with every log line after it is written."""

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
        """Lock the run's folder, create it if needed, and release it at the end.

        If another process works on the same run, `on_wait` gets a sentence and this one waits;
        afterwards `finished` is usually True. `path` keeps the files of an interrupted run, so that
        it can continue.

        Raises:
            CannotWrite: The folder cannot be written.
            UserError: A name cannot be a folder name.
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
                    raise  # a finished run in a read-only folder is read without a lock
        with held:
            folder = cls(final)
            if folder.finished:
                folder._drop_state()
            else:
                folder.retire()
            yield folder

    @property
    def path(self) -> Path:
        """The run's folder now: with the suffix `.partial` until the run is finished."""
        return self.final if self.finished else partial_of(self.final)

    @property
    def checkpoint(self) -> Path:
        """File of the training state; removed when the run is finished."""
        return self.path / CHECKPOINT

    @property
    def weights(self) -> Path:
        """File of the trained model's weights."""
        return self.path / WEIGHTS

    def log(self, **values: Any) -> None:
        """Append a line with the time and `values` to the log; non-finite numbers become null."""
        line = {"time": now()} | {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in values.items()
        }
        with _explained(self.path), (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        for listener in self.listeners:
            listener(line)

    def begin(self, source: Mapping[str, str]) -> list[str]:
        """Write the digests of the model's source with which this start of the run is made.

        Returns the modules that have changed since an earlier start that this one continues. The
        record marks them as changed, since both versions took part in the run.
        """
        place = self.path / SOURCE
        before = read_source(place) if goes_on(self.path) else {}
        other = changed(before, source) if before else []
        self.source = {**source, **dict.fromkeys(other, CHANGED)}
        with _explained(self.path):
            _write(place, lambda file: file.write(json.dumps(dict(self.source)).encode()))
        return other

    def drop_if_bare(self) -> None:
        """Remove the folder of a run that failed before it had a state to go on from, or a log."""
        log = self.path / LOG
        if not (self.finished or goes_on(self.path) or (log.is_file() and log.stat().st_size)):
            shutil.rmtree(self.path, ignore_errors=True)

    def retire(self) -> None:
        """Begin or go on in `path`; a finished run stays until then, and under a dated name."""
        self.finished = False
        with _explained(self.path):
            self.path.mkdir(exist_ok=True)
            _drop_cut_line(self.path / LOG)

    def _beside(self, when: datetime) -> Path:
        """A free name for a replaced run; a clock set back may show the same time twice."""
        while (
            place := self.final.with_name(f"{self.final.name}.replaced-{when:%Y%m%dT%H%M%S%f}")
        ).exists():
            when += timedelta(microseconds=1)
        return place

    def keep(self, stream: ScoreStream) -> Scores:
        """Write scores while they are computed and return them memory-mapped, for `commit`.

        Raises:
            CannotWrite: The file cannot be written, for instance because the disk is full.
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

    def keep_attributes(self, kept: AttributeScores) -> None:
        """Write attribute scores to the run's folder; CannotWrite if that fails."""
        with _explained(self.path):
            _write(self.path / ATTRIBUTES, partial(write_attributes, kept))

    def commit(self, record: RunRecord, scores: Scores) -> None:
        """Write settings, scores (unless `keep` has) and record, and rename the folder in one step.

        Raises:
            CannotWrite: A file cannot be written. Everything written before this call is kept.
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
        """Remove the training states, those of folds too.

        Only after the rename, since a crash before it must not cost a training. Files left by a
        crash here are harmless and are removed when the run is opened again.
        """
        with contextlib.suppress(OSError):
            for state in (*self.final.glob("*.pt"), self.final / SOURCE):
                state.unlink(missing_ok=True)


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


def read_source(place: Path) -> dict[str, str]:
    """Read what `RunFolder.begin` wrote; empty if the file is missing or damaged."""
    try:
        found = parse_json(read_small(place))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _write(path: Path, fill: Callable[[IO[bytes]], Any]) -> None:
    """Write to a temporary file, sync it to the disk, and rename it to `path`."""
    with replacing(path) as beside, beside.open("wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())


def _drop_cut_line(log: Path) -> None:
    """Remove an incomplete last line, left by a killed process or a full disk."""
    if not log.exists():
        return
    content = log.read_bytes()
    if not content.endswith(b"\n"):
        os.truncate(log, content.rfind(b"\n") + 1)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn an OSError into CannotWrite with the next step."""
    try:
        yield
    except OSError as error:
        if disk_full(error):
            raise CannotWrite(
                f"No space is left on the disk that holds {folder}; "
                "what was done so far is kept there, "
                f"so free some space and start the same run again"
            ) from error
        raise CannotWrite(
            f"{folder} cannot be written ({why(error)}); "
            "check its permissions or choose another --out"
        ) from error
