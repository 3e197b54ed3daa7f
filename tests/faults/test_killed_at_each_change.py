"""A command that is killed before any rename, removal or new folder: given again it ends as an
undisturbed one, and leaves nothing.

`benchmarks/kill_and_resume.py` does the same with real processes and SIGKILL.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from run_folders import make_run, random_scores

from zslkit.cli import app
from zslkit.runs.inventory import clear_left
from zslkit.utils import files

pytestmark = pytest.mark.slow

CHANGES = ("replace", "rename", "link", "unlink", "remove", "rmdir", "mkdir")
MOST = 200


class Killed(BaseException):
    """No handler can do anything after this: every further change raises it too."""


@contextmanager
def killed_at(number: int, swaps: bool) -> Iterator[list[int]]:
    """The change of that number, and all after it, raise. Gives a list whose length is the number
    of changes so far."""
    met: list[int] = []
    real = {(place, name): getattr(place, name) for place in [os] for name in CHANGES} | {
        (files, "_exchanged"): files._exchanged
    }

    def change(place: Any, name: str, *arguments: Any, **more: Any) -> Any:
        if name == "_exchanged" and not swaps:
            return False
        met.append(number)
        if len(met) >= number:
            raise Killed
        return real[place, name](*arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        for place, name in real:
            patch.setattr(
                place, name, lambda *a, place=place, name=name, **k: change(place, name, *a, **k)
            )
        yield met


def data(folder: Path) -> Path:
    """A card of four classes of four images, two of them unseen, and word vectors for its
    attributes."""
    rng, names = np.random.default_rng(0), ["ant", "bee", "cat", "dog"]
    for name in names:
        (folder / "images" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(
                folder / "images" / name / f"{i}.png"
            )
    rows = [",".join([name, *map(str, rng.random(3).round(3))]) for name in names]
    (folder / "attributes.csv").write_text("class,a,b,c\n" + "\n".join(rows) + "\n")
    (folder / "card.yaml").write_text(
        "name: four\nimages: images\nattributes: attributes.csv\nunseen: [cat, dog]\n"
        "features: {backbone: test_resnet, weights: random, size: 32}\n"
    )
    (folder / "v.txt").write_text("a 1 2\nb 3 4\nc 5 6\n")
    numbers = {"trainval_loc": [0, 1, 4, 5], "test_seen_loc": [2, 6], "test_unseen_loc": [8, 9]}
    held = {part: np.array(index) for part, index in numbers.items()} | {
        "labels": np.repeat([0, 1, 2], 4)[:10]
    }
    np.savez(
        folder / "x.npz",
        feature_map=rng.random((10, 3, 2, 2), dtype=np.float32),
        att=rng.random((3, 4)),
        **held,
    )
    return folder / "card.yaml"


def run(place: Path) -> list[str]:
    shutil.copytree(place.parent / "cache", place / "cache")
    few = [
        "--set",
        "train.epochs=2",
        "--set",
        "train.steps_per_epoch=1",
        "--set",
        "word_vectors=random",
    ]
    return [
        "run",
        "--model",
        "dazle",
        "--dataset",
        str(place.parent / "data" / "card.yaml"),
        "--out",
        str(place / "out"),
        *few,
    ]


def prepare(place: Path) -> list[str]:
    return ["data", "prepare", str(place.parent / "data" / "card.yaml")]


def imported(place: Path) -> list[str]:
    return ["data", "import", str(place.parent / "data" / "x.npz"), "--out", str(place / "out")]


def imported_again(place: Path) -> list[str]:
    assert app.main(imported(place)) == 0
    return [*imported(place), "--again"]


def words(place: Path) -> list[str]:
    return ["data", "words", str(place.parent / "data" / "card.yaml"), "--vectors", str(
        place.parent / "data" / "v.txt"), "--out",
            str(place / "out.npy")]  # fmt: skip


def words_again(place: Path) -> list[str]:
    (place / "other.txt").write_text("a 7 7\nb 7 7\nc 7 8\n")
    command = words(place)
    assert app.main([*command[:4], str(place / "other.txt"), *command[5:]]) == 0
    (place / "other.txt").unlink()
    return [*command, "--again"]


def report(place: Path) -> list[str]:
    make_run(place / "runs", "alpha", random_scores(1.0))
    return ["report", "--runs", str(place / "runs"), "--out", str(place / "page")]


def report_again(place: Path) -> list[str]:
    command = report(place)
    assert app.main([*command, "--title", "before"]) == 0
    return command


def tag(place: Path) -> list[str]:
    made = make_run(place / "runs", "alpha", random_scores(1.0))
    return ["runs", str(made), "--runs", str(place / "runs"), "--tag", "paper"]


def untag(place: Path) -> list[str]:
    command = tag(place)
    assert app.main(command) == 0
    return [*command[:-2], "--tag", "other"]


COMMANDS: list[Callable[[Path], list[str]]] = [
    run, prepare, imported, imported_again, words, words_again, report, report_again, tag, untag,
]  # fmt: skip


def left(place: Path) -> dict[str, Any]:
    """Every file's content; of a record and a log what does not tell the time."""
    found: dict[str, Any] = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.is_dir() or path.suffix == ".lock":
            found[name.partition(".lock")[0]] = None
        elif path.name == "record.json":
            record = json.loads(path.read_text())
            found[name] = {
                key: record[key]
                for key in ("identity", "metrics", "uncalibrated", "per_class", "protocol")
            }
        elif path.name in ("log.jsonl", "index.html", "report.json"):
            found[name] = "told apart by their times"
        else:
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("kills")
    data(root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSLKIT_CACHE", str(root / "cache"))
        assert app.main(["data", "prepare", str(root / "data" / "card.yaml")]) == 0
    return root


@pytest.mark.parametrize("swaps", [True, False], ids=["exchange", "two renames"])
@pytest.mark.parametrize("command", COMMANDS)
def test_it_ends_as_if_nothing_had_been(
    home: Path,
    command: Callable[[Path], list[str]],
    swaps: bool,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if not swaps and command not in (imported_again, report_again):
        pytest.skip("it replaces no folder")
    expected: dict[str, Any] = {}
    for number in (MOST, *range(1, MOST)):  # first undisturbed
        place = home / f"{command.__name__}{number}"
        place.mkdir()
        monkeypatch.setenv("ZSLKIT_CACHE", str(place / "cache"))
        arguments = command(place)
        with killed_at(number, swaps) as met:
            app.main(arguments)
        if not expected:
            assert len(met) < MOST
            expected = left(place)
        else:
            code = app.main(arguments)
            # Killed behind the last step, all is there, and two commands refuse to do it anew.
            assert code == 0 or (code == 2 and command in (imported, words)), (number, code)
            assert left(place) == expected, number
            assert (place / "runs").is_dir() is False or clear_left(place / "runs") == []
        shutil.rmtree(place)
        if len(met) < number < MOST:
            return
