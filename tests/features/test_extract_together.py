"""Processes that ask for one feature store: the work is done once, and who waits is told."""

from __future__ import annotations

import io
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from made_stores import Watched, backbone, photos, store_of

from zslkit.features.extract import open_store, store_key
from zslkit.features.store import FeatureStore, images_digest
from zslkit.utils import locks
from zslkit.utils.files import cache_root
from zslkit.utils.progress import PlainReporter


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def take_part(images: Watched, journal: Path, barrier: Any) -> None:
    """What each of two processes does: both have read the files before either looks for the
    store."""

    class Waiting(Watched):
        def digest(self) -> str:
            barrier.wait(60)
            return super().digest()

    def note(index: int) -> None:
        with journal.open("a") as lines:
            print(index, file=lines)

    assert len(store_of(Waiting(images.root, images.paths, note)).pooled(np.arange(12))) == 12


@pytest.mark.slow
def test_two_processes_that_ask_for_one_store_do_the_work_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    shared = photos(tmp_path / "photos"), tmp_path / "journal", context.Barrier(2)
    other = context.Process(target=take_part, args=shared)
    other.start()
    take_part(*shared)
    other.join(60)
    assert other.exitcode == 0
    assert sorted(map(int, (tmp_path / "journal").read_text().split())) == [0, *range(12)]


def test_who_waits_for_anothers_store_is_told_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, told, waits = photos(tmp_path / "photos"), io.StringIO(), threading.Event()
    monkeypatch.setattr(locks, "PATIENCE", 0.01)

    class Heard(PlainReporter):
        def note(self, text: str) -> None:
            super().note(text)
            waits.set()

    def ask() -> FeatureStore:
        return open_store(
            "made-up", images, backbone(), "float32", torch.device("cpu"), Heard(told)
        )

    folder = (
        cache_root()
        / "features"
        / f"made-up-{store_key(images_digest(images), backbone(), 'float32')}"
    )
    folder.parent.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(f"{folder}.lock"):
            asked = pool.submit(ask)
            assert waits.wait(60)
            lines = told.getvalue().splitlines()
        assert asked.result(60).folder == folder
    assert lines == [
        f"Another process extracts the features of made-up into {folder}; this one waits until it "
        "is done"
    ]
    assert "Another" not in told.getvalue()[len(lines[0]) :]
