"""Details of a row: runs, settings with their origins, machine, code, citation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zslkit.config.merge import flat
from zslkit.errors import DataError
from zslkit.page.board import TableLine
from zslkit.record import PICKED, GitState, RunRecord
from zslkit.report.block import METRICS, Stat
from zslkit.report.tables import spread
from zslkit.runs.folders import Run
from zslkit.runs.source import combined
from zslkit.runs.tags import read_tags


@dataclass(frozen=True)
class SeedLine:
    """One run, with its metrics as rounded in tables, in the order of METRICS."""

    run: Run
    figures: tuple[str, ...]
    commit: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Details:
    """Details of one row: its runs, its settings as (key, value, origin) and its facts as (name,
    value), each one value for all seeds if they agree, and its metrics as picked on test."""

    line: TableLine
    seeds: tuple[SeedLine, ...]
    settings: tuple[tuple[str, str, str], ...]
    facts: tuple[tuple[str, str], ...]
    optimistic: tuple[tuple[str, str], ...]
    citation: str


def details(line: TableLine, runs: Mapping[str, Run]) -> Details:
    """Details of one row of a leaderboard."""
    members = [runs[folder] for folder in line.row.folders]
    records = [run.record for run in members]
    return Details(
        line,
        tuple(_seed(run) for run in members),
        tuple(_settings(records)),
        tuple(_facts(records)),
        tuple(_picked(line, records)),
        records[0].model.citation,
    )


def _picked(line: TableLine, records: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    """Metrics as picked on the test sets."""
    at = ", gamma 0" if line.row.calibrated else ""
    for name in METRICS[:4]:
        if name in line.row.optimistic:
            about = f"{name}, epoch picked on test{at if name != 'T1' else ''}"
            yield about, spread(line.row.optimistic[name], name)
    gamma = [(record.optimistic or {}).get("H_gamma_on_test") for record in records]
    known = [value for value in gamma if value is not None]
    if len(known) == len(records):
        yield "H, gamma picked on test", spread(Stat.of(known), "H")


def _seed(run: Run) -> SeedLine:
    record = run.record
    figures = tuple(spread(Stat.of([getattr(record.metrics, n)]), n) for n in METRICS)
    try:
        tags = read_tags(run.folder)
    except DataError:  # reported by gather()
        tags = ()
    return SeedLine(run, figures, _commit(record.git), tags)


def _settings(records: Sequence[RunRecord]) -> list[tuple[str, str, str]]:
    configs = [flat(record.used) for record in records]
    keys = sorted({key for config in configs for key in config})
    return [
        (
            key,
            _each(_word(own.get(key)) for own in configs),
            _each(_origin(r, key) for r in records),
        )
        for key in keys
        if key != "seed"
    ]


def _origin(record: RunRecord, key: str) -> str:
    origin = record.origins.get(key, "default")
    if key not in record.protocol.picked:
        return origin
    return f"{PICKED}; asked for: {_word(flat(record.config).get(key))} ({origin})"


def _facts(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    facts = [_of(record) for record in records]
    names = dict.fromkeys(name for own in facts for name in own)
    return [(name, text) for name in names if (text := _each(own.get(name, "") for own in facts))]


def _of(record: RunRecord) -> dict[str, str]:
    model, features, protocol, data = record.model, record.features, record.protocol, record.dataset
    tests = f"{data.n_test_seen} test seen, {data.n_test_unseen} test unseen"
    images = f"{data.n_trainval} trainval, {tests}"
    weights = f"{features.weights} {features.weights_digest}".strip()
    return {
        "model": f"{model.class_path} of {model.distribution} {model.version}",
        "pretraining": model.pretraining_note,
        "source": f"{len(model.source)} modules, {combined(model.source)}" if model.source else "",
        "commit of the model": _commit(model.git),
        "trained elsewhere": record.elsewhere,
        "dataset": (
            f"{data.title or data.name}: {data.seen} seen and {data.unseen} unseen "
            f"classes; images: {images}"
        ),
        "classes without a test image": ", ".join(record.classes_without_images),
        "split": record.fingerprints.split,
        "images": record.fingerprints.images,
        "semantics": f"{data.semantics} {record.fingerprints.semantics}",
        "features": (
            f"{features.input} of {features.backbone} ({weights}), "
            f"{features.dtype}, {features.fingerprint}"
        ),
        "gamma": f"{protocol.gamma:.4g}",
        "epoch": "" if protocol.epoch is None else str(protocol.epoch),
        "picked on validation": ", ".join(protocol.tuned),
        "figures on validation": ", ".join(
            f"{name} {value:.3g}" for name, value in protocol.validation.items()
        ),
        "parameters": (
            f"{record.costs.parameters}, of which {record.costs.trainable_parameters} are trained"
        ),
        **{k: _word(v) for k, v in record.environment.model_dump().items() if v is not None},
    }


def _commit(git: GitState | None) -> str:
    return "" if git is None else git.commit[:12] + (" with changes" if git.dirty else "")


def _each(texts: Iterable[str]) -> str:
    """One text if all seeds agree, else all texts in the order of the seeds."""
    words = list(texts)
    return words[0] if len(set(words)) == 1 else " | ".join(word or "-" for word in words)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
