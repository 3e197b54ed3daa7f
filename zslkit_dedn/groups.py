"""Attribute clusters of fExp: attributes of one cluster share a subnet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zslkit.config.merge import read_yaml
from zslkit.datasets.attribute_names import shipped_columns
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
    "sun": (
        _spans((0, 38)),
        _spans((38, 65)),
        _spans((65, 74), (77, 85)),
        _spans((74, 77), (85, 102)),
    ),
    "awa2": (_spans((0, 18)), _spans((18, 33)), _spans((33, 64), (78, 85)), _spans((64, 78))),
}
"""Clusters by meaning for each dataset (Rao et al. 2024; DEDN.md, attribute clusters)."""

RELEASED: Mapping[str, Clusters] = {
    **PAPER,
    "sun": (
        tuple(sorted(set(range(102)) - set(_spans((38, 65), (77, 86), (93, 94), (99, 100))))),
        _spans((38, 65)),
        _spans((77, 85), (93, 94)),
        (85, 99),
    ),
}
"""Clusters of the released program; on SUN, index errors there leave 64/27/9/2 attributes."""


CHOICES = ("auto", "groups", "paper", "released", "kmeans", "single")


def choose(
    which: str | Mapping[str, Sequence[int | str]],
    task: Task,
    n_clusters: int = 6,
    by: Literal["word_vectors", "attributes"] = "word_vectors",
) -> Clusters:
    """Clusters for the setting `clusters`.

    Args:
        which: One of CHOICES, or cluster name -> attribute names or columns. "groups" are the
            dataset's attribute groups, or one cluster if it has none; "paper" and "released" are
            chosen by the number of attributes, and join columns by name where the attributes are
            those of a paper's dataset in another order; "auto" is what `settled` says.
        task: Task with the attributes.
        n_clusters: Number of clusters, for kmeans.
        by: Vectors to cluster, for kmeans.

    Raises:
        UserError: There is no such choice, or it does not fit the attributes.
    """
    if isinstance(which, Mapping):
        return _written(which, task)
    if which == "auto":
        which = settled(task)
        if which == "kmeans":
            by = by if task.word_vectors is not None else "attributes"
            n_clusters = min(n_clusters, len(np.unique(_directions(task, by), axis=0)))
    if which == "single" or (which == "groups" and not task.groups):
        return (tuple(range(task.n_attributes)),)
    if which == "groups":
        named = [tuple(g) for g in task.groups.values()]
        rest = tuple(sorted(set(range(task.n_attributes)) - {i for g in named for i in g}))
        return checked(
            [*named, rest] if rest else named,
            task.n_attributes,
            f"the attribute groups of {task.dataset}",
        )
    if which == "kmeans":
        return _kmeans(task, n_clusters, by)
    if which not in CHOICES:
        raise UserError(f"clusters = {which!r} is no choice{did_you_mean(which, CHOICES)}")
    table = {sum(map(len, c)): c for c in (PAPER if which == "paper" else RELEASED).values()}
    if task.n_attributes not in table:
        raise UserError(
            f"clusters = {which!r} are for the 312, 102 and 85 attributes of CUB, SUN and AWA2, "
            f"and {task.dataset} has "
            f"{task.n_attributes}; choose groups or kmeans"
        )
    clusters = table[task.n_attributes]
    known = shipped_columns(task.attribute_names)
    return clusters if known is None else tuple(tuple(known[1][i] for i in c) for c in clusters)


def settled(task: Task) -> Literal["paper", "groups", "kmeans"]:
    """What "auto" chooses: clusters of the paper for its attributes, else groups, else k-means."""
    if shipped_columns(task.attribute_names) is not None:
        return "paper"
    return "groups" if task.groups else "kmeans"


def read_clusters(path: Path) -> dict[str, list[int | str]]:
    """Read a YAML file of cluster name -> attribute names or columns.

    Raises:
        UserError: The file contains something else.
    """
    values = read_yaml(path).values
    for name, members in values.items():
        if not isinstance(members, list) or not all(type(m) in (int, str) for m in members):
            raise UserError(
                f"{path}: cluster {name!r} is no list of attribute names or columns; write one"
            )
    return {str(name): members for name, members in values.items()}


def _written(clusters: Mapping[str, Sequence[int | str]], task: Task) -> Clusters:
    column = {name: i for i, name in enumerate(task.attribute_names)}
    found: list[list[int]] = []
    for cluster, members in clusters.items():
        for m in members:
            if isinstance(m, str) and m not in column:
                raise UserError(
                    f"clusters: {cluster!r} holds {m!r}, which is no attribute of "
                    f"{task.dataset}{did_you_mean(m, column)}"
                )
        found.append([column[m] if isinstance(m, str) else m for m in members])
    return checked(found, task.n_attributes, "clusters", tuple(clusters))


def _kmeans(task: Task, count: int, by: Literal["word_vectors", "attributes"]) -> Clusters:
    from sklearn.cluster import KMeans

    unit = _directions(task, by)
    if count > task.n_attributes:
        raise UserError(
            f"n_clusters = {count} is more than the {task.n_attributes} attributes of "
            f"{task.dataset}; set it lower"
        )
    # A fixed seed, because clusters depend on the settings and not on the seed of the training.
    label = KMeans(count, n_init=10, random_state=0).fit(unit.astype(np.float64)).labels_
    return checked(
        [np.flatnonzero(label == k).tolist() for k in range(count)],
        task.n_attributes,
        f"kmeans of {task.dataset}",
    )


def _directions(task: Task, by: Literal["word_vectors", "attributes"]) -> NDArray[np.float32]:
    """What k-means looks at: a vector of unit length for each attribute, (A, W) or (A, C)."""
    table = task.attributes.T if by == "attributes" else task.word_vectors
    if table is None:
        raise UserError(
            f"{task.dataset} has no word vectors to make clusters of; set cluster_by=attributes"
        )
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.maximum(lengths, 1e-12), dtype=np.float32)


def checked(
    clusters: Sequence[Iterable[int]], n_attributes: int, where: str, names: Sequence[str] = ()
) -> Clusters:
    """Return the clusters if they partition the attributes.

    Args:
        clusters: The clusters.
        n_attributes: Number of attributes.
        where: Source of the clusters, for errors.
        names: Names of the clusters, for errors; by default numbers.

    Raises:
        UserError: A cluster is empty, or an attribute is in no cluster or in several.
    """
    result = tuple(tuple(int(i) for i in c) for c in clusters)
    for k, cluster in enumerate(result):
        if not cluster:
            name = repr(names[k]) if names else k
            raise UserError(f"{where}: cluster {name} is empty; every cluster needs an attribute")
    flat = [i for c in result for i in c]
    if outside := sorted({i for i in flat if not 0 <= i < n_attributes}):
        raise UserError(
            f"{where}: attribute {outside[0]} is none of this dataset's {n_attributes}; choose "
            "clusters made for it, or groups"
        )
    if twice := sorted({i for i in flat if flat.count(i) > 1}):
        raise UserError(
            f"{where}: attribute {twice[0]} stands in two clusters; each belongs to one"
        )
    if missing := sorted(set(range(n_attributes)) - set(flat)):
        raise UserError(
            f"{where}: attribute {missing[0]} stands in no cluster ({len(missing)} of "
            f"{n_attributes} do not)"
        )
    return result
