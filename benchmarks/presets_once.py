"""Runs every model's preset for one epoch on a slice of photos, so that no preset is untried.

    python benchmarks/presets_once.py FOLDER PRESET [--word-vectors FILE] [--photos N] [--model
    NAME]

FOLDER holds `images` (a folder for each class), `attributes.csv` and `UNSEEN.txt`; PRESET is a name
such as sun or awa2. Of each class
N photos are taken. The backbone is a small one with random weights on 64 px, epochs are cut to one
(ten steps where the preset says how
many), the warm-up is left out and the grid not searched: everything else is the preset's. The
figures of such a run say nothing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import yaml

from zslkit.cli.app import main as zslkit
from zslkit.config.sections import known_keys
from zslkit.model import Model, brings_encoder
from zslkit.registry import MODELS
from zslkit.runs.plan import presets_of

SMALL = [
    "features.backbone=test_resnet.r160_in1k",
    "features.weights=random",
    "features.size=64",
    "protocol.tune=false",
]


def cuts(model: type[Model]) -> Iterator[str]:
    """Settings that make a training short."""
    for key in known_keys(model.Config):
        name = key.split(".")[-1]
        if name == "epochs":
            yield f"{key}=1"
        elif name == "steps_per_epoch":
            yield f"{key}=10"
        elif name == "warmup_epochs":
            yield f"{key}=0"


def slice_of(folder: Path, photos: int, words: Path | None, home: Path) -> Path:
    """Copy some photos of each class below `home`, and write the card."""
    for group in sorted(p for p in (folder / "images").iterdir() if p.is_dir()):
        (home / "images" / group.name).mkdir(parents=True)
        for photo in sorted(p for p in group.iterdir() if p.is_file())[:photos]:
            shutil.copy(photo, home / "images" / group.name)
    for name in ("attributes.csv", "UNSEEN.txt"):
        shutil.copy(folder / name, home)
    facts = {
        "name": folder.name,
        "images": "images",
        "attributes": "attributes.csv",
        "unseen": "UNSEEN.txt",
    }
    if words is not None:
        shutil.copy(words, home)
        facts["word_vectors"] = words.name
    card = home / f"{folder.name}.yaml"
    card.write_text(yaml.safe_dump(facts), encoding="utf-8")
    return card


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("preset")
    parser.add_argument("--word-vectors", type=Path)
    parser.add_argument("--photos", type=int, default=10, help="of each class")
    parser.add_argument("--model", action="append", help="by default every model with the preset")
    given = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as made:
        card = slice_of(given.folder, given.photos, given.word_vectors, Path(made))
        for name in given.model or sorted(entry.name for entry in MODELS.entries()):
            _, model = MODELS.load(name)
            if given.preset not in presets_of(model):
                print(f"{name:<10} has no preset {given.preset}", flush=True)
                continue
            small = SMALL if not brings_encoder(model) else SMALL[-1:]
            asked = [f"--set={s}" for s in (*small, *cuts(model))]
            command = ["run", "--model", name, "--dataset", str(card), "--preset", given.preset]
            said, began = StringIO(), time.monotonic()
            with redirect_stdout(said), redirect_stderr(said):
                code = zslkit([*command, "--out", f"{made}/runs", "--device", "cpu", *asked])
            seconds = time.monotonic() - began
            why = "" if code == 0 else f": {said.getvalue().strip().splitlines()[-1]}"
            print(
                f"{name:<10} {'ran' if code == 0 else 'failed'}, {seconds:.0f} s{why}", flush=True
            )
            failed += code != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
