"""Training curves from the logs of runs: loss terms and validation H per epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zslkit.page.board import TableLine
from zslkit.page.scale import Scale, path
from zslkit.runs.folders import LOG, Run
from zslkit.utils.files import NotPermitted, check_permitted, parse_json, read_small

WIDTH, HEIGHT = 260, 150
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 10, 22
PANELS = 8
"""Panels per row; the page names further terms."""
STEEP = 200.0
"""A positive term that falls by more than this factor gets a logarithmic scale."""

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Panel:
    """One logged term over epochs; `paths` holds SVG points for each seed or fold."""

    name: str
    x: Scale
    y: Scale
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Course:
    """Panels of one row; `more` names terms without a panel."""

    line: TableLine
    panels: tuple[Panel, ...]
    more: tuple[str, ...]


def courses(lines: Sequence[TableLine], runs: Mapping[str, Run]) -> tuple[list[Course], list[str]]:
    """Rows that were trained in epochs, and a sentence for each log that is not fully readable."""
    found, faults = [], []
    for line in lines:
        terms: dict[str, list[Points]] = {}
        for folder in line.row.folders:
            entries, fault = read_log(runs[folder])
            faults += [fault] if fault else []
            for name, several in {**_validation(entries), **_training(entries)}.items():
                terms.setdefault(name, []).extend(several)
        drawn = {name: [p for p in several if len(p) > 1] for name, several in terms.items()}
        if long := {name: several for name, several in drawn.items() if several}:
            panels = tuple(_panel(name, several) for name, several in list(long.items())[:PANELS])
            found.append(Course(line, panels, tuple(long)[PANELS:]))
    return found, faults


def read_log(run: Run) -> tuple[list[dict[str, Any]], str]:
    """Entries of the run's log, and a sentence if some of it is unreadable."""
    place = run.folder / LOG
    try:
        check_permitted(place)
        text = read_small(place)
    except NotPermitted as error:
        return [], f"{error}; the page shows no training of that run"
    except FileNotFoundError:
        return [], f"{place} is missing, so the page shows no training of that run"
    except (OSError, ValueError) as error:
        return [], f"{place} cannot be read ({error}), so the page shows no training of that run"
    entries = []
    cut = 0
    for line in text.splitlines():
        try:
            entry = parse_json(line)
        except ValueError:
            cut += 1
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries, f"{place}: {cut} lines are cut off or damaged and left out" if cut else ""


def _training(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[Points]]:
    """Term -> one list of (epoch, value) for the final training; repeated epochs count once."""
    terms: dict[str, dict[int, float]] = {}
    for entry in entries:
        if entry.get("phase") == "train":
            stage = f"{entry['stage']}: " if "stage" in entry else ""
            for name, value in _numbers(entry, {"epoch", "seconds", "gamma", "every"}):
                terms.setdefault(stage + name, {})[int(entry["epoch"])] = value
    return {name: [sorted(points.items())] for name, points in terms.items()}


def _validation(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[Points]]:
    """H on each fold of the last validation, which follows the search."""
    last = max((i for i, entry in enumerate(entries) if entry.get("phase") == "search"), default=-1)
    folds: dict[str, dict[int, float]] = {}
    for entry in entries[last + 1 :]:
        if entry.get("phase") == "validation" and "fold" in entry:
            for name, value in _numbers(entry, set()):
                if name == "H":
                    folds.setdefault(str(entry["fold"]), {})[int(entry["epoch"])] = value
    found = [sorted(points.items()) for points in folds.values()]
    return {"H on validation, %": found} if found else {}


def _numbers(entry: Mapping[str, Any], without: set[str]) -> Iterator[tuple[str, float]]:
    epoch = entry.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool):
        return
    for name, value in entry.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name not in without and number and math.isfinite(value):
            yield name, float(value)


def _panel(name: str, several: Sequence[Points]) -> Panel:
    values = [value for points in several for _, value in points]
    x = Scale(1, max(epoch for points in several for epoch, _ in points), LEFT, WIDTH - RIGHT)
    log = min(values) > 0 and max(values) / min(values) > STEEP
    y = Scale.around(values, HEIGHT - BOTTOM, TOP, log)
    return Panel(name, x, y, tuple(path(x, y, points) for points in several))
