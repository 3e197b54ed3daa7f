"""Which runs are the seeds of one row, and what the row is called."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from zslkit.config.merge import flat
from zslkit.record import AS_GIVEN, PICKED, Figures, RunRecord
from zslkit.report.badges import badges_of
from zslkit.runs.source import combined

Key = tuple[str, str, int, str]
"""Dataset, model, seed and identity, which identify a run."""


def key_of(record: RunRecord) -> Key:
    """Key that identifies the run."""
    return record.dataset.name, record.model.name, record.seed, record.identity


def rows_of(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """The records of each row; a row may hold several runs of one seed, of equal results."""
    return [part for members in _groups(records) for part in _parts(members)]


def variants(rows: Sequence[Sequence[RunRecord]]) -> dict[Key, str]:
    """Name of each row among the rows of its model, by the key of its first record."""
    of_model: dict[str, list[RunRecord]] = defaultdict(list)
    for row in rows:
        of_model[row[0].model.name].append(row[0])
    return {key_of(r): name for firsts in of_model.values() for r, name in _variants(firsts)}


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

    `without` names settings to ignore.
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
    without, settings = _idle(record) | _hidden(record), _flat(record)
    keys = [key for key in settings if not (key in without or key.startswith("features."))]
    return {key: settings[key] for key in keys}


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


def _variants(firsts: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, str]]:
    """Name of each row among the rows of its model (one record each): version, settings or source.

    If names and badges are equal, settings without effect and selected values are added, and
    finally the identity. All rows are compared at once, because pairs would grow with the square of
    a sweep.
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
                run = "" if twice[words] == 1 else f"run {firsts[i].identity}"
                names[i] = ", ".join(filter(None, (names[i], words, run)))
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
    if key in ("", "class"):
        return str(value)
    return f"{key} {value}" if key == "source" else f"{key}={value}"


_BADGED = ("protocol.selection", "protocol.calibration", "protocol.folds")


def _stated(record: RunRecord, features: bool) -> dict[str, Any]:
    """Properties that define the row, by key, without those in badges."""
    model = record.model
    found: dict[str, Any] = {"": f"{model.distribution} {model.version}", "class": model.class_path}
    found |= {key: value for key, value in _asked(record).items() if key not in _BADGED}
    found |= dict.fromkeys(_hidden(record), "unknown")
    if features:
        found |= {key: value for key, value in _flat(record).items() if key.startswith("features.")}
    return found | ({"source": combined(model.source)[:8]} if model.source else {})


def _fed(record: RunRecord) -> tuple[str, str]:
    """Input of the model, which represents all settings of `features`."""
    return record.features.input, record.fingerprints.features


def _rest(record: RunRecord) -> dict[str, Any]:
    """Properties that distinguish runs beyond `_stated`."""
    given = _flat(record)
    picked = {key: given.pop(key) for key in _hidden(record) & given.keys()}
    picked |= record.protocol.picked
    given |= {f"picked {key}": value for key, value in picked.items()}
    return given | {"trained elsewhere": record.elsewhere}


_SHOWN = frozenset(f"features.{name}" for name in ("input", "backbone", "weights", "size"))
"""Settings that the title of a block or the badges of a row show."""


def changed(record: RunRecord) -> dict[str, tuple[Any, Any]]:
    """Settings with an effect that the user changed -> value, and the usual one.

    The usual value is None in older records. Settings that every table shows by themselves, such
    as the backbone, are not among them.
    """
    now = _flat(record)
    idle: Set[str] = _SHOWN
    if record.usual is not None:
        usual = dict(record.usual)
    else:
        given = ("dataset", "preset", PICKED)
        usual = {k: None for k, origin in record.origins.items() if not origin.startswith(given)}
        idle = idle | _idle(record)
    if record.features.backbone == AS_GIVEN:
        idle = idle | {key for key in usual if key.startswith("features.")}
    return {key: (now.get(key), usual[key]) for key in sorted(usual) if key not in idle}


def _flat(record: RunRecord) -> dict[str, Any]:
    """Settings by dotted key, without the seed."""
    return {key: value for key, value in flat(record.config).items() if key != "seed"}
