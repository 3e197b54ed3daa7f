"""An extraction that is killed again and again ends in the very bytes of one that nothing
disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COUNT = 60

CHILD = """
import sys, time
from pathlib import Path
import torch
from zslkit.features.backbones import load_backbone
from zslkit.config import FeatureConfig
from zslkit.features.extract import open_store
from zslkit.readers.images import FileImages
from zslkit.utils.progress import Silent

class Slow(FileImages):
    def open(self, index):
        time.sleep(0.02)
        with open(sys.argv[2], "a") as journal:
            print(index, file=journal)
        return super().open(index)

root = Path(sys.argv[1])
images = Slow(root, sorted(p.name for p in root.iterdir()))
backbone = load_backbone(FeatureConfig(backbone="lcnet_035", weights="random", size=32))
print("ready", flush=True)
open_store("made-up", images, backbone, "float16", torch.device("cpu"), Silent(), batch=2)
"""


def start(photos: Path, cache: Path, journal: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "ZSLKIT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(photos), str(journal)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def finished(cache: Path) -> dict[str, bytes]:
    (folder,) = (f for f in (cache / "features").iterdir() if f.is_dir())
    assert folder.suffix != ".partial"
    return {f.name: f.read_bytes() for f in folder.iterdir()}


@pytest.mark.slow
def test_kills_at_random_moments_cost_no_finished_batch_and_no_byte(tmp_path: Path) -> None:
    photos, journal = tmp_path / "photos", tmp_path / "journal"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
            photos / f"{i:03d}.png"
        )
    moments = random.Random(0)
    kills, noted = 0, 0
    for _ in range(4):
        journal.unlink(missing_ok=True)
        child = start(photos, tmp_path / "cache", journal)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        wanted = moments.randint(4, 14)
        while child.poll() is None and (
            not journal.exists() or len(journal.read_text().split()) < wanted
        ):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.03))
        os.kill(child.pid, signal.SIGKILL)
        kills += child.wait() == -signal.SIGKILL
        # image 0 is looked at once more, for its size
        opened = [int(i) for i in journal.read_text().split()[1:]] if journal.exists() else []
        assert all(i >= noted for i in opened), "a batch that was noted as done was done again"
        notes = list((tmp_path / "cache" / "features").glob("*.partial/done"))
        noted = int(notes[0].read_text()) if notes else noted
    assert kills == 4 and 8 <= noted < COUNT, (
        "kills that hit no extraction under way would prove nothing"
    )
    for cache in ("cache", "undisturbed"):
        assert start(photos, tmp_path / cache, journal).wait(100) == 0
    assert finished(tmp_path / "cache") == finished(tmp_path / "undisturbed")
