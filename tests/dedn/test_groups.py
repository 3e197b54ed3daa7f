"""Attribute clusters: every choice holds each attribute once, and a wrong one is refused by
name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zslkit.datasets.attribute_names import shipped_card
from zslkit.errors import UserError
from zslkit.model import Task
from zslkit_dedn.groups import PAPER, RELEASED, choose, read_clusters, settled
from zslkit_dedn.model import DEDNConfig


def task(n: int = 6, groups: dict[str, tuple[int, ...]] | None = None, words: bool = True) -> Task:
    rng = np.random.default_rng(0)
    return Task(
        dataset="made",
        classes=("a", "b", "c"),
        seen=np.array([True, True, False]),
        attributes=rng.random((3, n), dtype=np.float32),
        attribute_names=tuple(f"att{i}" for i in range(n)),
        input="map",
        feature_shape=(4, 2, 2),
        map_shape=(4, 2, 2),
        groups=groups or {},
        word_vectors=np.eye(n, 5, dtype=np.float32) + 0.01 * rng.random((n, 5), dtype=np.float32)
        if words
        else None,
    )


@pytest.mark.parametrize(("dataset", "sizes"), [("cub", 312), ("sun", 102), ("awa2", 85)])
def test_paper_clusters_hold_each_attribute_once(dataset: str, sizes: int) -> None:
    assert sorted(i for c in choose("paper", task(sizes)) for i in c) == list(range(sizes))
    assert choose("paper", task(sizes)) == PAPER[dataset]


def test_released_sun_clusters_have_the_sizes_of_the_slips() -> None:
    assert [len(c) for c in choose("released", task(102))] == [64, 27, 9, 2]
    assert choose("released", task(312)) == PAPER["cub"] == RELEASED["cub"]


def test_groups_put_what_is_in_no_group_into_one_more_cluster() -> None:
    assert choose("groups", task(6, {"x": (4, 0), "y": (1,)})) == ((4, 0), (1,), (2, 3, 5))
    assert choose("groups", task(3)) == ((0, 1, 2),) == choose("single", task(3, {"x": (1,)}))


@pytest.mark.parametrize("by", ["word_vectors", "attributes"])
@pytest.mark.parametrize("count", [1, 2, 6])
def test_kmeans_makes_that_many_clusters_and_the_same_ones_again(by: str, count: int) -> None:
    made = choose("kmeans", task(), count, by)  # type: ignore[arg-type]
    assert len(made) == count
    assert sorted(i for c in made for i in c) == list(range(6))
    assert made == choose("kmeans", task(), count, by)  # type: ignore[arg-type]


def test_kmeans_puts_equal_words_together() -> None:
    found = task(4)
    words = np.array(
        [[1, 0], [0, 1], [2, 0], [0, 3]], dtype=np.float32
    )  # lengths say nothing, directions do
    made = choose("kmeans", Task(**{**vars(found), "word_vectors": words}), 2)
    assert sorted(map(sorted, made)) == [[0, 2], [1, 3]]


def test_a_file_names_attributes_or_columns(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("wing: [att0, 2]\nhead: [att1, att3, 4, 5]\n")
    config = DEDNConfig(clusters=str(tmp_path / "c.yaml"))
    assert config.clusters == {"wing": ["att0", 2], "head": ["att1", "att3", 4, 5]}
    assert choose(config.clusters, task()) == ((0, 2), (1, 3, 4, 5))


@pytest.mark.parametrize(
    ("clusters", "words"),
    [
        ({"wing": [0, 1, 2, 3, 4, 5], "tail": []}, "cluster 'tail' is empty"),
        ({"wing": [0, 1, 2], "tail": [2, 3, 4, 5]}, "attribute 2 stands in two clusters"),
        ({"wing": [0, 1, 2], "tail": [3, 4]}, "attribute 5 stands in no cluster (1 of 6 do not)"),
        ({"wing": [0, 1, 2, 3, 4, 5, 6]}, "attribute 6 is none of this dataset's 6"),
        (
            {"wing": ["at0", 1, 2, 3, 4, 5]},
            "'at0', which is no attribute of made; did you mean \"att0\"",
        ),
        ("paper", "are for the 312, 102 and 85 attributes of CUB, SUN and AWA2, and made has 6"),
        ("kmean", "clusters = 'kmean' is no choice; did you mean \"kmeans\""),
    ],
)
def test_clusters_that_do_not_fit_are_refused_by_name(
    clusters: str | dict[str, list[int | str]], words: str
) -> None:
    with pytest.raises(UserError) as error:
        choose(clusters, task())
    assert words in str(error.value)


def test_kmeans_says_what_it_lacks() -> None:
    with pytest.raises(
        UserError, match="no word vectors to make clusters of; set cluster_by=attributes"
    ):
        choose("kmeans", task(words=False), 2)
    with pytest.raises(UserError, match="n_clusters = 7 is more than the 6 attributes of made"):
        choose("kmeans", task(), 7)


@pytest.mark.parametrize("members", ["3", "[yes, no]"])
def test_a_file_that_holds_no_lists_is_refused(members: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"wing: {members}\n")
    with pytest.raises(UserError, match="cluster 'wing' is no list of attribute names or columns"):
        read_clusters(path)
    with pytest.raises(UserError, match="cannot be read"):
        DEDNConfig(clusters=str(tmp_path / "none.yaml"))


def of_awa2(groups: dict[str, tuple[int, ...]] | None = None) -> Task:
    """The 85 attributes of AWA2 from last to first."""
    known = shipped_card("AWA2")
    assert known is not None
    return Task(**{**vars(task(85, groups)), "attribute_names": tuple(reversed(known.names))})


def test_auto_takes_the_paper_s_clusters_for_its_attributes_alone() -> None:
    turned = tuple(tuple(84 - i for i in cluster) for cluster in PAPER["awa2"])
    assert choose("auto", of_awa2({"x": (1,)})) == turned == choose("paper", of_awa2())
    assert settled(of_awa2({"x": (1,)})) == "paper"
    grouped = {"x": tuple(range(40)), "y": tuple(range(40, 85))}
    assert choose("auto", task(85, grouped)) == tuple(grouped.values())
    assert settled(task(85, grouped)) == "groups"
    assert settled(task(85)) == "kmeans" and len(choose("auto", task(85))) == 6


def test_auto_makes_no_more_clusters_than_there_are_different_attributes() -> None:
    assert len(choose("auto", task(3))) == 3
    assert len(choose("auto", task(3, words=False))) == 3
    twins = Task(**{**vars(task(4)), "word_vectors": np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]})
    assert sorted(choose("auto", twins)) == [(0, 2), (1, 3)]
