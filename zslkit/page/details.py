"""Details of a row: runs, settings with their origins, machine, code, citation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zslkit.config.merge import flat
from zslkit.errors import DataError
from zslkit.page.board import TableLine
from zslkit.record import PICKED, RunRecord
from zslkit.report.comparison import METRICS, Stat
from zslkit.runs.folders import Run
from zslkit.runs.source import combined
from zslkit.runs.tags import read_tags


@dataclass(frozen=True)
class SeedLine:
    """One run.

    Attributes:
        run: The run.
        figures: Metrics as rounded in tables, in the order of METRICS.
        commit: Git commit.
        tags: Tags.
    """

    run: Run
    figures: tuple[str, ...]
    commit: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Details:
    """Details of one row.

    Attributes:
        line: The row.
        seeds: Its runs.
        settings: (key, value, origin); one value for all seeds if they agree.
        facts: (name, value); likewise.
        optimistic: Metrics as selected on test, never a result.
        citation: Citation of the model.
    """

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
        tuple(
            (name, _spread(stat.mean, stat.std)) for name, stat in _picked(line, records).items()
        ),
        records[0].model.citation,
    )


def _picked(line: TableLine, records: Sequence[RunRecord]) -> dict[str, Stat]:
    """Metrics as selected on the test sets, never a result."""
    found = line.row.optimistic
    at = ", gamma 0" if line.row.calibrated else ""
    picked = {
        f"{name}, epoch picked on test{at if name != 'T1' else ''}": found[name]
        for name in METRICS[:4]
        if name in found
    }
    gamma = [
        r.optimistic["H_gamma_on_test"]
        for r in records
        if r.optimistic and "H_gamma_on_test" in r.optimistic
    ]
    return picked | (
        {"H, gamma picked on test": Stat.of(gamma)} if len(gamma) == len(records) else {}
    )


def _seed(run: Run) -> SeedLine:
    record = run.record
    figures = (
        *(f"{getattr(record.metrics, name):.1f}" for name in METRICS[:-1]),
        f"{record.metrics.AUSUC:.3f}",
    )
    commit = (
        ""
        if record.git is None
        else record.git.commit[:12] + (" with changes" if record.git.dirty else "")
    )
    try:
        tags = read_tags(run.folder)
    except DataError:  # reported by gather()
        tags = ()
    return SeedLine(run, figures, commit, tags)


def _settings(records: Sequence[RunRecord]) -> list[tuple[str, str, str]]:
    configs = [flat(record.used) for record in records]
    keys = sorted({key for config in configs for key in config})
    return [
        (
            key,
            _each([_word(config.get(key)) for config in configs]),
            _each([_origin(r, key) for r in records]),
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
    return [(name, text) for name in names if (text := _each([own.get(name, "") for own in facts]))]


def _of(record: RunRecord) -> dict[str, str]:
    model, features, protocol, data = record.model, record.features, record.protocol, record.dataset
    images = (
        f"{data.n_trainval} trainval, {data.n_test_seen} test seen, {data.n_test_unseen} "
        "test unseen"
    )
    weights = f"{features.weights} {features.weights_digest}".strip()
    return {
        "model": f"{model.class_path} of {model.distribution} {model.version}",
        "pretraining": model.pretraining_note,
        "source": f"{len(model.source)} modules, {combined(model.source)}" if model.source else "",
        "commit of the model": ""
        if model.git is None
        else model.git.commit[:12] + (" with changes" if model.git.dirty else ""),
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
        **{
            key: _word(value)
            for key, value in record.environment.model_dump().items()
            if value is not None
        },
    }


def _each(words: Sequence[str]) -> str:
    """One text if all seeds agree, else all texts in the order of the seeds."""
    return words[0] if len(set(words)) == 1 else " | ".join(word or "-" for word in words)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _spread(mean: float, std: float | None) -> str:
    return f"{mean:.1f}" + ("" if std is None else f" ± {std:.1f}")
