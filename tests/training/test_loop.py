"""The gradient loop on a tiny made-up task: learning, sampling, resuming, and stopping on a broken
loss."""

from __future__ import annotations

import errno
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zslkit.errors import DataError, TrainingError
from zslkit.model import GradientConfig, GradientModel, Task
from zslkit.training import checkpoint
from zslkit.training.loop import Loop
from zslkit.training.sampling import batches
from zslkit.utils import files
from zslkit.utils.progress import Silent


class Tiny(GradientModel):
    """A linear map from features to attributes."""

    inputs = ("pooled",)
    Config = GradientConfig

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.W = nn.Linear(4, task.n_attributes)
        self.drop = nn.Dropout(0.2)

    def scores(self, x: Tensor) -> Tensor:
        return self.W(self.drop(x)) @ self.attributes.T

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": nn.functional.cross_entropy(self.scores(x), label)}


class Broken(Tiny):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {**super().loss(x, label), "explosion": self.scores(x).sum() * float("inf")}


class Rows:
    """Sixty rows of three classes, far apart."""

    def __init__(self) -> None:
        self.labels = np.repeat(np.arange(3), 20)
        self.x = (
            torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
            + 3 * torch.eye(4)[self.labels]
        )

    def __len__(self) -> int:
        return 60

    def batch(self, index: np.ndarray) -> Tensor:
        return self.x[torch.from_numpy(index)]

    def everything(self) -> tuple[Tensor, Tensor]:
        return self.x, torch.from_numpy(self.labels)


def tiny(kind: type[GradientModel] = Tiny, epochs: int = 4, **train: Any) -> GradientModel:
    torch.manual_seed(0)
    task = Task(
        "made up",
        ("a", "b", "c"),
        np.ones(3, bool),
        np.eye(3, dtype=np.float32),
        ("x", "y", "z"),
        "pooled",
        (4,),
    )
    return kind(
        GradientConfig.model_validate(
            {"train": {"epochs": epochs, "batch_size": 6, "lr": 0.01, **train}}
        ),
        task,
    )


def loop(log: list[dict[str, Any]], path: Path | None = None) -> Loop:
    return Loop(
        seed=3,
        device=torch.device("cpu"),
        reporter=Silent(),
        log=lambda **values: log.append(values),
        checkpoint_path=path,
    )


def test_the_loss_falls_and_every_epoch_is_logged() -> None:
    log: list[dict[str, Any]] = []
    loop(log).train(tiny(epochs=6), Rows())
    assert [line["epoch"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert log[-1]["cross_entropy"] < 0.5 * log[0]["cross_entropy"]


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adamw", "sgd"])
def test_every_optimizer_by_name(optimizer: str) -> None:
    log: list[dict[str, Any]] = []
    loop(log).train(tiny(optimizer=optimizer), Rows())
    assert log[-1]["cross_entropy"] < log[0]["cross_entropy"]


def test_resuming_repeats_the_uninterrupted_run_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny(epochs=5)
    loop([]).train(whole, Rows())
    monkeypatch.setattr(sys.modules["zslkit.training.loop"], "CHECKPOINT_SHARE", float("inf"))

    class Interrupt:
        history: list[dict[str, float]] = []  # noqa: RUF012

        def after_epoch(self, epoch: int, model: GradientModel) -> bool:
            if epoch == 3:
                raise KeyboardInterrupt
            return False

    path = tmp_path / "checkpoint.pt"
    first = loop([], path)
    first._observer = Interrupt()
    with pytest.raises(KeyboardInterrupt):
        first.train(tiny(epochs=5), Rows())
    again, log = tiny(epochs=5), []
    loop(log, path).train(again, Rows())
    assert log[0]["epoch"] == 3, "the second epoch was the last that was saved"
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


class Pulled(GradientModel):
    """Two numbers in groups of their own, pulled up by 3 and 4 a step; `rates` are the learning
    rates of each epoch."""

    inputs = ("pooled",)
    Config = GradientConfig
    rates: ClassVar[dict[str, tuple[float, ...]]] = {"a": (0.5, 0.25, 0.0), "b": (0.0, 1.0, 2.0)}

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.a, self.b = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"a": [self.a], "b": [self.b]}

    def learning_rate(self, epoch: int, group: str) -> float:
        return self.rates[group][epoch]

    def scores(self, x: Tensor) -> Tensor:
        return x[:, :3] + self.a

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"pull": -(3 * self.a + 4 * self.b)}


PLAIN: dict[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "steps_per_epoch": 1,
}


def test_each_group_has_the_learning_rate_that_the_model_says_of_each_epoch() -> None:
    for epochs, a, b in ((1, 1.5, 0.0), (2, 2.25, 4.0), (3, 2.25, 12.0)):
        model = tiny(Pulled, epochs, **PLAIN)
        loop([]).train(model, Rows())
        assert (model.a.item(), model.b.item()) == pytest.approx((a, b))  # type: ignore[arg-type]


def test_the_usual_learning_rate_falls_by_its_factor() -> None:
    model = tiny(lr=0.5, lr_factor=0.1, lr_every=2)
    assert [model.learning_rate(epoch, "any") for epoch in range(5)] == pytest.approx(
        [0.5, 0.5, 0.05, 0.05, 0.005]
    )


def test_the_norm_of_the_whole_gradient_is_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pulled, "rates", {"a": (1.0,), "b": (1.0,)})
    for clip, a, b in ((None, 3.0, 4.0), (10.0, 3.0, 4.0), (1.0, 0.6, 0.8)):
        model = tiny(Pulled, 1, clip_norm=clip, **PLAIN)
        loop([]).train(model, Rows())
        assert (model.a.item(), model.b.item()) == pytest.approx((a, b))  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_stops_with_its_name() -> None:
    with pytest.raises(TrainingError, match="explosion"):
        loop([]).train(tiny(Broken), Rows())


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs /dev/full, a device on which no write succeeds"
)
@pytest.mark.parametrize("numbers", [1, 1_000_000])
def test_a_full_disk_is_told_as_one_and_the_checkpoint_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: int
) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"epoch": 1})
    monkeypatch.setattr(files, "marked", lambda: nullcontext("000000-1-0"))
    (tmp_path / "checkpoint.pt.000000-1-0.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device.*checkpoint\.pt") as error:
        checkpoint.save(path, {"model": torch.zeros(numbers)})
    assert error.value.errno == errno.ENOSPC
    assert checkpoint.load(path) == {"epoch": 1} and list(tmp_path.iterdir()) == [path]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match=r"checkpoint\.pt"):
        loop([], path).train(tiny(), Rows())


def test_balanced_batches_hold_distinct_classes() -> None:
    labels = np.repeat(np.arange(10), 7)
    for batch in batches(labels, "balanced", 6, 20, seed=0, epoch=0):
        assert len(set(labels[batch])) == 6
    (all_classes,) = batches(labels, "balanced", 50, 1, seed=0, epoch=0)
    assert sorted(labels[all_classes]) == list(range(10))


def test_a_dataset_of_fewer_classes_than_a_batch_gives_one_image_of_each() -> None:
    labels = np.repeat(np.arange(40), 3)
    for batch in batches(labels, "balanced", 50, 5, seed=0, epoch=0):
        assert sorted(labels[batch]) == list(range(40))


@pytest.mark.parametrize(("count", "classes"), [(2, 5), (5, 2), (10, 1)])
def test_balanced_batches_hold_some_distinct_images_of_each_class(count: int, classes: int) -> None:
    labels = np.tile(np.arange(8), 12)
    found = list(batches(labels, "balanced", 10, 300, seed=1, epoch=0, images_per_class=count))
    for batch in found:
        assert len(set(batch)) == 10
        beside = labels[batch].reshape(classes, count)
        assert (beside == beside[:, :1]).all() and len(set(beside[:, 0])) == classes
    assert set(np.concatenate(found)) == set(range(96))


def test_a_class_of_few_images_gives_them_all_before_any_twice() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    (batch,) = batches(labels, "balanced", 6, 1, seed=0, epoch=0, images_per_class=3)
    assert sorted(batch[labels[batch] == 1]) == [2, 3, 4]
    assert set(batch[labels[batch] == 0]) == {0, 1} and len(batch) == 6


def test_the_loop_draws_as_many_images_of_a_class_as_the_settings_say() -> None:
    seen: list[list[int]] = []

    class Noting(Tiny):
        def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
            seen.append(label.tolist())
            return super().loss(x, label)

    training = {"sampling": "balanced", "batch_size": 4, "images_per_class": 2}
    loop([]).train(tiny(Noting, epochs=1, **training), Rows())
    assert len(seen) == 15
    assert all(a == b != c == d for a, b, c, d in seen)


class Epochs(Tiny):
    """Notes the epochs that it is told of."""

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.told: list[int] = []

    def begin_epoch(self, epoch: int) -> None:
        self.told.append(epoch)


def test_a_model_is_told_of_every_epoch_and_of_the_remaining_ones_if_resumed(
    tmp_path: Path,
) -> None:
    first, second = tiny(Epochs, epochs=2), tiny(Epochs, epochs=5)
    loop([], tmp_path / "c.pt").train(first, Rows())
    loop([], tmp_path / "c.pt").train(second, Rows())
    assert first.told == [0, 1] and second.told == [2, 3, 4]


def test_a_fresh_optimizer_moves_like_its_first_step_in_every_epoch(tmp_path: Path) -> None:
    # Adam's first step is lr times the sign of each gradient, whatever came before.
    moved: dict[bool, list[Tensor]] = {}
    for fresh in (False, True):

        class Watched(Tiny):
            moves: ClassVar[list[Tensor]] = []

            def begin_epoch(self, epoch: int) -> None:
                self.before = self.W.bias.detach().clone()

            def learning_rate(self, epoch: int, group: str) -> float:
                return 0.01

        model = tiny(Watched, epochs=1, optimizer="adam", fresh_optimizer=fresh, weight_decay=0.0)
        moved[fresh] = []
        for epochs in range(1, 5):  # one step an epoch, resumed after each
            model = tiny(
                Watched,
                epochs=epochs,
                optimizer="adam",
                fresh_optimizer=fresh,
                steps_per_epoch=1,
                weight_decay=0.0,
            )
            loop([], tmp_path / f"{fresh}.pt").train(model, Rows())
            moved[fresh].append((model.W.bias.detach() - model.before).abs())
    assert all(torch.allclose(move, torch.full((3,), 0.01), rtol=1e-4) for move in moved[True])
    assert not torch.allclose(moved[False][-1], torch.full((3,), 0.01), rtol=1e-2)


def test_uniform_batches_see_every_image_once_before_any_twice() -> None:
    seen = np.concatenate(list(batches(np.zeros(12, dtype=int), "uniform", 4, 3, seed=1, epoch=0)))
    assert sorted(seen) == list(range(12))
    assert len(list(batches(np.zeros(12, dtype=int), "uniform", 4, 7, seed=1, epoch=0))) == 7


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    labels = np.repeat(np.arange(5), 9)
    one, two = (list(batches(labels, "balanced", 5, 4, seed=2, epoch=1)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    other = list(batches(labels, "balanced", 5, 4, seed=2, epoch=2))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))


def test_two_trainings_of_one_fit_are_both_done_and_resume_each_from_its_own(
    tmp_path: Path,
) -> None:
    def trained(path: Path | None) -> tuple[GradientModel, list[int]]:
        model, log = tiny(epochs=2), list[dict[str, Any]]()
        trainer = loop(log, path)
        trainer.train(model, Rows())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.5)
        trainer.train(model, Rows())
        return model, [line["epoch"] for line in log]

    whole, epochs = trained(None)
    kept, kept_epochs = trained(tmp_path / "checkpoint.pt")
    again, none_left = trained(tmp_path / "checkpoint.pt")
    assert epochs == kept_epochs == [1, 2, 1, 2] and none_left == []
    for model in (kept, again):
        for a, b in zip(whole.parameters(), model.parameters(), strict=True):
            assert torch.equal(a, b)


class Wider(Tiny):
    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.more = nn.Linear(4, 4)


@pytest.mark.parametrize(
    "state", [None, {}, {"epoch": 1, "seconds": 0.0, "history": [], "model": 3}]
)
def test_a_checkpoint_of_another_architecture_is_told_in_a_sentence(
    tmp_path: Path, state: dict[str, Any] | None
) -> None:
    path = tmp_path / "checkpoint.pt"
    if state is None:
        loop([], path).train(tiny(), Rows())
    else:
        checkpoint.save(path, state)
    with pytest.raises(
        DataError,
        match=r"checkpoint\.pt is not of Wider as it is now .*remove it to start this training "
        r"afresh",
    ):
        loop([], path).train(tiny(Wider), Rows())
