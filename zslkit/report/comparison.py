"""Groups run records into comparable blocks, with means over seeds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace

from zslkit.record import RunRecord
from zslkit.report.badges import badges_of
from zslkit.report.block import COSTS, MARK, METRICS, Block, Row, Stat
from zslkit.report.comparability import (
    SEEN_ALONE,
    TRANSDUCTIVE,
    Comparability,
    differences,
    settled,
)
from zslkit.report.published import Published
from zslkit.report.rows import Key, changed, key_of, rows_of, variants


def compare(
    records: Iterable[RunRecord],
    published: Iterable[Published] = (),
    folders: Mapping[Key, str] | None = None,
    strict: bool = False,
) -> list[Block]:
    """Group records into blocks of comparable runs, by dataset. Duplicates count once.

    Args:
        published: Published results; each block shows those of its DatasetInfo.published_as.
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
        here = ", ".join(differing)
        notes.append(f"Not comparable with the other blocks of {info.name}: here {here}.")
        values, shown = [d.partition(": ")[2] for d in differing], " ".join(title)
        title += [value for value in values if value != SEEN_ALONE and value not in shown]
    notes += _mixed_protocols(rows)
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
    notes += [*repeated, *_other_settings(rows)]
    notes += [optimism(row) for row in rows if "H" in row.optimistic or "T1" in row.optimistic]
    if reference:
        notes.append(
            "Published rows: as printed by others, under the protocol of each paper; not run here."
        )
    chance = records[0].chance.model_dump()
    return Block(", ".join(title), setting, tuple(notes), tuple(rows), chance, reference)


def _mixed_protocols(rows: Sequence[Row]) -> list[str]:
    """Note that names the protocol of each row; none if all rows share one."""
    by: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by[row.made.protocol or ""].append(row.label)
    if len(by) < 2:
        return []
    rows_of = [f"{name}: {', '.join(dict.fromkeys(labels))}" for name, labels in sorted(by.items())]
    return [
        "Rows of two protocols stand here, since class-inductive training knows the semantics "
        f"of the unseen classes ({'; '.join(rows_of)})."
    ]


def _other_settings(rows: Sequence[Row]) -> list[str]:
    """Note that names the changed settings of each marked row; none if there is none."""
    told = []
    for row in rows:
        words = [
            f"{key}={now}" + ("" if usual is None else f" (usually {usual})")
            for key, (now, usual) in row.changed.items()
        ]
        if words:
            told.append(f"{row.label}: {', '.join(words)}")
    note = f"{MARK} settings other than the preset's or default: {'; '.join(told)}."
    return [note] if told else []


def optimism(row: Row) -> str:
    """Note that says what selection on test would report for a row."""
    found = ", ".join(
        f"{name} {stat.mean:.1f}" for name, stat in row.optimistic.items() if name in METRICS[:4]
    )
    at_gamma_0 = ", at gamma 0, without the calibration of this row" if row.calibrated else ""
    return (
        f"{row.label}: picking on the test sets, as many papers do, would print {found}"
        f"{at_gamma_0}; it is no result."
    )


def _rows(records: list[RunRecord], folders: Mapping[Key, str]) -> tuple[list[Row], list[str]]:
    """Rows, and a note for each seed with several runs of equal result."""
    parts = rows_of(records)
    names = variants(parts)
    rows: list[Row] = []
    repeated: list[str] = []
    for part in parts:
        seeds = {record.seed: record for record in part}  # the newest of equal results counts
        row = _row(list(seeds.values()), names[key_of(part[0])], folders)
        rows.append(row)
        twice = [str(s) for s, runs in Counter(record.seed for record in part).items() if runs > 1]
        if twice:
            seed = ", ".join(twice)
            repeated.append(
                f"{row.label}: several runs of seed {seed} have one outcome and count once."
            )
    rows.sort(key=lambda row: (row.model, row.variant, row.badges))
    best = _best(rows)
    marked = [
        replace(row, best=frozenset(c for c, winners in best.items() if i in winners))
        for i, row in enumerate(rows)
    ]
    return marked, repeated


def _row(members: list[RunRecord], variant: str, folders: Mapping[Key, str]) -> Row:
    members = sorted(members, key=lambda r: r.seed)
    first = members[0]
    picked = [r.optimistic for r in members if r.optimistic]
    shared = [k for k in METRICS if len(picked) == len(members) and all(k in o for o in picked)]
    costs = {name: [getattr(r.costs, name) for r in members] for name in COSTS}
    known = {name: [v for v in values if v is not None] for name, values in costs.items()}
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
        costs={name: Stat.of(values) if values else None for name, values in known.items()},
        optimistic={k: Stat.of([float(o[k]) for o in picked]) for k in shared},
        folders=tuple(folders[key_of(r)] for r in members if key_of(r) in folders),
        changed=changed(next((r for r in members if r.usual is not None), first)),
    )


def _best(rows: list[Row]) -> dict[str, set[int]]:
    """Column -> winning rows, at the precision of tables; empty for a single row."""
    if len(rows) < 2:
        return {}
    best: dict[str, set[int]] = {}
    for name in METRICS:
        shown = [round(row.metrics[name].mean, 3 if name == "AUSUC" else 1) for row in rows]
        best[name] = {i for i, value in enumerate(shown) if value == max(shown)}
    for name in COSTS:
        stats = ((i, row.costs[name]) for i, row in enumerate(rows))
        costs = {i: stat.mean for i, stat in stats if stat is not None}
        best[name] = {i for i, value in costs.items() if value == min(costs.values())}
    return best
