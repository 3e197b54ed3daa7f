"""The made-up dataset: learnable, of every kind, and the same for everybody."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from zslkit.config import Input
from zslkit.model import ModelConfig
from zslkit.testing import tiny_dataset, tiny_inputs, tiny_task
from zslkit.testing.tiny import TinyBackbone


def test_every_two_values_of_different_groups_stand_together_in_one_seen_class() -> None:
    data = tiny_dataset()
    has = data.semantics.attributes[data.seen] > 0.5
    assert has.sum(axis=1).tolist() == [4] * 9
    for one, other in combinations(data.semantics.groups.values(), 2):
        for a in one:
            for b in other:
                assert (has[:, a] & has[:, b]).sum() == 1


def test_seen_and_unseen_classes_take_turns_and_none_is_twice() -> None:
    data = tiny_dataset()
    assert (int(data.seen.sum()), int((~data.seen).sum())) == (9, 6)
    assert len(np.flatnonzero(np.diff(data.seen.astype(int)))) > 4
    assert len(np.unique(data.semantics.attributes > 0.5, axis=0)) == 15


def test_least_squares_on_seen_classes_names_every_unseen_image() -> None:
    data = tiny_dataset()
    table, train, test = data.semantics.normalised(), data.split.trainval, data.split.test_unseen
    assert data.features is not None
    W = np.linalg.lstsq(data.features[train], table[data.labels[train]], rcond=None)[0]
    unseen = np.flatnonzero(~data.seen)
    answers = unseen[(data.features[test] @ W @ table[unseen].T).argmax(axis=1)]
    assert (answers == data.labels[test]).mean() > 0.9


@pytest.mark.parametrize(
    ("kind", "shape", "map_shape"),
    [("pooled", (16,), None), ("map", (16, 3, 4), (16, 3, 4)), ("image", (3, 12, 16), (16, 3, 4))],
)
def test_inputs_and_task_of_each_kind_fit_together(
    kind: Input, shape: tuple[int, ...], map_shape: tuple[int, ...] | None
) -> None:
    inputs, task = tiny_inputs(tiny_dataset(), kind), tiny_task(kind)
    batch = inputs.source.batch(np.arange(2))
    assert batch.shape[1:] == shape == task.feature_shape and batch.dtype == torch.float32
    assert task.map_shape == map_shape and (task.build_backbone is not None) == (kind == "image")


def test_the_three_kinds_show_the_same_images() -> None:
    data, index = tiny_dataset(), np.arange(5)
    pooled, maps, images = (
        tiny_inputs(data, kind).source.batch(index) for kind in ("pooled", "map", "image")
    )  # type: ignore[arg-type]
    with torch.inference_mode():
        assert torch.allclose(TinyBackbone().eval()(images), maps, atol=1e-6)
    assert torch.allclose(maps.mean(dim=(2, 3)), pooled, atol=1e-6)


def test_a_group_shows_in_its_own_corner() -> None:
    data = tiny_dataset()
    maps = tiny_inputs(data, "map").source.batch(np.arange(len(data.labels)))
    strength = maps.amax(dim=1).mean(dim=0)  # (H, W)
    corners = {(0, 0), (0, 3), (2, 0), (2, 3)}
    assert all((strength[i, j] > 2) == ((i, j) in corners) for i in range(3) for j in range(4))


def test_it_is_the_same_for_the_same_seed_and_another_one_for_another() -> None:
    assert tiny_dataset().fingerprints() == tiny_dataset().fingerprints()
    assert tiny_dataset(seed=1).fingerprints() != tiny_dataset().fingerprints()


def test_what_is_asked_to_be_left_away_is_not_there() -> None:
    bare = tiny_dataset(images=False, word_vectors=False, groups=False)
    assert bare.images is None and bare.semantics.word_vectors is None and not bare.semantics.groups
    assert (
        tiny_task(word_vectors=False).word_vectors is None and tiny_task().word_vectors is not None
    )


def test_the_task_is_normalised_as_its_config_asks() -> None:
    assert np.allclose(np.linalg.norm(tiny_task().attributes, axis=1), 1)
    assert (
        np.linalg.norm(tiny_task(config=ModelConfig(attributes="none")).attributes, axis=1).min()
        > 1.5
    )
