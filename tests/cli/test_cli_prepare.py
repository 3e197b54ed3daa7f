"""zslkit data prepare, end to end: what a run finds, what is left out, and how each mistake is
told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

Zslkit = Callable[..., CompletedProcess[str]]

CARD = """name: birds
images: images
attributes: classes.csv
unseen: [wren]
features: {backbone: lcnet_035, weights: random, size: 32}
"""
CLASSES = ("crow", "tit", "wren")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "cache"


@pytest.fixture
def card(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)).save(
                tmp_path / "images" / name / f"{i}.png"
            )
    (tmp_path / "classes.csv").write_text("class,red,blue\ncrow,0,1\ntit,1,0\nwren,1,1\n")
    (tmp_path / "card.yaml").write_text(CARD)
    return "card.yaml"


def spoil(tmp_path: Path) -> list[str]:
    """One file empty, one cut off, one damaged in the middle but whole at both ends; their
    names."""
    names = ["crow/0.png", "tit/4.png", "wren/2.png"]
    files = [tmp_path / "images" / name for name in names]
    files[0].write_bytes(b"")
    os.truncate(files[1], 200)
    content = bytearray(files[2].read_bytes())
    content[60:80] = bytes(20)
    files[2].write_bytes(content)
    return names


def answer(done: CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_run_that_follows_finds_the_store_and_extracts_nothing(
    zslkit: Zslkit, card: str, own_cache: Path
) -> None:
    done = answer(zslkit("data", "prepare", card, "--dtype", "float32", "--json"))
    assert (done["images"], done["skipped"], done["dtype"]) == (18, [], "float32")
    maps = Path(done["store"]) / "maps.npy"
    before = maps.stat().st_mtime_ns
    run = zslkit("run", "-m", "eszsl", "-d", card, "--set", "features.dtype=float32", "--json")
    assert answer(run)["fingerprints"]["features"] == done["fingerprint"]
    assert "extract" not in run.stderr
    assert [f.name for f in (own_cache / "features").iterdir() if f.is_dir()] == [
        Path(done["store"]).name
    ]
    assert maps.stat().st_mtime_ns == before


def test_what_is_prepared_is_said_with_the_run_that_uses_it(zslkit: Zslkit, card: str) -> None:
    done = zslkit("data", "prepare", card, "--dtype", "bfloat16", "--size", "64x32", "--batch", "3")
    assert done.returncode == 0, done.stderr
    assert "18 maps" in done.stdout and "2 x 1, bfloat16" in done.stdout
    command = next(
        line for line in done.stdout.splitlines() if line.startswith("used by")
    ).partition("zslkit ")[2]
    words = [w.strip("'") for w in command.replace("MODEL", "eszsl").split()]
    run = zslkit(*words, "--json")
    assert run.returncode == 0, run.stderr
    assert "extract" not in run.stderr
    assert "extract features: 18/18" in done.stderr


def test_all_images_that_cannot_be_read_are_listed(
    zslkit: Zslkit, card: str, tmp_path: Path, own_cache: Path
) -> None:
    names = spoil(tmp_path)
    done = zslkit("data", "prepare", card)
    assert done.returncode == 2 and not done.stdout
    told = done.stderr.splitlines()[-1]
    assert (
        told.startswith(f"zslkit: 3 of 18 images cannot be read ({', '.join(names)}): the image ")
        and "--skip-bad" in told
    )
    assert not list((own_cache / "features").glob("*.partial")), (
        "an empty file is seen before the network runs"
    )


def test_damage_that_only_decoding_shows_is_listed_too(
    zslkit: Zslkit, card: str, tmp_path: Path
) -> None:
    for name in spoil(tmp_path)[:2]:
        Image.new("RGB", (32, 32)).save(tmp_path / "images" / name)
    done = zslkit("data", "prepare", card)
    assert done.returncode == 2
    assert "1 of 18 images cannot be read (wren/2.png)" in done.stderr.splitlines()[-1]


def test_bad_images_are_left_out_by_name_and_every_number_says_so(
    zslkit: Zslkit, card: str, tmp_path: Path
) -> None:
    whole = answer(zslkit("run", "-m", "eszsl", "-d", card, "--json"))
    names = spoil(tmp_path)
    done = answer(zslkit("data", "prepare", card, "--skip-bad", "--json"))
    assert done["skipped"] == names
    assert json.loads((Path(done["store"]) / "manifest.json").read_text())["skipped"] == names
    arguments = ("run", "-m", "eszsl", "-d", card, "--set", "features.skip_bad=true")
    run = zslkit(*arguments, "--json")
    result = answer(run)
    assert "extract" not in run.stderr
    assert result["fingerprints"]["features"] == done["fingerprint"]
    assert result["fingerprints"]["split"] != whole["fingerprints"]["split"]
    record = json.loads((tmp_path / result["run_folder"] / "record.json").read_text())["dataset"]
    assert record["n_skipped"] == 3
    assert record["n_trainval"] + record["n_test_seen"] + record["n_test_unseen"] == 15
    assert "none of the sets: 3" in zslkit(*arguments).stdout
    refused = zslkit("run", "-m", "eszsl", "-d", card)
    assert refused.returncode == 2 and "3 of 18 images cannot be read" in refused.stderr


def test_nothing_is_left_out_of_images_that_can_be_read(zslkit: Zslkit, card: str) -> None:
    usual = answer(zslkit("data", "prepare", card, "--json"))
    careful = answer(zslkit("data", "prepare", card, "--skip-bad", "--json"))
    assert careful["skipped"] == [] and careful["store"] == usual["store"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bird.yaml",), "bird.yaml"),
        (("digit",), 'did you mean "digits"'),
        (("card.yaml", "--size", "0"), "no size in pixels"),
        (("card.yaml", "--backbone", "lcnet_03"), 'did you mean "lcnet_035"'),
        (("card.yaml", "--set", "train.epochs=1"), "keys begin with features."),
        (("card.yaml", "--set", "features.sise=1"), 'did you mean "size"'),
    ],
)
def test_a_mistake_is_one_sentence(
    zslkit: Zslkit, card: str, arguments: tuple[str, ...], words: str
) -> None:
    done = zslkit("data", "prepare", *arguments)
    assert done.returncode == 2 and not done.stdout
    assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1
