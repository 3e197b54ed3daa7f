"""Trackers beside a run: told all of it once, nothing of the test sets before the end, and unable
to change or stop it."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from zslkit.cli import app
from zslkit.dataset import Dataset, Split
from zslkit.datasets.catalog import RegisteredDataset
from zslkit.errors import UserError
from zslkit.record import RunRecord
from zslkit.registry import BrokenPlugin, Entry
from zslkit.runs import api, tracking
from zslkit.runs.api import Result
from zslkit.runs.folders import load_run
from zslkit.runs.tensorboard import FOLDER
from zslkit.semantics import Semantics
from zslkit.tracker import RunInfo, Tracker, check_tracker
from zslkit.training.loop import GradientTraining

BRIEF: dict[str, Any] = {"train": {"epochs": 3, "steps_per_epoch": 2, "batch_size": 4}}
PLAIN = {"tune": False, "selection": "last", "calibration": "none"}


class Ear(Tracker):
    """Keeps what it is told, with the files that were in the run's folder then."""

    heard: ClassVar[list[tuple[Any, ...]]] = []

    def start(self, info: RunInfo) -> None:
        self.info = info
        self.heard.append(("start", info.resumed, dict(info.config), self._files()))

    def log(self, phase: str, epoch: int, figures: Mapping[str, float]) -> None:
        self.heard.append(("log", phase, epoch, dict(figures), self._files()))

    def finish(self, record: RunRecord | None) -> None:
        self.heard.append(("finish", record, self._files()))

    def _files(self) -> set[str]:
        return {p.name for p in self.info.folder.iterdir()}


class Meddler(Tracker):
    """Does to everything within reach what it should not."""

    def start(self, info: RunInfo) -> None:
        self._meddle()
        dict.clear(info.config)  # type: ignore[arg-type]
        info.config["train"] = {"epochs": 1}  # type: ignore[index]

    def log(self, phase: str, epoch: int, figures: Mapping[str, float]) -> None:
        self._meddle()
        figures.clear()  # type: ignore[attr-defined]

    def finish(self, record: RunRecord | None) -> None:
        self._meddle()
        assert record is not None
        record.config.clear()
        record.per_class.clear()

    def _meddle(self) -> None:
        os.chdir("/")
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)


def raising(where: str, error: BaseException) -> type[Tracker]:
    """A tracker that raises in one of its methods."""

    def fail(self: Tracker, *arguments: Any) -> None:
        Ear.heard.append((where,))
        raise error

    return type("Raising", (Ear,), {where: fail})


def tiny(name: str, root: Path) -> Dataset:
    """Six classes, of which one is unseen, with features of their own: a run takes no time."""
    draw = np.random.default_rng(0)
    attributes, labels = draw.random((6, 4), dtype=np.float32), np.repeat(np.arange(6), 6)
    train = np.flatnonzero((np.arange(36) % 6 < 4) & (labels < 5))
    seen, unseen = np.setdiff1d(np.flatnonzero(labels < 5), train), np.flatnonzero(labels == 5)
    features = draw.random((36, 8), dtype=np.float32)
    return Dataset(
        "tiny",
        tuple("uvwxyz"),
        labels,
        Split(train, seen, unseen),
        Semantics(attributes, tuple("abcd")),
        features=features,
    )


@pytest.fixture(scope="module", autouse=True)
def dataset() -> Iterator[None]:
    """Every run of this module is on `tiny`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RegisteredDataset, "load", tiny)
        patch.setattr(
            "zslkit.training.loop.CHECKPOINT_SHARE", math.inf
        )  # one after every epoch, however short
        yield


@pytest.fixture(autouse=True)
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, type[Tracker]], None]:
    """register(name, class) makes a tracker of another distribution; `ear` is there already."""
    Ear.heard.clear()
    known: dict[str, type[Tracker]] = {"ear": Ear}
    ours = tracking.TRACKERS.load

    def load(name: str) -> tuple[Entry, Any]:
        if name not in known:
            return ours(name)
        return Entry(
            name, f"m:{name}", "stranger", "1.2", EntryPoint(name, f"m:{name}", "zslkit.trackers")
        ), known[name]

    monkeypatch.setattr(tracking.TRACKERS, "load", load)
    return known.__setitem__


class Notes:
    """A reporter that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.phase = api.Silent().phase

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(out: Path, *trackers: str, protocol: Mapping[str, Any] = PLAIN, **more: Any) -> Result:
    overrides = BRIEF | {"protocol": protocol}
    return api.run(
        "ale", "digits", overrides=overrides, out=out, device="cpu", trackers=trackers, **more
    )


@pytest.fixture(scope="module")
def plain(dataset: None, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The run without a tracker."""
    return run(tmp_path_factory.mktemp("plain"))


def same(result: Result, plain: Result) -> None:
    """Scores, weights, identity, settings and figures are those of the run without a tracker."""
    ours, theirs = load_run(result.folder), load_run(plain.folder)
    np.testing.assert_array_equal(ours.scores().test_seen_scores, theirs.scores().test_seen_scores)
    np.testing.assert_array_equal(
        ours.scores().test_unseen_scores, theirs.scores().test_unseen_scores
    )
    assert (result.folder / "model.safetensors").read_bytes() == (
        plain.folder / "model.safetensors"
    ).read_bytes()
    assert result.folder.name == plain.folder.name
    for record in (result.record, ours.record):
        assert (record.config, record.metrics, record.per_class) == (
            plain.record.config,
            plain.record.metrics,
            plain.record.per_class,
        )


def logged() -> list[tuple[str, int]]:
    return [
        (phase, epoch) for what, phase, epoch, *_ in (h for h in Ear.heard if h[0] == "log") if what
    ]


def stop_in(
    monkeypatch: pytest.MonkeyPatch, epoch: int, where: str = "_epoch"
) -> pytest.MonkeyPatch:
    """Interrupt the training in that epoch (from 0), or before its checkpoint is written."""
    original = getattr(GradientTraining, where)

    def interrupted(self: GradientTraining, *arguments: Any) -> Any:
        if arguments[0] == epoch + (where == "_state"):
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(GradientTraining, where, interrupted)
    return monkeypatch


def test_a_tracker_is_told_the_log_and_at_the_end_the_record_and_changes_nothing(
    tmp_path: Path, plain: Result
) -> None:
    result = run(tmp_path, "ear")
    same(result, plain)
    assert [h[0] for h in Ear.heard] == ["start", "log", "log", "log", "finish"]
    assert logged() == [("train", 1), ("train", 2), ("train", 3)]
    lines = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert [h[3] for h in Ear.heard[1:4]] == [
        {k: v for k, v in line.items() if k not in ("time", "phase", "epoch")} for line in lines
    ]
    assert Ear.heard[-1][1] == result.record
    assert {p.name for p in result.folder.iterdir()} == {p.name for p in plain.folder.iterdir()}


def test_nothing_of_the_test_sets_is_within_reach_before_the_end(tmp_path: Path) -> None:
    protocol = {
        "watch_test": 1,
        "tune": False,
        "selection": "validation",
        "calibration": "validation",
    }
    result = run(tmp_path, "ear", protocol=protocol)
    before, (_, record, files) = Ear.heard[:-1], Ear.heard[-1]
    assert all(not {f for f in h[-1] if f.startswith(("scores", "record"))} for h in before)
    assert {"scores.npz", "record.json"} <= files and record == result.record
    trained = [h[3] for h in before if h[:2] == ("log", "train")]
    assert trained and all(set(figures) == {"seconds", "ranking"} for figures in trained)
    folds = [h[3]["H"] for h in before if h[:2] == ("log", "validation") and "H" in h[3]]
    assert len(folds) == 3 and max(folds) == pytest.approx(record.protocol.validation["H"])


@pytest.mark.parametrize("where", ["start", "log", "finish"])
@pytest.mark.parametrize("error", [ValueError("no\nserver"), SystemExit(3)])
def test_a_tracker_that_raises_is_told_in_a_line_and_the_run_is_the_same(
    tmp_path: Path, plain: Result, register: Callable[..., None], where: str, error: BaseException
) -> None:
    register("bad", raising(where, error))
    reporter = Notes()
    result = run(tmp_path, "bad", "ear", reporter=reporter)
    same(result, plain)
    told = [note for note in reporter.notes if "tracker" in note]
    assert len(told) == 1 and "\n" not in told[0]
    assert told[0].startswith(
        "The tracker 'bad' of stranger 1.2 is switched off for this run, which goes on: "
    )
    assert (
        f"{type(error).__name__}: {'no server' if isinstance(error, ValueError) else 3} "
        "(test_tracking.py, line " in told[0]
    )
    assert Ear.heard.count((where,)) == 1  # it was not called again
    assert Ear.heard[-1][:2] == ("finish", result.record)  # and the other one hears all


def test_a_tracker_cannot_change_settings_figures_or_what_is_random(
    tmp_path: Path, plain: Result, register: Callable[..., None]
) -> None:
    register("meddler", Meddler)
    reporter = Notes()
    here = os.getcwd()
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    same(run(tmp_path, "meddler", "ear", reporter=reporter), plain)
    assert (
        Ear.heard[0][2]["train"]["epochs"] == 3
    )  # what one tracker does to its copy, no other sees
    assert os.getcwd() == here
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[union-attr]
    assert all(set(h[3]) == {"seconds", "ranking"} for h in Ear.heard if h[0] == "log")
    assert not [note for note in reporter.notes if "tracker" in note]


def test_random_numbers_between_two_figures_are_those_of_the_run() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2).tolist()
    torch.manual_seed(0)
    first = torch.rand(1).item()
    with tracking._untouched():
        torch.rand(5)
    assert [first, torch.rand(1).item()] == expected


@pytest.mark.parametrize(("epoch", "where"), [(1, "_epoch"), (2, "_epoch"), (1, "_state")])
def test_a_resumed_run_is_told_on_without_double_entries(
    tmp_path: Path, plain: Result, monkeypatch: pytest.MonkeyPatch, epoch: int, where: str
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_in(patch, epoch, where)
        run(tmp_path, "ear", "tensorboard")
    assert Ear.heard[-1][:2] == ("finish", None)
    (events,) = tmp_path.glob(f"tiny/ale/*.partial/{FOLDER}/events*")
    with events.open("ab") as file:
        file.write(b"\x18\x00\x00")  # what a killed process leaves
    result = run(tmp_path, "ear", "tensorboard")
    same(result, plain)
    if where == "_state":  # the epoch was logged, and done again
        assert (result.folder / "log.jsonl").read_text().count('"epoch": 2') == 2
    assert [h[1] for h in Ear.heard if h[0] == "start"] == [False, True]
    assert logged() == [("train", 1), ("train", 2), ("train", 3)]
    assert [step for step, _ in curves(result)["train/ranking"]] == [1, 2, 3]
    assert len(curves(result)["test/H"]) == 1


def test_a_tracker_that_is_chosen_late_is_told_what_was_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_in(patch, 2)
        run(tmp_path)
    run(tmp_path, "ear")
    assert Ear.heard[0][:2] == ("start", False)
    assert logged() == [("train", 1), ("train", 2), ("train", 3)]


def test_a_run_that_is_there_is_not_told_again(tmp_path: Path) -> None:
    assert not run(tmp_path).reused
    assert run(tmp_path, "ear").reused
    assert Ear.heard == []


def curves(result: Result) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads in the run's folder: tag -> steps and values."""
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(result.folder / FOLDER))
    read.Reload()
    return {
        tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]
    } | {
        tag: [(0, read.Tensors(tag)[0].tensor_proto.string_val[0].decode())]
        for tag in read.Tags()["tensors"]
    }


def test_tensorboard_reads_the_terms_of_the_loss_the_figures_and_the_protocol(
    tmp_path: Path, plain: Result
) -> None:
    result = run(tmp_path, "tensorboard", "tensorboard")
    same(result, plain)
    found = curves(result)
    lines = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert found["train/ranking"] == [
        (line["epoch"], pytest.approx(line["ranking"])) for line in lines
    ]
    for name, value in result.metrics.items():
        assert found[f"test/{name}"] == [(3, pytest.approx(value))]
    assert "| calibration | none |" in str(found["protocol"]) and "epochs: 3" in str(
        found["settings"]
    )


def test_a_missing_package_is_told_with_the_command_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    for command in (["run", "--model", "ale"], ["compare", "ale", "eszsl"]):
        assert app.main([*command, "--out", str(tmp_path / "out"), "--tracker", "tensorboard"]) == 2
        told = (
            "The tracker 'tensorboard' needs tensorboard, which is not installed; install it "
            "with: pip install 'zslkit[tensorboard]'"
        )
        assert capsys.readouterr().err == f"zslkit: {told}\n"
    assert not (tmp_path / "out").exists()


def test_what_is_no_tracker_or_cannot_be_made_is_refused_by_name(
    register: Callable[..., None],
) -> None:
    class Half(Tracker):
        def start(self, info: RunInfo) -> None: ...

    with pytest.raises(UserError, match="Half lacks finish, log"):
        check_tracker("half", Half)
    with pytest.raises(UserError, match=r"no subclass of zslkit\.tracker\.Tracker"):
        check_tracker("text", "text")
    register("broken", raising("__init__", OSError("no socket")))
    with pytest.raises(BrokenPlugin, match=r"'broken' of stranger 1\.2.*OSError: no socket"):
        tracking.load(["broken"])
    register("unset", raising("__init__", UserError("Say where the server is with $SERVER")))
    with pytest.raises(UserError, match=r"^Say where the server is with \$SERVER$"):
        tracking.load(["unset"])


def test_listing_trackers_imports_neither_torch_nor_tensorboard() -> None:
    program = """
import sys
from zslkit.cli.app import main
main(["trackers"])
sys.exit(bool({"torch", "tensorboard", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "tensorboard  zslkit " in done.stdout
