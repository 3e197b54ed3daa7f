"""Stages of a training that a model does itself: resuming to the bit, the log, and the errors that
they tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zslkit.errors import DataError, TrainingError
from zslkit.training import checkpoint
from zslkit.training.loop import Loop
from zslkit.utils.progress import Silent


def loop(log: list[dict[str, Any]], path: Path | None = None) -> Loop:
    return Loop(
        seed=3,
        device=torch.device("cpu"),
        reporter=Silent(),
        log=lambda **values: log.append(values),
        checkpoint_path=path,
    )


class Walk:
    """Two stages: a weight that follows random numbers, then one that follows the first and more of
    them."""

    def __init__(self) -> None:
        self.one, self.two = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.one.weight)
        nn.init.zeros_(self.two.weight)
        self.epochs: list[tuple[str, int]] = []

    def fit(self, trainer: Loop, stop: tuple[str, int] | None = None) -> None:
        random = torch.Generator().manual_seed(trainer.seed)
        target = torch.ones(1)
        for name, layer in (("one", self.one), ("two", self.two)):
            optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
            for epoch in trainer.stage(
                name, 4, {"layer": layer, "optimizer": optimizer, "random": random}, steps=2
            ):
                self.epochs.append((name, epoch))
                for _ in range(2):
                    loss = (layer(torch.randn(1, generator=random)) - target).square().sum()
                    trainer_step(optimizer, loss)
                if (name, epoch) == stop:
                    raise KeyboardInterrupt
            target = layer.weight.detach().flatten()

    def weights(self) -> list[float]:
        return [self.one.weight.item(), self.two.weight.item()]


def trainer_step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("stop", [("one", 0), ("one", 2), ("one", 3), ("two", 0), ("two", 3)])
def test_an_interrupted_stage_goes_on_to_the_same_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: tuple[str, int]
) -> None:
    monkeypatch.setattr(sys.modules["zslkit.training.loop"], "CHECKPOINT_SHARE", float("inf"))
    whole = Walk()
    whole.fit(loop([]))
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        Walk().fit(loop([], path), stop)
    again = Walk()
    again.fit(loop([], path))
    assert again.weights() == whole.weights()
    assert again.epochs == whole.epochs[whole.epochs.index(stop) :], (
        "only the epoch that was interrupted and those after it are done"
    )


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_bit(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; sys.path.insert(0, os.path.dirname(sys.argv[1]))\n"
        "from pathlib import Path; import test_stage as t; import zslkit.training.loop as l\n"
        "l.CHECKPOINT_SHARE = float('inf'); walk = t.Walk(); path = Path(sys.argv[2])\n"
        "class Killed(list):\n"
        "    def append(self, line):\n"
        "        if (line['stage'], line['epoch']) == ('two', 3): os.kill(os.getpid(), "
        "signal.SIGKILL)\n"
        "walk.fit(t.loop(Killed(), path))\n"
    )
    path = tmp_path / "checkpoint.pt"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, __file__, str(path)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    whole, again = Walk(), Walk()
    whole.fit(loop([]))
    again.fit(loop([], path))
    assert again.weights() == whole.weights() and again.epochs == [("two", 2), ("two", 3)]


def test_means_of_the_terms_and_seconds_go_to_the_log() -> None:
    log: list[dict[str, Any]] = []
    trainer = loop(log)
    for epoch in (stage := trainer.stage("gan", 2, {}, steps=3)):
        for value in (1.0, 2.0, 6.0):
            stage.step(critic=torch.tensor(value * (epoch + 1)), penalty=0.5)
        stage.step(now_and_then=7.0)
    assert [(line["phase"], line["stage"], line["epoch"]) for line in log] == [
        ("train", "gan", 1),
        ("train", "gan", 2),
    ]
    assert [(line["critic"], line["penalty"], line["now_and_then"]) for line in log] == [
        (3.0, 0.5, 7.0),
        (6.0, 0.5, 7.0),
    ]
    assert trainer.seconds == pytest.approx(sum(line["seconds"] for line in log), abs=0.01)


def test_seconds_before_an_interruption_count(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    list(loop([], path).stage("gan", 1, {}))
    file = tmp_path / "checkpoint.stage-gan.pt"
    checkpoint.save(file, {**checkpoint.load(file), "seconds": 40.0})
    trainer = loop([], path)
    assert list(trainer.stage("gan", 1, {})) == [] and trainer.seconds == 40.0


def test_a_term_that_is_not_finite_stops_with_term_epoch_and_what_to_set() -> None:
    words = (
        r"The loss term penalty is inf in epoch 2, step 1 of the stage gan; lower lr or raise "
        r"penalty"
    )
    with pytest.raises(TrainingError, match=words):
        for epoch in (stage := loop([]).stage("gan", 3, {}, mend="lower lr or raise penalty")):
            stage.step(critic=1.0, penalty=float("inf") if epoch else 1.0)


def test_no_file_is_written_where_no_checkpoint_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(loop([]).stage("gan", 3, {})) == [0, 1, 2]
    assert not list(tmp_path.iterdir())


def test_a_stage_without_epochs_gives_none() -> None:
    assert list(loop([]).stage("gan", 0, {})) == []


def test_two_stages_of_one_name_are_refused() -> None:
    trainer = loop([])
    trainer.stage("gan", 1, {})
    with pytest.raises(ValueError, match="'gan' was there before"):
        trainer.stage("gan", 1, {})


@pytest.mark.parametrize("name", ["", "a/b", "../up", "two words"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        loop([]).stage(name, 1, {})


@pytest.mark.parametrize(
    "kept",
    [{}, {"other": nn.Linear(1, 1)}, {"layer": nn.Linear(2, 1)}, {"layer": torch.Generator()}],
)
def test_the_checkpoint_of_another_stage_is_named(tmp_path: Path, kept: dict[str, Any]) -> None:
    path = tmp_path / "checkpoint.pt"
    list(loop([], path).stage("gan", 1, {"layer": nn.Linear(1, 1)}))
    with pytest.raises(
        DataError,
        match=r"checkpoint\.stage-gan\.pt is not of this stage .*remove it to start the stage gan "
        r"afresh",
    ):
        list(loop([], path).stage("gan", 1, kept))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.stage-gan.pt").write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match=r"checkpoint\.stage-gan\.pt is damaged"):
        list(loop([], tmp_path / "checkpoint.pt").stage("gan", 1, {}))
