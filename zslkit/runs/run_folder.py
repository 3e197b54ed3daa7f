"""The folder of a run in progress: `.partial` until all is written, then renamed in one step.

A lock file keeps two processes off one run.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any

import yaml

from zslkit.errors import CannotWrite
from zslkit.evaluation.attributes import AttributeScores
from zslkit.record import RunRecord
from zslkit.runs.attribute_scores import write_attributes
from zslkit.runs.folders import (
    ATTRIBUTES,
    CONFIG,
    LOG,
    RECORD,
    SCORES,
    WEIGHTS,
    goes_on,
    heading,
    lock_of,
    run_path,
)
from zslkit.runs.provenance import now
from zslkit.runs.scores import ModelError, Scores, ScoreStream, distinguish
from zslkit.runs.source import CHANGED, changed
from zslkit.utils.files import clear, disk_full, parse_json, partial_of, read_small, replacing, why
from zslkit.utils.locks import acquired

CHECKPOINT = "checkpoint.pt"
SOURCE = "source.json"
"""Digests of the model's source while a run is in progress; later they are in its record."""

_logger = logging.getLogger(__name__)


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
                refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
                if not (refused and final.is_dir()):
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
        odd = {k: None for k, v in values.items() if isinstance(v, float) and not math.isfinite(v)}
        line = {"time": now(), **values, **odd}
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
        seen, unseen = distinguish(stream.test_seen), distinguish(stream.test_unseen)
        stream = replace(stream, test_seen=seen, test_unseen=unseen)
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
            config = record.model_dump(mode="json")["config"]
            settings = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
            settings = f"{heading(record)}\n{settings}"
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
                f"No space is left on the disk that holds {folder}; what was done so far is kept "
                "there, so free some space and start the same run again"
            ) from error
        raise CannotWrite(
            f"{folder} cannot be written ({why(error)}); "
            "check its permissions or choose another --out"
        ) from error
