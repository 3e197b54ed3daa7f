"""The cache is told as it is, and nothing is removed that zslkit did not make, that is in use, or
that lies elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from made_stores import photos, store_of

from zslkit.acquire.cache import belongs, contents, remove
from zslkit.cli.app import main
from zslkit.dataset import Dataset, Split
from zslkit.errors import DataError
from zslkit.features.unreadable import readable
from zslkit.semantics import Semantics
from zslkit.utils.progress import Silent
from zslkit.verify.duplicates import scan

HEX = "0123456789abcdef"


SIGNATURE = HEX * 2
ARRAY = b"\x93NUMPY" + bytes(100)
MANIFEST = json.dumps({"schema": 1, "key": HEX}).encode()
CONVERTED = json.dumps({"schema": 1, "sha256": HEX * 4}).encode()


def made(root: Path, files: dict[str, bytes]) -> Path:
    for file, content in files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(content)
    return root


def weights(**metadata: dict[str, str]) -> bytes:
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, **metadata}
    ).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of each kind, and things that are not zslkit's."""
    root = tmp_path / "cache"
    monkeypatch.setenv("ZSLKIT_CACHE", str(root))
    return made(
        root,
        {
            f"features/cub-{HEX}/maps.npy": ARRAY,
            f"features/cub-{HEX}/pooled.npy": ARRAY,
            f"features/cub-{HEX}/manifest.json": MANIFEST,
            f"features/cub-{HEX}/done.77.new": b"12",
            f"features/cub-{HEX}.lock": b"",
            f"features/sun-{HEX}.partial/maps.npy": ARRAY,
            f"features/sun-{HEX}.partial/done": b"4",
            f"features/apy-{HEX}.removed-7.partial/pooled.npy": ARRAY,
            f"xlsa17/{HEX}/features.npy": ARRAY,
            f"xlsa17/{HEX}/manifest.json": CONVERTED,
            f"weights/digits-{HEX}.safetensors": weights(__metadata__={"made_by": "zslkit"}),
            f"weights/birds-{HEX}.safetensors": weights(),  # of an earlier version, under its lock
            f"weights/birds-{HEX}.safetensors.lock": b"",
            f"digests/{SIGNATURE}": SIGNATURE.encode(),
            f"digests/mat-{SIGNATURE}.0a1b2c-{ENDED}-0.new": b"012",
            f"unreadable/{SIGNATURE}.json": b"[3, 5]",
            f"scans/{SIGNATURE}.npz.0a1b2c-{ENDED}-0.new": b"",
            "thesis/chapter.txt": b"nine byte",
            "notes.txt": b"five.",
        },
    )


ENDED = 1 << 29
"""Number of a process that no machine has."""


def kinds(root: Path) -> dict[str, tuple[str, int]]:
    return {item.name: (item.kind, item.size) for item in contents(root)}


EVERYTHING = {
    f"features/cub-{HEX}": ("store", 2 * len(ARRAY) + len(MANIFEST) + 2),
    f"features/cub-{HEX}/done.77.new": ("leftover", 2),
    f"features/sun-{HEX}.partial": ("partial store", len(ARRAY) + 1),
    f"features/apy-{HEX}.removed-7.partial": ("partial store", len(ARRAY)),
    f"xlsa17/{HEX}": ("converted", len(ARRAY) + len(CONVERTED)),
    f"weights/digits-{HEX}.safetensors": (
        "weights",
        len(weights(__metadata__={"made_by": "zslkit"})),
    ),
    f"weights/birds-{HEX}.safetensors": ("weights", len(weights())),
    f"digests/{SIGNATURE}": ("digest", 32),
    f"digests/mat-{SIGNATURE}.0a1b2c-{ENDED}-0.new": ("leftover", 3),
    f"unreadable/{SIGNATURE}.json": ("unreadable", 6),
    f"scans/{SIGNATURE}.npz.0a1b2c-{ENDED}-0.new": ("leftover", 0),
    "thesis": ("foreign", 9),
    "notes.txt": ("foreign", 5),
}
PARTIAL = {name for name, (kind, _) in EVERYTHING.items() if kind in ("partial store", "leftover")}
OURS = {name for name, (kind, _) in EVERYTHING.items() if kind != "foreign"}


def test_the_cache_is_listed_with_kinds_and_sizes(cache: Path) -> None:
    assert kinds(cache) == EVERYTHING
    assert contents(cache / "nowhere") == []


def clean(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["data", "clean", "--json", *arguments]) == 0
    items: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["items"]
    return items


def test_listing_and_a_dry_run_remove_nothing(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(clean(capsys)) == len(EVERYTHING)
    gone = clean(capsys, "--all", "--dry-run")
    assert {i["name"] for i in gone} == OURS
    assert {i["outcome"] for i in gone} == {"would be removed"} and kinds(cache) == EVERYTHING


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        (["--matching", f"features/sun-{HEX}*"], {f"features/sun-{HEX}.partial"}),
        (["--matching", "features/*"], {name for name in OURS if name.startswith("features/")}),
        (["--partial"], PARTIAL),
        (
            ["--matching", "features/*", "--partial"],
            {name for name in PARTIAL if name.startswith("features/")},
        ),
        (["--all"], OURS),
        (["--older-than", "1"], set()),
    ],
)
def test_what_is_asked_for_is_removed_and_nothing_else(
    cache: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], gone: set[str]
) -> None:
    assert {item["name"] for item in clean(capsys, *arguments)} == gone
    assert set(kinds(cache)) == set(EVERYTHING) - gone


def test_age_is_counted_from_the_last_use_of_any_file(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = time.time() - 10 * 86400
    sun = f"features/sun-{HEX}.partial"
    for name in (f"{sun}/done", f"{sun}/maps.npy", f"features/cub-{HEX}/maps.npy", "notes.txt"):
        os.utime(cache / name, (old, old))
    for _ in range(2):  # looking is no use
        assert [item["name"] for item in clean(capsys, "--older-than", "9", "--dry-run")] == [sun]
    assert clean(capsys, "--older-than", "11") == []


def test_what_another_process_holds_is_left_alone_and_said(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import sys, filelock; l = filelock.FileLock(sys.argv[1]); l.acquire(); print('held', "
        "flush=True); sys.stdin.read()"
    )
    lock = cache / "features" / f"sun-{HEX}.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert [i.name for i in contents(cache) if i.in_use] == [f"features/sun-{HEX}.partial"]
        (item,) = clean(capsys, "--matching", "sun-*")
        assert item["outcome"] == "left alone: it is in use"
        assert main(["data", "clean", "--partial"]) == 0
        assert "is in use" in capsys.readouterr().err
        assert f"features/sun-{HEX}.partial" in kinds(cache)
    finally:
        holder.communicate()
    clean(capsys, "--partial")
    assert f"features/sun-{HEX}.partial" not in kinds(cache)


def test_links_are_neither_followed_nor_removed(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "photos"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "mine.jpg").write_bytes(b"x" * 100)
    (cache / "features" / f"apy-{HEX}").symlink_to(outside, target_is_directory=True)
    shutil.rmtree(cache / "scans")
    (cache / "scans").symlink_to(outside, target_is_directory=True)
    (cache / "features" / f"cub-{HEX}" / "link").symlink_to(outside, target_is_directory=True)
    assert kinds(cache)[f"features/cub-{HEX}"][0] == "foreign", "what else lies in it would be lost"
    assert kinds(cache)["scans"][0] == kinds(cache)[f"features/apy-{HEX}"][0] == "link"
    clean(capsys, "--all")
    (item,) = clean(capsys, "--matching", "apy-*")
    assert item["outcome"] == "left alone"
    assert (outside / "deep" / "mine.jpg").is_file() and (cache / "scans").is_symlink()
    assert (cache / "features" / f"cub-{HEX}" / "maps.npy").is_file()


def test_what_is_not_ours_is_refused_by_name(cache: Path) -> None:
    thesis = next(item for item in contents(cache) if item.name == "thesis")
    with pytest.raises(DataError, match="nothing that zslkit is known to have put there"):
        remove(cache, thesis)
    store = next(item for item in contents(cache) if item.kind == "store")
    with pytest.raises(DataError, match="leads out of the cache"):
        remove(cache / "weights", store)
    with FileLock(cache / "features" / f"cub-{HEX}.lock"), pytest.raises(DataError, match="in use"):
        remove(cache, store)
    assert kinds(cache) == EVERYTHING


DATA_ROOT = {
    "xlsa17/data/CUB/att_splits.mat": b"MATLAB",
    f"xlsa17/{HEX}/thesis.txt": b"mine",
    "downloads/CUB_200_2011.tgz": b"archive",
    "downloads/CUB_200_2011.tgz.0123abcd.part": b"arch",
    "features/thesis.tex": b"mine",
    f"features/cub-{HEX}/maps.npy": ARRAY,
    f"features/sun-{HEX}/manifest.json": json.dumps({"schema": 1, "key": "another"}).encode(),
    f"features/awa-{HEX}/manifest.json": MANIFEST,
    f"features/awa-{HEX}/thesis.tex": b"mine",
    f"features/apy-{HEX}.partial/maps.npy": b"no array",
    "features/own.partial/maps.npy": ARRAY,
    "features/poetry.lock": b"mine",
    "weights/resnet101.safetensors": weights(),
    f"weights/own-{HEX}.safetensors": weights(),
    f"weights/timm-{HEX}.safetensors": weights(__metadata__={"format": "pt"}),
    f"weights/broken-{HEX}.safetensors": b"x" * 70,
    "weights/model.pth.new": b"mine",
    "digests/thesis": b"mine",
    f"digests/{SIGNATURE}": b"a chapter of a thesis\nin lines",
    f"unreadable/{SIGNATURE}.json": b'{"a": 1}',
    f"scans/{SIGNATURE}.npz": b"PK no archive",
    "cub/images/a.jpg": b"photo",
    "runs.tmp": b"mine",
}


def test_in_a_data_root_that_is_named_as_the_cache_nothing_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = made(tmp_path / "data", DATA_ROOT)
    monkeypatch.setenv("ZSLKIT_CACHE", str(root))
    assert {kind for kind, _ in kinds(root).values()} == {"foreign"}
    for arguments in (["--all"], ["--partial"], ["--matching", "*"], ["--older-than", "0"]):
        clean(capsys, *arguments)
    assert {
        p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()
    } == DATA_ROOT


def test_what_zslkit_makes_is_known_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    images = photos(tmp_path / "photos", 5)
    store_of(images)
    table = Semantics(np.eye(2, dtype=np.float32), ("x", "y"))
    split = Split(np.array([0, 1]), np.array([2]), np.array([3, 4]))
    readable(
        Dataset("made-up", ("a", "b"), np.array([0, 0, 0, 1, 1]), split, table, images), Silent()
    )
    scan(images, Silent(), tmp_path / "cache" / "scans" / f"{images.stat_signature()}.npz")
    assert {kind for kind, _ in kinds(tmp_path / "cache").values()} == {
        "store",
        "digest",
        "unreadable",
    }
    clean(capsys, "--all")
    assert kinds(tmp_path / "cache") == {}


def test_a_name_that_nothing_has_and_contradicting_options_are_refused(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "clean", "--matching", "cup-*"]) == 2
    assert "is called 'cup-*'" in capsys.readouterr().err
    assert main(["data", "clean", "--all", "--partial"]) == 2
    assert kinds(cache) == EVERYTHING


def test_a_store_belongs_to_the_dataset_whose_whole_name_it_has() -> None:
    assert belongs(f"features/cub-{HEX}", "cub") and belongs(f"features/cub-{HEX}.partial", "cub")
    assert not belongs(f"features/cub-x-{HEX}", "cub") and not belongs(
        f"features/cub2010-{HEX}", "cub"
    )
