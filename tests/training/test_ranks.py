"""One run shared by two processes of this machine ends as one process alone would end it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks_two_steps
import torch

from zslkit.cli.failure import State, exit_code_of
from zslkit.errors import TrainingError, UserError
from zslkit.runs import api
from zslkit.runs.api import Result
from zslkit.runs.folders import find_runs, load_run
from zslkit.training.shared import shares
from zslkit.utils import distributed
from zslkit.utils.devices import choose_device

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
RANDOM = ["features.backbone=test_resnet", "features.weights=random"]
DEDN = [
    *RANDOM,
    "train.epochs=4",
    "train.steps_per_epoch=2",
    "train.batch_size=15",
    "lambda_cal=0.1",
]
APN = [
    *[
        *RANDOM,
        "features.input=image",
        "train.epochs=2",
        "train.steps_per_epoch=2",
        "train.batch_size=9",
        "train.optimizer=sgd",
    ],
    *["train.lr=0.001", "warmup_epochs=1", "w_compactness=1e-5"],
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The stores that one process has made."""
    folder = tmp_path_factory.mktemp("cache")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSLKIT_CACHE", str(folder))
        torch.set_num_threads(1)  # as the processes have
        yield folder
        torch.set_num_threads(threads)


def alone(out: Path, model: str, settings: list[str], **more: Any) -> Result:
    return api.run(model, "digits", settings=settings, out=out, device="cpu", **more)


@pytest.fixture(scope="module")
def whole(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """DEDN trained by one process."""
    return alone(tmp_path_factory.mktemp("whole"), "dedn", DEDN)


def command(model: str, settings: list[str], out: Path) -> list[str]:
    options = [word for setting in settings for word in ("--set", setting)]
    return [
        "run",
        "--model",
        model,
        "--dataset",
        "digits",
        "--device",
        "cpu",
        "--out",
        str(out),
        *options,
    ]


def python(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ZSLKIT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=300
    )


def agree(one: Result, out: Path) -> None:
    """The run of two processes is of the same identity, metrics and scores as that of one."""
    (other,) = find_runs(out)
    assert other.folder.name == one.folder.name
    assert {p.name for p in other.folder.iterdir()} == {p.name for p in one.folder.iterdir()}
    assert other.record.metrics.model_dump() == pytest.approx(
        one.record.metrics.model_dump(), abs=1e-6
    )
    mine, theirs = load_run(one.folder).scores(), other.scores()
    np.testing.assert_allclose(
        theirs.test_unseen_scores, mine.test_unseen_scores, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(theirs.test_seen_scores, mine.test_seen_scores, rtol=1e-4, atol=1e-5)


def stores(cache: Path) -> dict[str, bytes]:
    return {str(p.relative_to(cache)): p.read_bytes() for p in sorted(cache.glob("features/*/*"))}


TWO_STEPS = ("whole", "parts")


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process makes of them and what two make."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    ranks_two_steps.main(one, *TWO_STEPS)
    done = python(*TORCHRUN, str(HERE / "ranks_two_steps.py"), str(two), *TWO_STEPS, cache=two)
    assert done.returncode == 0, done.stderr
    return one, two


def test_gradients_and_statistics_of_shared_batches_are_those_of_the_whole_batch(
    two_steps: tuple[Path, Path],
) -> None:
    one, two = (torch.load(folder / "whole.pt") for folder in two_steps)
    assert "idle" not in one["gradients"]
    torch.testing.assert_close(two, one, rtol=1e-12, atol=1e-12)


def test_shares_that_are_taken_in_parts_add_up_to_the_same_step(
    two_steps: tuple[Path, Path],
) -> None:
    one, two = (torch.load(folder / "parts.pt") for folder in two_steps)
    torch.testing.assert_close(two, one, rtol=1e-12, atol=1e-12)


def test_a_process_without_room_for_its_share_ends_all_with_one_sentence(tmp_path: Path) -> None:
    done = python(
        *TORCHRUN, str(HERE / "ranks_two_steps.py"), str(tmp_path), "full", cache=tmp_path
    )
    assert done.returncode == 1
    told, *other = sorted(
        (line for line in done.stderr.splitlines() if line.startswith("zslkit: ")),
        key=lambda line: "process 2" not in line,
    )
    # The first one says it unless torchrun has ended it before.
    assert other in (
        [],
        [
            "zslkit: Another process of this run has ended, so this one does too; the same command "
            "goes on from the last checkpoint"
        ],
    )
    assert (
        "process 2 of 2: cpu has no room for a training step over a share of 4 of 7 images" in told
    )
    assert "start more processes" in told and "lower train.batch_size" in told


@pytest.mark.slow
def test_two_processes_make_the_same_store_to_the_byte_and_the_same_run_to_tolerance(
    whole: Result, cache: Path, tmp_path: Path
) -> None:
    done = python(
        *TORCHRUN,
        "-m",
        "zslkit",
        *command("dedn", DEDN, tmp_path / "out"),
        "--json",
        cache=tmp_path / "cache",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"] == pytest.approx(
        whole.metrics, abs=1e-6
    )  # printed by one of them
    assert done.stderr.count("train: 8/8") == 1
    agree(whole, tmp_path / "out")
    assert stores(tmp_path / "cache") == stores(cache)
    processes = [
        r.environment.processes for r in (whole.record, find_runs(tmp_path / "out")[0].record)
    ]
    assert processes == [1, 2]


@pytest.mark.slow
def test_end_to_end_training_of_a_backbone_with_batch_norm_is_the_same(
    cache: Path, tmp_path: Path
) -> None:
    one = alone(tmp_path / "one", "apn", APN)
    done = python(
        "-m", "zslkit", *command("apn", APN, tmp_path / "two"), "--processes", "2", cache=cache
    )
    assert done.returncode == 0, done.stderr
    agree(one, tmp_path / "two")


@pytest.mark.slow
def test_what_validation_picks_is_picked_alike(cache: Path, tmp_path: Path) -> None:
    settings = [
        *DEDN,
        "protocol.selection=validation",
        "protocol.calibration=validation",
        "protocol.tune=true",
        "protocol.folds=2",
    ]
    one = alone(tmp_path / "one", "dedn", settings)
    done = python(
        "-m",
        "zslkit",
        *command("dedn", settings, tmp_path / "two"),
        "--processes",
        "2",
        cache=cache,
    )
    assert done.returncode == 0, done.stderr
    agree(one, tmp_path / "two")
    (two,) = find_runs(tmp_path / "two")
    assert two.record.config == one.record.config
    assert two.record.protocol.gamma == pytest.approx(one.record.protocol.gamma, abs=1e-4)


@pytest.mark.slow
def test_a_lost_process_ends_the_run_and_any_number_of_processes_goes_on(
    whole: Result, cache: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = python(
        *TORCHRUN, str(HERE / "ranks_dying.py"), "epoch2", *command("dedn", DEDN, out), cache=cache
    )
    assert done.returncode != 0 and find_runs(out) == []
    assert list(out.glob("digits/dedn/*.partial/checkpoint.pt"))
    shutil.copytree(out, tmp_path / "by-one")
    done = python(*TORCHRUN, "-m", "zslkit", *command("dedn", DEDN, out), cache=cache)
    assert done.returncode == 0, done.stderr
    assert (
        len(re.findall(r"going on after epoch [12]\n", done.stderr)) == 1
    )  # a checkpoint is left out where writing took long
    agree(whole, out)
    alone(tmp_path / "by-one", "dedn", DEDN)
    agree(whole, tmp_path / "by-one")


@pytest.mark.slow
def test_extraction_that_lost_a_process_goes_on_in_one_and_ends_the_same(
    whole: Result, cache: Path, tmp_path: Path
) -> None:
    there = tmp_path / "cache"
    arguments = [
        "data",
        "prepare",
        "digits",
        "--device",
        "cpu",
        *(word for setting in RANDOM for word in ("--set", setting)),
    ]
    done = python(*TORCHRUN, str(HERE / "ranks_dying.py"), "batch40", *arguments, cache=there)
    assert done.returncode != 0
    (note,) = there.glob("features/*.partial/done")
    assert (
        0 < int(note.read_text()) <= 40 * 4 * 2
    )  # no more than forty batches of four in each of the two
    done = python("-m", "zslkit", *arguments, cache=there)
    assert done.returncode == 0, done.stderr
    assert stores(there) == stores(cache)


@pytest.mark.slow
def test_a_closed_form_is_solved_by_one_process_and_said_so(cache: Path, tmp_path: Path) -> None:
    done = python(
        "-m", "zslkit", *command("eszsl", RANDOM, tmp_path), "--processes", "2", cache=cache
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stderr.count(
            "eszsl: one of the 2 processes makes this run, since the model trains itself"
        )
        == 1
    )
    assert [r.record.environment.processes for r in find_runs(tmp_path)] == [1]


@pytest.mark.slow
def test_a_mistake_is_told_once_and_numbered(cache: Path, tmp_path: Path) -> None:
    done = python(
        "-m",
        "zslkit",
        *command("dedn", ["train.epoch=3"], tmp_path),
        "--processes",
        "2",
        cache=cache,
    )
    assert done.returncode == 2
    assert done.stderr.count("did you mean") == 1 and "Traceback" not in done.stderr


def test_one_process_has_every_batch_whole_and_shares_are_contiguous_and_even() -> None:
    index = np.arange(7)
    assert [(part.tolist(), size) for part, size in shares([index])] == [(list(range(7)), 7)]

    def part(number: int) -> list[int]:
        with distributed.rehearsing(number, 3, 7, lambda tensor: tensor):
            return next(shares([index]))[0].tolist()

    assert [part(number) for number in range(3)] == [[0, 1], [2, 3], [4, 5, 6]]
    with (
        distributed.rehearsing(0, 8, 7, lambda tensor: tensor),
        pytest.raises(UserError, match="7 images and 8 processes"),
    ):
        next(shares([index]))


def test_an_error_of_another_process_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in zip(distributed.LAUNCHED_BY, ("1", "4", "1", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)
    assert exit_code_of(UserError("No such thing"), State()) == 2
    assert capsys.readouterr().err == ""  # before they met, the first process says the same
    monkeypatch.setattr(distributed, "joined", lambda: True)
    assert exit_code_of(TrainingError("It broke"), State()) == 1
    assert capsys.readouterr().err == "zslkit: process 2 of 4: It broke\n"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: choose_device("cuda:1"), "2 processes cannot share 'cuda:1'"),
        (lambda: choose_device("mps"), "2 processes cannot share 'mps'"),
    ],
)
def test_a_device_for_each_process(call: Callable[[], Any], words: str) -> None:
    with (
        distributed.rehearsing(0, 2, 4, lambda tensor: tensor),
        pytest.raises(UserError, match=words),
    ):
        call()
