"""Faults in the middle of a run: nothing corrupt, one sentence, and the same command finishes with
the same scores once it can."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from zslkit.cli import app
from zslkit.features import store
from zslkit.runs import provenance, run_folder
from zslkit.runs.folders import find_runs, lock_of
from zslkit.training import loop, step

MODELS = {
    "eszsl": [],
    "dazle": [
        "--set",
        "word_vectors=random",
        "--set",
        "train.epochs=3",
        "--set",
        "train.steps_per_epoch=2",
        "--set",
        "protocol.selection=last",
        "--set",
        "protocol.calibration=none",
    ],
}
"""One that is solved in one step, and one that is trained in epochs and keeps checkpoints."""


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes of eight small images, two of them unseen."""
    root = tmp_path_factory.mktemp("data")
    rng, names = np.random.default_rng(0), ["ant", "bee", "cat", "dog", "elk", "fox"]
    for name in names:
        (root / "images" / name).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(
                root / "images" / name / f"{i}.png"
            )
    rows = [",".join([name, *map(str, rng.random(5).round(3))]) for name in names]
    (root / "attributes.csv").write_text("class,a,b,c,d,e\n" + "\n".join(rows) + "\n")
    (root / "card.yaml").write_text(
        "name: six\nimages: images\nattributes: attributes.csv\nunseen: [elk, fox]\n"
        "features: {backbone: test_resnet, weights: random, size: 64}\n"
    )
    return root / "card.yaml"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Command:
    """`zslkit run` on the card, what it said, and the scores that it left."""

    def __init__(self, card: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.card, self._capsys = card, capsys

    def __call__(self, model: str, out: Path, *more: str) -> tuple[int, str]:
        code = app.main(
            [
                "run",
                "-m",
                model,
                "-d",
                str(self.card),
                "--device",
                "cpu",
                "--out",
                str(out),
                *MODELS[model],
                *more,
            ]
        )
        return code, self._capsys.readouterr().err

    def fails(self, model: str, out: Path, code: int, *words: str) -> str:
        """The one sentence with which it fails."""
        found, err = self(model, out)
        told = [line for line in err.splitlines() if line.startswith("zslkit: ")]
        assert found == code and len(told) == 1, (found, err)
        assert (
            "Traceback" not in err
            and "Unexpected" not in err
            and all(word in told[0] for word in words)
        ), err
        assert out.is_dir() is False or find_runs(out) == []
        return told[0]

    def scores(self, model: str, out: Path) -> np.ndarray:
        code, err = self(model, out)
        assert code == 0, err
        (run,) = find_runs(out)
        kept = run.scores()
        return np.concatenate([kept.test_seen_scores, kept.test_unseen_scores])


@pytest.fixture
def run(card: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(card, capsys)


class Disk:
    """A file system of its own, whose size and mode can be changed."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __call__(self, options: str) -> None:
        subprocess.run(
            ["mount", "-o", f"remount,{options}", str(self.place)], check=True, capture_output=True
        )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small file system is mounted, and only root may do that")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here ({made.stderr.strip()})")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_really_full_under_the_store(
    run: Command, disk: Disk, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.scores("eszsl", tmp_path / "whole")
    monkeypatch.setenv("ZSLKIT_CACHE", str(disk.place))
    run.fails("eszsl", tmp_path / "out", 1, "MB left", "ZSLKIT_CACHE")
    assert not [
        f for f in (disk.place / "features").iterdir() if f.is_dir() and f.suffix != ".partial"
    ]
    disk("size=64m")
    np.testing.assert_array_equal(run.scores("eszsl", tmp_path / "out"), whole)


@pytest.mark.parametrize("model", MODELS)
def test_a_disk_that_is_really_full_under_the_run(
    run: Command, disk: Disk, tmp_path: Path, model: str
) -> None:
    whole = run.scores(model, tmp_path / "whole")
    sentence = run.fails(model, disk.place, 1)
    assert "full" in sentence or "No space" in sentence
    disk("size=64m")
    np.testing.assert_array_equal(run.scores(model, disk.place), whole)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(run: Command, disk: Disk, tmp_path: Path) -> None:
    whole = run.scores("eszsl", tmp_path / "whole")
    disk("size=64m,ro")
    run.fails("eszsl", disk.place, 1, "Read-only file system", "--out")
    disk("rw")
    np.testing.assert_array_equal(run.scores("eszsl", disk.place), whole)


@pytest.mark.slow
def test_a_cache_that_cannot_be_written(
    run: Command, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.scores("eszsl", tmp_path / "whole")
    monkeypatch.setenv("ZSLKIT_CACHE", str(disk.place))
    disk("size=64m,ro")
    run.fails("eszsl", tmp_path / "out", 1, "Read-only file system")
    disk("rw")
    np.testing.assert_array_equal(run.scores("eszsl", tmp_path / "out"), whole)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"changed!")
    os.utime(path, ns=(0, 0))  # whatever the clock's steps


@pytest.mark.parametrize(
    ("model", "spoil"),
    [
        ("eszsl", overwrite),
        ("dazle", cut),
        pytest.param("eszsl", cut, marks=pytest.mark.slow),
        pytest.param("dazle", overwrite, marks=pytest.mark.slow),
    ],
)
def test_a_store_that_is_changed_under_a_run(
    run: Command,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    spoil: Callable[[Path], None],
) -> None:
    whole = run.scores(model, tmp_path / "whole")
    read = store.FeatureStore.stored_maps if model == "dazle" else store.FeatureStore.pooled
    calls: list[int] = []

    def spoilt(self: store.FeatureStore, index: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            spoil(self.folder / ("maps.npy" if model == "dazle" else "pooled.npy"))
        return read(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(store.FeatureStore, read.__name__, spoilt)
        run.fails(
            model, tmp_path / "out", 2, "was changed while this run read it", "remove the folder"
        )
    (folder,) = (f for f in (cache / "features").iterdir() if f.is_dir())
    if spoil is cut:
        run.fails(model, tmp_path / "out", 2, "is damaged", "remove that folder")
    shutil.rmtree(folder)
    np.testing.assert_array_equal(run.scores(model, tmp_path / "out"), whole)


@pytest.mark.slow
def test_a_store_that_is_removed_or_replaced_under_a_run_stays_readable(
    run: Command, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.scores("eszsl", tmp_path / "whole")
    read = store.FeatureStore.pooled

    def removed(self: store.FeatureStore, index: Any) -> Any:
        shutil.rmtree(self.folder, ignore_errors=True)
        return read(self, index)

    monkeypatch.setattr(store.FeatureStore, "pooled", removed)
    np.testing.assert_array_equal(run.scores("eszsl", tmp_path / "out"), whole)


def test_the_second_of_two_runs_in_one_folder_says_so_waits_and_shows_the_first(
    run: Command, tmp_path: Path
) -> None:
    whole = run.scores("eszsl", tmp_path / "out")
    (folder,) = (r.folder for r in find_runs(tmp_path / "out"))
    lock = FileLock(lock_of(folder))
    lock.acquire()
    answer: list[tuple[int, str]] = []
    second = threading.Thread(target=lambda: answer.append(run("eszsl", tmp_path / "out")))
    second.start()
    second.join(3)
    assert second.is_alive() and not answer
    lock.release()
    second.join(60)
    ((code, err),) = answer
    assert code == 0 and "Another process works on" in err and "waits" in err
    np.testing.assert_array_equal(run.scores("eszsl", tmp_path / "out"), whole)


@pytest.mark.slow
def test_a_clock_that_jumps_back_breaks_neither_names_nor_costs(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.scores("dazle", tmp_path / "whole")
    times = iter(datetime(2030, 1, 1, tzinfo=UTC) - timedelta(days=k // 3) for k in range(1000))

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return next(times)

    for place in (provenance, run_folder):
        monkeypatch.setattr(place, "datetime", Backwards)
    monkeypatch.setattr("time.time", lambda: 0.0)
    for _ in range(4):
        code, err = run("dazle", tmp_path / "out", "--again")
        assert code == 0, err
    assert len(list((tmp_path / "out").glob("six/dazle/*.replaced-*"))) == 3
    record = find_runs(tmp_path / "out")[0].record
    assert record.finished < record.started  # it says what the clock said
    assert record.costs.train_seconds > 0 and record.costs.eval_seconds > 0
    np.testing.assert_array_equal(run.scores("dazle", tmp_path / "out"), whole)


@pytest.mark.slow
def test_a_replaced_run_finds_a_free_name_if_the_clock_stands(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Still(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2030, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(run_folder, "datetime", Still)
    for _ in range(3):
        assert run("eszsl", tmp_path / "out", "--again")[0] == 0
    assert len(list((tmp_path / "out").glob("six/eszsl/*.replaced-*"))) == 2


class Dying:
    """A view whose reader dies at the third batch."""

    def __init__(self, view: Any) -> None:
        self._view, self._batches = view, 0

    def __len__(self) -> int:
        return len(self._view)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def batch(self, index: Any) -> Any:
        self._batches += 1
        if self._batches == 3:
            assert threading.current_thread() is not threading.main_thread()
            raise OSError(5, os.strerror(5), "/photos/7.png")
        return self._view.batch(index)


@pytest.mark.slow
def test_a_reader_that_dies_in_the_middle_of_training_ends_the_run_and_the_next_goes_on(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.scores("dazle", tmp_path / "whole")
    threads = threading.active_count()
    made = loop.resident
    with monkeypatch.context() as patch:
        patch.setattr(loop, "resident", lambda *arguments: Dying(made(*arguments)))
        run.fails("dazle", tmp_path / "out", 1, "/photos/7.png: Input/output error")
    assert threading.active_count() <= threads  # nobody is left waiting
    assert list((tmp_path / "out").glob("six/dazle/*.partial/checkpoint.pt"))
    code, err = run("dazle", tmp_path / "out")
    assert code == 0 and "going on after epoch 1" in err
    np.testing.assert_array_equal(run.scores("dazle", tmp_path / "out"), whole)


@pytest.mark.slow
def test_a_device_without_room_for_a_step_ends_the_run_and_the_next_goes_on(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.scores("dazle", tmp_path / "whole")
    taken, steps = step._backward, iter(range(3))

    def full(*given: Any) -> Any:
        terms = taken(*given)
        if next(steps, None) is None:
            raise torch.cuda.OutOfMemoryError("no room")
        return terms

    with monkeypatch.context() as patch:
        patch.setattr(step, "_backward", full)
        run.fails(
            "dazle",
            tmp_path / "out",
            1,
            "cpu has no room for a training step over 24 images",
            "lower train.batch_size",
        )
    assert list((tmp_path / "out").glob("six/dazle/*.partial/checkpoint.pt"))
    code, err = run("dazle", tmp_path / "out")
    assert code == 0 and "going on after epoch 1" in err
    np.testing.assert_array_equal(run.scores("dazle", tmp_path / "out"), whole)
