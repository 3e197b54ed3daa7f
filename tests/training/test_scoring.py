"""Scores come in mixed batches and stand in the order of the images; a difference between two
scorings is weighed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zslkit.config import Input
from zslkit.model import AttentionMaps, Model, ModelConfig, Trainer, TrainingView
from zslkit.record import Scoring
from zslkit.testing import tiny_dataset, tiny_inputs, tiny_task
from zslkit.training import scoring
from zslkit.training.rescoring import CLEAR, Rescored, differences, fingerprint
from zslkit.training.scoring import SCORE_BATCH, Rows, attribute_table, mixed, score, score_both

CPU = torch.device("cpu")


def test_batches_hold_every_image_once_and_come_from_all_over_the_table() -> None:
    index = np.arange(1000, 2000)[::-1].copy()
    batches = mixed(index)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    assert {len(batch) for batch in batches} == {62, 63} and len(batches) == 16
    for batch in batches:  # images of 20 classes, 50 after 50, are 3 or 4 a class in each
        assert np.bincount(index[batch] // 50 - 20).max() <= 4
        assert not (np.diff(index[batch]) > 0).all()  # and their place in the batch tells nothing
    assert all(map(np.array_equal, batches, mixed(index)))
    assert [batch.tolist() for batch in mixed(np.array([7]))] == [[0]]
    assert mixed(np.empty(0, dtype=np.int64)) == []


@pytest.mark.parametrize("most", [1 << 20, 0])
def test_rows_stand_where_they_were_put_in_memory_and_in_a_file(
    most: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scoring, "IN_MEMORY", most)
    table = np.random.default_rng(0).random((150, 3), dtype=np.float32)
    rows = Rows(table.shape, tmp_path)
    for places in mixed(np.arange(150)):
        rows.put(places, table[places])
    np.testing.assert_array_equal(rows.take(np.array([149, 0, 0])), table[[149, 0, 0]])
    batches = list(rows.batches(np.arange(150)))
    assert [len(batch) for batch in batches] == [SCORE_BATCH, SCORE_BATCH, 22]
    np.testing.assert_array_equal(np.concatenate(batches), table)
    assert list(tmp_path.iterdir()) == []


class First(torch.nn.Module):
    """Its score of an image for each class is the image's first feature."""

    def __init__(self) -> None:
        super().__init__()
        self.task = tiny_task("pooled", ModelConfig())

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1].expand(-1, self.task.n_classes)


def test_scores_stand_in_the_order_of_the_images() -> None:
    source, index = tiny_inputs(tiny_dataset()).source, np.array([90, 3, 57, 3])
    wanted = source.batch(index)[:, 0].numpy()
    np.testing.assert_array_equal(score(First(), source, index, CPU)[:, 5], wanted)  # type: ignore[arg-type]
    seen, unseen = score_both(First(), source, index[:1], index[1:], CPU)  # type: ignore[arg-type]
    assert (next(seen)[:, 0], next(unseen)[:, 0]) == (
        pytest.approx(wanted[:1]),
        pytest.approx(wanted[1:]),
    )


@pytest.mark.parametrize(
    ("before", "again", "drift", "flips"),
    [
        ([0, 2, 4], [0, 2, 4], 0.0, False),
        (
            [0, 2, 4],
            [0, 2, 5],
            0.25,
            False,
        ),  # 1 of the distance 2 from the middle and the median distance 2
        ([0, 2, 4], [0, 5, 4], 1.5, True),  # 3 of the median distance 2
        ([1000, 1002, 1004], [1000, 1002, 1005], 0.25, False),  # an offset of all changes little
        ([-1e9, 0, 2, 4, 6], [-1e9 - 100, 0, 2, 4, 6], 0.0, False),  # a masked class is no rounding
        ([-1e9, 0, 2, 4, 6], [-1e9, 0, 2, 8, 6], 1.0, True),  # and hides nothing of the others
    ],
)
def test_a_difference_is_a_share_of_the_spread_of_the_image(
    before: list[float], again: list[float], drift: float, flips: bool
) -> None:
    apart, other = differences(
        np.array([before], dtype=np.float32), np.array([again], dtype=np.float32)
    )
    assert apart[0] == pytest.approx(drift, rel=0.1, abs=1e-6)
    assert (apart[0] > CLEAR, bool(other[0])) == (drift > CLEAR, flips)


def test_one_image_on_an_edge_is_told_and_two_end_the_run() -> None:
    assert Rescored(16, 0, 1e-6).broken == "" and Rescored(16, 1, 0.4).broken == ""
    assert (
        "the scores of 2 of 16 test images change by up to 40% of their spread"
        in Rescored(16, 2, 0.4).broken
    )
    assert Rescored(1, 1, 0.4).broken
    assert Rescored(16, 0, 0.0, "it writes").broken == "it writes"
    assert Scoring(rescored=16, moved=0, drift=1e-6).remark == ""
    assert (
        Scoring(rescored=16, moved=1, drift=0.4).remark
        == "scores change by up to 40.0% with the batch"
    )


def test_a_fingerprint_knows_every_parameter_and_buffer() -> None:
    model = torch.nn.BatchNorm1d(2)
    first = fingerprint(model)  # type: ignore[arg-type]
    assert first == fingerprint(model)  # type: ignore[arg-type]
    model(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    assert first != fingerprint(model)  # type: ignore[arg-type]


class Attends(Model):
    """Attention whose scores are the means of the first channels; nothing else is declared."""

    inputs = ("map", "pooled")
    scored = True

    def fit(self, view: TrainingView, trainer: Trainer) -> None: ...

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), self.task.n_classes)

    def attention(self, x: torch.Tensor) -> dict[str, AttentionMaps]:
        maps = x[:, : self.task.n_attributes]
        return {"region": AttentionMaps(maps, maps.mean(dim=(2, 3)) if self.scored else None)}


class Looks(Attends):
    scored = False


def told(kind: type[Model], fed: Input) -> np.ndarray | None:
    model = kind(ModelConfig(), tiny_task(fed, ModelConfig()))
    return attribute_table(model, tiny_inputs(tiny_dataset(), fed).source, np.arange(5), CPU)


def test_the_scores_of_attention_are_the_predicted_attributes() -> None:
    expected = (
        tiny_inputs(tiny_dataset(), "map")
        .source.batch(np.arange(5))[:, :12]
        .mean(dim=(2, 3))
        .numpy()
    )
    np.testing.assert_allclose(told(Attends, "map"), expected, rtol=1e-5)


def test_attention_without_scores_or_without_a_map_predicts_no_attributes() -> None:
    assert told(Looks, "map") is None and told(Attends, "pooled") is None
