"""The cache is told as it is, and nothing is removed that zslkit did not make, that is in use, or that lies elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from zslkit.cli.app import main
from zslkit.data.cache import belongs, contents, remove
from zslkit.errors import DataError

HEX = "0123456789abcdef"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store, a partial one, weights, a digest, an unfinished file, and things that are not zslkit's."""
    root = tmp_path / "cache"
    monkeypatch.setenv("ZSLKIT_CACHE", str(root))
    for file, size in {
        f"features/cub-{HEX}/maps.npy": 1000,
        f"features/cub-{HEX}/manifest.json": 24,
        f"features/cub-{HEX}.lock": 0,
        f"features/sun-{HEX}.partial/maps.npy": 500,
        f"xlsa17/{HEX}/features.npy": 800,
        f"weights/digits-{HEX}.safetensors": 70,
        "digests/aa": 32,
        "digests/bb.77.new": 3,
        "thesis/chapter.txt": 9,
        "notes.txt": 5,
    }.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x" * size)
    return root


def kinds(root: Path) -> dict[str, tuple[str, int]]:
    return {item.name: (item.kind, item.size) for item in contents(root)}


EVERYTHING = {
    f"features/cub-{HEX}": ("store", 1024),
    f"features/sun-{HEX}.partial": ("partial store", 500),
    f"xlsa17/{HEX}": ("converted", 800),
    f"weights/digits-{HEX}.safetensors": ("weights", 70),
    "digests/aa": ("digest", 32),
    "digests/bb.77.new": ("leftover", 3),
    "thesis": ("unknown", 9),
    "notes.txt": ("unknown", 5),
}


def test_the_cache_is_listed_with_kinds_and_sizes(cache: Path) -> None:
    assert kinds(cache) == EVERYTHING
    assert contents(cache / "nowhere") == []


def clean(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["data", "clean", "--json", *arguments]) == 0
    items: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["items"]
    return items


def test_listing_and_a_dry_run_remove_nothing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(clean(capsys)) == len(EVERYTHING)
    gone = clean(capsys, "--all", "--dry-run")
    assert {i["name"] for i in gone} == {name for name, (kind, _) in EVERYTHING.items() if kind != "unknown"}
    assert {i["outcome"] for i in gone} == {"would be removed"} and kinds(cache) == EVERYTHING


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        (["--remove", "cub-*"], {f"features/cub-{HEX}"}),
        (["--remove", "features/*"], {f"features/cub-{HEX}", f"features/sun-{HEX}.partial"}),
        (["--partial"], {f"features/sun-{HEX}.partial", "digests/bb.77.new"}),
        (["--remove", "features/*", "--partial"], {f"features/sun-{HEX}.partial"}),
        (["--all"], {name for name, (kind, _) in EVERYTHING.items() if kind != "unknown"}),
        (["--older-than", "1"], set()),
    ],
)
def test_what_is_asked_for_is_removed_and_nothing_else(
    cache: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], gone: set[str]
) -> None:
    assert {item["name"] for item in clean(capsys, *arguments)} == gone
    assert set(kinds(cache)) == set(EVERYTHING) - gone


def test_age_is_counted_from_the_last_use_of_any_file(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = time.time() - 10 * 86400
    for name in (f"features/cub-{HEX}/maps.npy", f"features/sun-{HEX}.partial/maps.npy", "notes.txt"):
        os.utime(cache / name, (old, old))
    assert [item["name"] for item in clean(capsys, "--older-than", "9", "--dry-run")] == [f"features/sun-{HEX}.partial"]
    assert clean(capsys, "--older-than", "11") == []


def test_what_another_process_holds_is_left_alone_and_said(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys, filelock; l = filelock.FileLock(sys.argv[1]); l.acquire(); print('held', flush=True); sys.stdin.read()"
    lock = cache / "features" / f"sun-{HEX}.lock"
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert [i.name for i in contents(cache) if i.in_use] == [f"features/sun-{HEX}.partial"]
        (item,) = clean(capsys, "--remove", "sun-*")
        assert item["outcome"] == "left alone: it is in use"
        assert main(["data", "clean", "--partial"]) == 0
        assert "is in use" in capsys.readouterr().err
        assert f"features/sun-{HEX}.partial" in kinds(cache)
    finally:
        holder.communicate()
    clean(capsys, "--partial")
    assert f"features/sun-{HEX}.partial" not in kinds(cache)


def test_links_are_neither_followed_nor_removed(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outside = tmp_path / "photos"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "mine.jpg").write_bytes(b"x" * 100)
    (cache / "features" / f"apy-{HEX}").symlink_to(outside, target_is_directory=True)
    (cache / "scans").symlink_to(outside, target_is_directory=True)
    (cache / "features" / f"cub-{HEX}" / "link").symlink_to(outside, target_is_directory=True)
    assert kinds(cache)["scans"][0] == kinds(cache)[f"features/apy-{HEX}"][0] == "link"
    clean(capsys, "--all")
    (item,) = clean(capsys, "--remove", "apy-*")
    assert item["outcome"] == "left alone"
    assert (outside / "deep" / "mine.jpg").is_file() and (cache / "scans").is_symlink()
    assert not (cache / "features" / f"cub-{HEX}").exists()


def test_what_is_not_ours_is_refused_by_name(cache: Path) -> None:
    thesis = next(item for item in contents(cache) if item.name == "thesis")
    with pytest.raises(DataError, match="nothing that zslkit put there"):
        remove(cache, thesis)
    store = next(item for item in contents(cache) if item.kind == "store")
    with pytest.raises(DataError, match="leads out of the cache"):
        remove(cache / "weights", store)
    with FileLock(cache / "features" / f"cub-{HEX}.lock"), pytest.raises(DataError, match="in use"):
        remove(cache, store)
    assert kinds(cache) == EVERYTHING


def test_a_name_that_nothing_has_and_contradicting_options_are_refused(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "clean", "--remove", "cup-*"]) == 2
    assert "is called 'cup-*'" in capsys.readouterr().err
    assert main(["data", "clean", "--all", "--partial"]) == 2
    assert kinds(cache) == EVERYTHING


def test_a_store_belongs_to_the_dataset_whose_whole_name_it_has() -> None:
    assert belongs(f"features/cub-{HEX}", "cub") and belongs(f"features/cub-{HEX}.partial", "cub")
    assert not belongs(f"features/cub-x-{HEX}", "cub") and not belongs(f"features/cub2010-{HEX}", "cub")
