"""Attribute clusters of the fine expert: which attributes share one subnet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from zslkit.errors import UserError, did_you_mean
from zslkit.model import Task

Clusters = tuple[tuple[int, ...], ...]


def _spans(*spans: tuple[int, int]) -> tuple[int, ...]:
    return tuple(i for start, stop in spans for i in range(start, stop))


_CUB = (
    _spans((24, 73), (105, 120), (197, 212), (236, 240), (244, 248)),  # body
    _spans((9, 24), (212, 217), (308, 312)),  # wing
    _spans((73, 94), (167, 182), (240, 244)),  # tail
    _spans((263, 278)),  # leg
    _spans((217, 236), (248, 263)),  # whole
)
PAPER: Mapping[str, Clusters] = {
    "cub": (tuple(sorted(set(range(312)) - {i for c in _CUB for i in c})), *_CUB),  # head: the rest
    "sun": (_spans((0, 38)), _spans((38, 65)), _spans((65, 74), (77, 85)), _spans((74, 77), (85, 102))),
    "awa2": (_spans((0, 18)), _spans((18, 33)), _spans((33, 64), (78, 85)), _spans((64, 78))),
}
"""Rao et al. 2024: the clusters by meaning of each dataset (DEDN.md, attribute clusters)."""

RELEASED: Mapping[str, Clusters] = {
    **PAPER,
    "sun": (
        tuple(sorted(set(range(102)) - set(_spans((38, 65), (77, 86), (93, 94), (99, 100))))),
        _spans((38, 65)),
        _spans((77, 85), (93, 94)),
        (85, 99),
    ),
}
"""The clusters as the released program makes them: on SUN, slips of an index leave 64/27/9/2 attributes."""


def choose(which: str, task: Task) -> Clusters:
    """The clusters that the setting `clusters` names, for this task's attributes.

    which: "groups" (the dataset's own attribute groups; one cluster if it has none), "single", "sun-released", or a key of PAPER.
    Raises UserError if there is no such choice or it does not fit the number of attributes.
    """
    if which == "single" or (which == "groups" and not task.groups):
        return (tuple(range(task.n_attributes)),)
    if which == "groups":
        named = [tuple(g) for g in task.groups.values()]
        rest = tuple(sorted(set(range(task.n_attributes)) - {i for g in named for i in g}))
        return checked([*named, rest] if rest else named, task.n_attributes, f"the attribute groups of {task.dataset}")
    named_sets = {**PAPER, "sun-released": RELEASED["sun"]}
    if which not in named_sets:
        raise UserError(f"clusters = {which!r} is no choice{did_you_mean(which, ['groups', 'single', *named_sets])}")
    return checked(named_sets[which], task.n_attributes, f"clusters = {which!r}")


def checked(clusters: Sequence[Iterable[int]], n_attributes: int, where: str) -> Clusters:
    """The same clusters if they hold every attribute once and none is empty, else a UserError that says which."""
    result = tuple(tuple(int(i) for i in c) for c in clusters)
    for k, cluster in enumerate(result):
        if not cluster:
            raise UserError(f"{where}: cluster {k} is empty; every cluster needs an attribute")
    flat = [i for c in result for i in c]
    if outside := sorted({i for i in flat if not 0 <= i < n_attributes}):
        raise UserError(f"{where}: attribute {outside[0]} is none of this dataset's {n_attributes}; choose clusters made for it, or groups")
    if twice := sorted({i for i in flat if flat.count(i) > 1}):
        raise UserError(f"{where}: attribute {twice[0]} stands in two clusters; each belongs to one")
    if missing := sorted(set(range(n_attributes)) - set(flat)):
        raise UserError(f"{where}: attribute {missing[0]} stands in no cluster ({len(missing)} of {n_attributes} do not)")
    return result
