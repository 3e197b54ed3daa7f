"""`kill_and_resume.py --at-renames`: SIGKILL before the first rename of a command, before its
second, and so on.

The command then is given again, and what it leaves must be what an undisturbed one leaves, to the
byte (times of day and the log of
a run apart), with nothing beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zslkit.cli import app
from zslkit.page import write  # noqa: F401
from zslkit.utils import files

MOST = 100


def data(folder: Path) -> None:
    """Four classes of four images, word vectors for their attributes, and features of another
    program."""
    from PIL import Image

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
    (folder / "w.txt").write_text("a 7 7\nb 7 7\nc 7 8\n")
    parts = {"trainval_loc": [0, 1, 4, 5], "test_seen_loc": [2, 6], "test_unseen_loc": [8, 9]}
    held = {part: np.array(index) for part, index in parts.items()} | {
        "labels": np.repeat([0, 1, 2], 4)[:10]
    }
    np.savez(
        folder / "x.npz",
        feature_map=rng.random((10, 3, 2, 2), dtype=np.float32),
        att=rng.random((3, 4)),
        **held,
    )


Work = Callable[[Path], list[list[str]]]
"""From the folder of a trial to commands, of which the last is killed; it lies beside `data`."""

FEW = [
    "--set",
    "train.epochs=2",
    "--set",
    "train.steps_per_epoch=1",
    "--set",
    "word_vectors=random",
]


def run(place: Path) -> list[list[str]]:
    return [["run", "--model", "dazle", "--dataset", "../data/card.yaml", "--out", "runs", *FEW]]


def prepare(place: Path) -> list[list[str]]:
    return [["data", "prepare", "../data/card.yaml"]]


def import_(place: Path) -> list[list[str]]:
    command = ["data", "import", "../data/x.npz", "--out", "out"]
    return [command, [*command, "--again"]]


def words(place: Path) -> list[list[str]]:
    return [
        ["data", "words", "../data/card.yaml", "--vectors", "../data/v.txt", "--out", "out.npy"]
    ]


def words_again(place: Path) -> list[list[str]]:
    (first,) = words(place)
    return [[*first[:4], "../data/w.txt", *first[5:]], [*first, "--again"]]


def report(place: Path) -> list[list[str]]:
    shutil.copytree(place.parent / "made" / "runs", place / "runs")
    command = ["report", "--runs", "runs", "--out", "page"]
    return [[*command, "--title", "before"], command]


def tags(place: Path) -> list[list[str]]:
    shutil.copytree(place.parent / "made" / "runs", place / "runs")
    (made,) = (place / "runs").glob("*/*/seed0-*[0-9a-f]")
    command = ["runs", str(made.relative_to(place)), "--runs", "runs", "--tag"]
    return [[*command, "paper"], [*command, "other"]]


WORKS: dict[str, tuple[Work, bool]] = {
    "run": (run, True),
    "prepare": (prepare, True),
    "import": (import_, True),
    "import in two renames": (import_, False),
    "words": (words, True),
    "words --again": (words_again, True),
    "report": (report, True),
    "report in two renames": (report, False),
    "tags": (tags, True),
}
"""Name -> the work, and whether folders change places in one step."""


def main(names: list[str], as_json: bool) -> int:
    """Do the works (default: all), print what came of them, and return the exit code."""
    results: dict[str, Any] = {}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="zslkit-renames-") as root:
        home = Path(root)
        data(home / "data")
        (home / "made").mkdir()
        for command in run(home / "made"):
            _give(command, home / "made")
        for name, (work, swaps) in WORKS.items():
            if names and name.split()[0] not in names:
                continue
            kills, wrong = trials(home, work, swaps)
            results[name] = {"kills": kills, "identical": kills - len(wrong), "wrong": wrong}
            if not as_json:
                print(
                    f"{name}: {kills} kills, {kills - len(wrong)} identical afterwards",
                    *wrong,
                    sep="\n    ",
                    flush=True,
                )
    if as_json:
        print(json.dumps(results, indent=1))
    return int(any(result["wrong"] for result in results.values()))


def trials(home: Path, work: Work, swaps: bool) -> tuple[int, list[str]]:
    """Kill before each rename in turn; how often, and what differed afterwards."""
    expected, wrong = None, []
    for number in range(MOST):
        place = home / "trial"
        place.mkdir()
        *before, command = work(place)
        for first in before:
            _give(first, place)
        code = _give(command, place, number, swaps)
        killed = code == -signal.SIGKILL
        if number == 0:
            expected = left(place)
        elif killed:
            again = _give(command, place)
            found = left(place)
            if again not in (0, 2) or found != expected:
                differing = sorted(
                    k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k)
                )
                wrong.append(f"before rename {number}: exit code {again}, {', '.join(differing)}")
        shutil.rmtree(place)
        if number and not killed:
            return number - 1, wrong
    raise RuntimeError(f"over {MOST} renames")


def _give(command: list[str], place: Path, at: int = 0, swaps: bool = True) -> int:
    """Exit code of the command, given in a process of its own. at: the rename before which it is
    killed, 0 for none."""
    child = os.fork()  # all is imported already, so that a trial takes a second
    if child == 0:
        code = 1
        try:
            os.chdir(place)
            os.environ["ZSLKIT_CACHE"] = str(place / "cache")
            output = os.open(place.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if at:
                _kill_before(at, swaps)
            code = app.main(command)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 2, -signal.SIGKILL):
        print((place.parent / "output").read_text(), file=sys.stderr)
    return code


def _kill_before(number: int, swaps: bool) -> None:
    """End this process before its rename of that number. swaps: folders may change places in one
    step, which counts as a rename."""
    left_over = number

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal left_over
            left_over -= 1
            if left_over == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*arguments, **more)

        return call

    os.replace, os.rename = counted(os.replace), counted(os.rename)  # type: ignore[assignment]
    files._exchanged = counted(files._exchanged) if swaps else lambda one, other: False


def left(place: Path) -> dict[str, Any]:
    """Every file and folder, by name, with its content as far as that does not tell the time. Locks
    stay, and may."""
    found: dict[str, Any] = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.suffix == ".lock":
            continue
        if path.is_dir():
            found[name] = "a folder"
        elif path.name == "record.json":
            record = json.loads(path.read_text())
            found[name] = {
                key: record[key]
                for key in ("identity", "metrics", "uncalibrated", "per_class", "protocol")
            }
        else:
            timely = path.name in ("log.jsonl", "index.html", "report.json")
            found[name] = "" if timely else path.read_bytes()
    return found
