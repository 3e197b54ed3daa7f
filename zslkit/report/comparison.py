"""Groups run records into comparable blocks, with means over seeds."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from typing import Any

from zslkit.config.merge import flat
from zslkit.record import PICKED, Figures, RunRecord
from zslkit.report.badges import Badges, badges_of
from zslkit.report.comparability import (
    SEEN_ALONE,
    TRANSDUCTIVE,
    Comparability,
    differences,
    settled,
)
from zslkit.report.published import Published
from zslkit.report.sampling import Sampling
from zslkit.runs.source import combined

Key = tuple[str, str, int, str]
"""Dataset, model, seed and identity, which identify a run."""

METRICS = tuple(Figures.model_fields)
"""T1, U, S, H, AUSUC; higher is better."""
COSTS = ("parameters", "train_seconds", "peak_memory_mb")
"""Lower is better."""


@dataclass(frozen=True)
class Stat:
    """Mean over n runs and sample standard deviation (n - 1), None for one run."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        return cls(
            statistics.fmean(values),
            statistics.stdev(values) if len(values) > 1 else None,
            len(values),
        )


@dataclass(frozen=True)
class Row:
    """Runs of one model with one configuration and protocol, over all seeds.

    Attributes:
        model: Model name.
        variant: Settings that differ from other rows of this model in the block.
        origin: Distribution and version.
        input: Input type of the model.
        seeds: Seeds of the runs.
        made: How the row was produced.
        metrics: Metric -> mean.
        uncalibrated_H: H with gamma 0; equal to H without calibration.
        gamma: Mean gamma.
        costs: Cost -> mean; None if unknown.
        optimistic: Metric -> mean as selected on test.
        best: Columns in which no other row is better.
        folders: Run folders in the order of the seeds, where known.
        intervals: Metric -> 95 % interval over draws of the test images.
    """

    model: str
    variant: str
    origin: str
    input: str
    seeds: tuple[int, ...]
    made: Badges
    metrics: Mapping[str, Stat]
    uncalibrated_H: Stat
    gamma: Stat
    costs: Mapping[str, Stat | None]
    optimistic: Mapping[str, Stat]
    best: frozenset[str] = frozenset()
    folders: tuple[str, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(self.seeds)

    @property
    def label(self) -> str:
        return f"{self.model} ({self.variant})" if self.variant else self.model

    @property
    def badges(self) -> tuple[str, ...]:
        """Badge texts without those that the whole block shares."""
        return self.made.words


@dataclass(frozen=True)
class PickedOnTest:
    """A row as selected on the test sets: not a result, and in no ranking or test.

    Attributes:
        label: Label of the row.
        made: The row's badges with this selection.
        seeds: Seeds of the runs.
        metrics: Metric -> mean; None if unknown.
        added: Metric -> difference to the row's own mean.
        gamma: Mean gamma; None without calibration.
        folders: Run folders.
    """

    label: str
    made: Badges
    seeds: tuple[int, ...]
    metrics: Mapping[str, Stat | None]
    added: Mapping[str, float]
    gamma: Stat | None = None
    folders: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True)
class Block:
    """Comparable rows, and published rows to show beside them.

    Attributes:
        title: What the rows share.
        setting: Properties that the rows share.
        notes: Sentences below the table.
        rows: The rows.
        chance: Metrics of random answers.
        published: Published rows.
        sampling: Intervals and tests over draws of the test images; None if the scores were not
            read.
        on_test: Rows as selected on test, for a separate table; None if not requested.
    """

    title: str
    setting: Comparability
    notes: tuple[str, ...]
    rows: tuple[Row, ...]
    chance: Mapping[str, float]
    published: tuple[Published, ...]
    sampling: Sampling | None = None
    on_test: tuple[PickedOnTest, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Unambiguous name of each row: its label, with badges if another row has the same."""
        labels = Counter(row.label for row in self.rows)
        return tuple(
            f"{row.label} [{', '.join(row.badges)}]" if labels[row.label] > 1 else row.label
            for row in self.rows
        )

    @property
    def calibrated(self) -> bool:
        """Whether a row is calibrated, so that H with gamma 0 must be shown too."""
        return any("uncalibrated" not in row.badges for row in self.rows)


def key_of(record: RunRecord) -> Key:
    """Key that identifies the run."""
    return record.dataset.name, record.model.name, record.seed, record.identity


def compare(
    records: Iterable[RunRecord],
    published: Iterable[Published] = (),
    folders: Mapping[Key, str] | None = None,
    strict: bool = False,
) -> list[Block]:
    """Group records into blocks of comparable runs, by dataset. Duplicates count once.

    Args:
        records: Records of runs.
        published: Published results; each block shows those of its DatasetInfo.published_as.
        folders: Run folders.
        strict: Separate inductive from class-inductive runs; transductive ones are always separate.
    """
    unique = {key_of(r): r for r in sorted(records, key=lambda r: r.finished)}
    own = {key: Comparability.of(record, strict) for key, record in unique.items()}
    whole = settled(own.values())
    by_setting: dict[Comparability, list[RunRecord]] = defaultdict(list)
    for key, record in unique.items():
        by_setting[whole[own[key]]].append(record)
    known = list(published)
    settings = sorted(by_setting, key=lambda s: tuple(str(getattr(s, f.name)) for f in fields(s)))
    return [
        _block(setting, by_setting[setting], settings, known, folders or {}) for setting in settings
    ]


def _block(
    setting: Comparability,
    records: list[RunRecord],
    settings: list[Comparability],
    known: list[Published],
    folders: Mapping[Key, str],
) -> Block:
    info = records[0].dataset
    points = setting.described()
    title = [
        info.title or info.name,
        f"{points['backbone']} {points['backbone frozen or tuned']}",
        points["resolution"],
        points["split"],
    ]
    # Always named, also for a single block, since these are other tasks than the usual one.
    if setting.kind != "attributes":
        title.append(f"semantics: {setting.kind}")
    if setting.training == TRANSDUCTIVE:
        title.append(TRANSDUCTIVE)
    rows, repeated = _rows(records, folders)
    reference = tuple(p for p in known if info.published_as and p.dataset == info.published_as)
    notes = []
    if differing := differences(setting, settings):
        notes.append(
            f"Not comparable with the other blocks of {info.name}: here {', '.join(differing)}."
        )
        title += [
            value
            for d in differing
            if (value := d.partition(": ")[2]) != SEEN_ALONE and value not in " ".join(title)
        ]
    if mixed := _mixed_protocols(rows):
        notes.append(mixed)
    if absent := records[0].classes_without_images:
        notes.append(
            f"{len(absent)} of {info.classes} classes have no test image and count in no mean "
            f"({absent[0]}, ...)."
        )
    if skipped := max(r.dataset.n_skipped for r in records):
        notes.append(
            f"{skipped} images that could not be read were skipped and are in none of the sets "
            "(features.skip_bad)."
        )
    notes += repeated
    notes += [optimism(row) for row in rows if "H" in row.optimistic or "T1" in row.optimistic]
    if reference:
        notes.append(
            "Published rows: as printed by others, under the protocol of each paper; not run here."
        )
    return Block(
        ", ".join(title),
        setting,
        tuple(notes),
        tuple(rows),
        records[0].chance.model_dump(),
        reference,
    )


def _mixed_protocols(rows: Sequence[Row]) -> str:
    """Note that names the protocol of each row; "" if all rows share one."""
    by: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by[row.made.protocol or ""].append(row.label)
    if len(by) < 2:
        return ""
    rows_of = "; ".join(
        f"{protocol}: {', '.join(dict.fromkeys(labels))}" for protocol, labels in sorted(by.items())
    )
    return (
        "Rows of two protocols stand here, since class-inductive training knows the semantics "
        f"of the unseen classes ({rows_of})."
    )


def optimism(row: Row) -> str:
    """Note that says what selection on test would report for a row."""
    found = ", ".join(
        f"{name} {stat.mean:.1f}" for name, stat in row.optimistic.items() if name in METRICS[:4]
    )
    return (
        f"{row.label}: picking on the test sets, as many papers do, would print {found}; it is "
        "no result."
    )


def _rows(records: list[RunRecord], folders: Mapping[Key, str]) -> tuple[list[Row], list[str]]:
    """Rows, and a note for each seed with several runs of equal result."""
    parts = [part for members in _groups(records) for part in _parts(members)]
    of_model: dict[str, list[RunRecord]] = defaultdict(list)
    for part in parts:
        of_model[part[0].model.name].append(part[0])
    variants = {key_of(r): v for firsts in of_model.values() for r, v in _variants(firsts)}
    rows: list[Row] = []
    repeated: list[str] = []
    for part in parts:
        seeds = {record.seed: record for record in part}  # the newest of equal results counts
        row = _row(list(seeds.values()), variants[key_of(part[0])], folders)
        rows.append(row)
        twice = [str(s) for s, runs in Counter(record.seed for record in part).items() if runs > 1]
        if twice:
            repeated.append(
                f"{row.label}: several runs of seed {', '.join(twice)} have one outcome and count "
                "once."
            )
    rows.sort(key=lambda row: (row.model, row.variant, row.badges))
    best = _best(rows)
    marked = [
        replace(row, best=frozenset(c for c, winners in best.items() if i in winners))
        for i, row in enumerate(rows)
    ]
    return marked, repeated


def _groups(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Records grouped into rows.

    Older records lack the requested value of a setting that validation selected. They join the
    newer group that agrees in all else, if there is exactly one.
    """
    hidden = {frozenset(_hidden(r)) for r in records} - {frozenset()}
    groups = _by(records, _row_key)
    newer = {key: members for key, members in groups.items() if not _hidden(members[0])}
    bare: dict[str, set[str]] = defaultdict(set)
    for key, members in newer.items():
        for keys in hidden:
            bare[_row_key(members[0], keys)].add(key)
    for key, members in groups.items():
        if key not in newer and len(bare[key]) == 1:
            newer[next(iter(bare[key]))] += members
        elif key not in newer:
            newer[key] = members
    return list(newer.values())


def _hidden(record: RunRecord) -> set[str]:
    """Settings of an older record that validation selected."""
    return {key for key, origin in record.origins.items() if origin == PICKED}


def _row_key(record: RunRecord, without: Set[str] = frozenset()) -> str:
    """Key of a row: equal for runs that differ only in the seed and in settings without effect.

    Args:
        record: Record of the run.
        without: Settings to ignore.
    """
    model = record.model
    # Badges belong to the key, because a row's badges must hold for all its runs.
    made = badges_of(record).as_data()
    names = [model.name, model.distribution, model.version, model.class_path]
    asked = {key: value for key, value in _asked(record).items() if key not in without}
    return json.dumps([names, _fed(record), made, asked], sort_keys=True, default=str)


def _asked(record: RunRecord) -> dict[str, Any]:
    """Requested settings with an effect, by dotted key.

    Features are left out, since their fingerprint represents them. Values that validation selected
    may differ from seed to seed within a row.
    """
    without = _idle(record) | _hidden(record)
    return {
        key: value
        for key, value in _flat(record).items()
        if key not in without and not key.startswith("features.")
    }


def _idle(record: RunRecord) -> set[str]:
    """Protocol settings without effect on this run."""
    protocol = record.protocol
    idle = {"watch_test"}
    if not protocol.tuned:
        idle |= {"tune", "trials"}
    if protocol.selection != "validation" or protocol.epoch is None:
        idle.add("patience")
    if not protocol.folds:
        idle |= {"folds", "fold_seed"}
    return {f"protocol.{name}" for name in idle}


def _parts(members: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Split a group so that no seed has two results in one part.

    First by the source of the model; older records without it join the others if those agree. Then
    by settings without effect and selected values, and finally by run.
    """
    members = sorted(members, key=lambda r: r.finished)
    sources = {source for r in members if (source := combined(r.model.source))}
    only = next(iter(sources)) if len(sources) == 1 else ""
    parts = list(_by(members, lambda r: combined(r.model.source) or only).values())
    for key in (lambda r: json.dumps(_rest(r), sort_keys=True, default=str), lambda r: r.identity):
        parts = [
            smaller
            for part in parts
            for smaller in (_by(part, key).values() if _contradicts(part) else [part])
        ]
    return parts


def _by(
    records: Iterable[RunRecord], key: Callable[[RunRecord], str]
) -> dict[str, list[RunRecord]]:
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return groups


def _contradicts(records: Iterable[RunRecord]) -> bool:
    """Whether a seed has two results."""
    outcomes: dict[int, Figures] = {}
    return any(outcomes.setdefault(r.seed, r.metrics) != r.metrics for r in records)


def _row(members: list[RunRecord], variant: str, folders: Mapping[Key, str]) -> Row:
    members = sorted(members, key=lambda r: r.seed)
    first = members[0]
    picked = [r.optimistic for r in members if r.optimistic]
    shared = [k for k in METRICS if len(picked) == len(members) and all(k in o for o in picked)]
    costs = {
        name: [value for r in members if (value := getattr(r.costs, name)) is not None]
        for name in COSTS
    }
    return Row(
        model=first.model.name,
        variant=variant,
        origin=f"{first.model.distribution} {first.model.version}",
        input=first.features.input,
        seeds=tuple(r.seed for r in members),
        made=badges_of(first),
        metrics={name: Stat.of([getattr(r.metrics, name) for r in members]) for name in METRICS},
        uncalibrated_H=Stat.of([r.uncalibrated.H for r in members]),
        gamma=Stat.of([r.protocol.gamma for r in members]),
        costs={name: Stat.of(values) if values else None for name, values in costs.items()},
        optimistic={k: Stat.of([float(o[k]) for o in picked]) for k in shared},
        folders=tuple(folders[key_of(r)] for r in members if key_of(r) in folders),
    )


def _variants(firsts: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, str]]:
    """Name of each row among the rows of its model: version, settings or source that differ.

    If names and badges are equal, settings without effect and selected values are added, and
    finally the identity. All rows are compared at once, because pairs would grow with the square of
    a sweep.

    Args:
        firsts: One record per row.
    """
    one_feed = len({_fed(record) for record in firsts}) == 1
    names = _differing(firsts, lambda record: _stated(record, not one_feed))
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, record in enumerate(firsts):
        alike[names[i], *badges_of(record).words].append(i)
    for places in alike.values():
        if len(places) > 1:
            more = _differing([firsts[i] for i in places], _rest)
            twice = Counter(more)
            for i, words in zip(places, more, strict=True):
                words = (
                    words
                    if twice[words] == 1
                    else ", ".join(filter(None, (words, f"run {firsts[i].identity}")))
                )
                names[i] = ", ".join(filter(None, (names[i], words)))
    yield from zip(firsts, names, strict=True)


def _differing(
    firsts: Sequence[RunRecord], say: Callable[[RunRecord], Mapping[str, Any]]
) -> list[str]:
    """For each record, the items of `say` that are not equal in all records, as text."""
    items = [say(record) for record in firsts]
    keys = [
        key
        for key in sorted({key for own in items for key in own})
        if any(own.get(key) != items[0].get(key) for own in items)
    ]
    return [", ".join(_word(key, own.get(key, "none")) for key in keys) for own in items]


def _word(key: str, value: Any) -> str:
    return (
        str(value)
        if key in ("", "class")
        else f"{key} {value}"
        if key == "source"
        else f"{key}={value}"
    )


_BADGED = ("protocol.selection", "protocol.calibration", "protocol.folds")


def _stated(record: RunRecord, features: bool) -> dict[str, Any]:
    """Properties that define the row, by key, without those in badges.

    Args:
        record: Record of the run.
        features: Include settings of the section `features`.
    """
    model = record.model
    found: dict[str, Any] = {"": f"{model.distribution} {model.version}", "class": model.class_path}
    found |= {
        key: value for key, value in _asked(record).items() if key not in _BADGED
    } | dict.fromkeys(_hidden(record), "unknown")
    if features:
        found |= {key: value for key, value in _flat(record).items() if key.startswith("features.")}
    return found | ({"source": combined(model.source)[:8]} if model.source else {})


def _fed(record: RunRecord) -> tuple[str, str]:
    """Input of the model, which represents all settings of `features`."""
    return record.features.input, record.fingerprints.features


def _rest(record: RunRecord) -> dict[str, Any]:
    """Properties that distinguish runs beyond `_stated`."""
    hidden = _hidden(record)
    picked = {
        key: value for key, value in _flat(record).items() if key in hidden
    } | record.protocol.picked
    given = {key: value for key, value in _flat(record).items() if key not in hidden}
    return (
        given
        | {f"picked {key}": value for key, value in picked.items()}
        | {"trained elsewhere": record.elsewhere}
    )


def _flat(record: RunRecord) -> dict[str, Any]:
    """Settings by dotted key, without the seed."""
    return {key: value for key, value in flat(record.config).items() if key != "seed"}


def _best(rows: list[Row]) -> dict[str, set[int]]:
    """Column -> winning rows, at the precision of tables; empty for a single row."""
    if len(rows) < 2:
        return {}
    best: dict[str, set[int]] = {}
    for name in METRICS:
        shown = [round(row.metrics[name].mean, 3 if name == "AUSUC" else 1) for row in rows]
        best[name] = {i for i, value in enumerate(shown) if value == max(shown)}
    for name in COSTS:
        costs = {
            i: stat.mean for i, row in enumerate(rows) if (stat := row.costs[name]) is not None
        }
        best[name] = {i for i, value in costs.items() if value == min(costs.values())}
    return best
