"""Kill a command at random moments or at each rename, give the same command again, and hold the
outcome against an undisturbed one.

    python benchmarks/kill_and_resume.py [extraction|dedn|apn|cadavae|compare ...] [--kills N]
    [--seed N] [--json]
    python benchmarks/kill_and_resume.py --at-renames [run|prepare|import|words|report|tags ...]
    [--json]

Each work is done once undisturbed, with folders of its own. Then, N times: the same command starts
in empty folders, SIGKILL takes
the whole process group at a random moment of its work (importing libraries is no work), the same
command is given again and ends,
and what it leaves must be the same to the last bit: metrics, scores and weights of every run, every
byte of the feature store.
One thread each, since sums depend on the number of threads. The built-in dataset; a network of
random weights extracts.

extraction: `data prepare`; dedn: frozen maps; apn: from images, its backbone trained along;
    cadavae: a training of its own, in
stages; compare: two models, two seeds. Exit code 1 if any outcome differs or any second command
fails.

--at-renames: SIGKILL takes the process before its first rename of a file or folder, then before its
second, and so on until it ends
undisturbed (kills_at_renames.py); tiny inputs, and folders are replaced in both ways, in one step
and in two renames.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMON = ["--dataset", "digits", "--set", "features.weights=random", "--seed", "3"]
NAMED = ["--set", "features.weights=random", "--dtype", "float32"]


@dataclass(frozen=True)
class Work:
    """arguments: of zslkit. own_cache: its feature store is part of the work, not made
    beforehand."""

    arguments: list[str]
    own_cache: bool = False


WORKS = {
    "extraction": Work(
        ["data", "prepare", "digits", "--backbone", "lcnet_100", *NAMED], own_cache=True
    ),
    "dedn": Work(
        [
            "run",
            "--model",
            "dedn",
            *COMMON,
            "--set",
            "train.epochs=6",
            "--set",
            "train.steps_per_epoch=12",
        ]
    ),
    "apn": Work(
        [
            "run",
            "--model",
            "apn",
            *COMMON,
            "--input",
            "image",
            "--set",
            "train.epochs=6",
            "--set",
            "train.steps_per_epoch=3",
        ]
    ),
    "cadavae": Work(
        ["run", "--model", "cadavae", *COMMON, "--set", "epochs=8", "--set", "classifier.epochs=3"]
    ),
    "compare": Work(
        [
            "compare",
            "dazle",
            "sje",
            *COMMON[:-2],
            "--seeds",
            "0,1",
            "--set",
            "train.epochs=4",
            "--set",
            "train.steps_per_epoch=10",
        ]
    ),
}


@dataclass
class Tally:
    """kills: that met the work under way. met: what was there at the kill. wrong: what differed
    afterwards."""

    kills: int = 0
    met: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    arguments = _arguments()
    if arguments.at_renames:
        import kills_at_renames

        return kills_at_renames.main(arguments.works, arguments.json)
    dice = random.Random(arguments.seed)
    results: dict[str, Any] = {}
    for name in arguments.works or WORKS:
        tally = trials(WORKS[name], arguments.kills, dice)
        met = ", ".join(f"{count} {what}" for what, count in sorted(tally.met.items()))
        same = tally.kills - len(tally.wrong)
        results[name] = {
            "kills": tally.kills,
            "identical": same,
            "met": dict(tally.met),
            "wrong": tally.wrong,
        }
        if not arguments.json:
            print(f"{name}: {tally.kills} kills, {same} identical afterwards ({met})", flush=True)
            for line in tally.wrong:
                print(f"    {line}", flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))
    return int(any(r["wrong"] or r["kills"] < arguments.kills for r in results.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "works", nargs="*", help=f"default: all; {', '.join(WORKS)}, or those of --at-renames"
    )
    parser.add_argument("--at-renames", action="store_true")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.at_renames and (
        strange := [work for work in arguments.works if work not in WORKS]
    ):
        parser.error(f"there is no work {strange[0]}")
    return arguments


def trials(work: Work, kills: int, dice: random.Random) -> Tally:
    """`kills` times killed and given again. A kill that comes after the end is drawn again, up to
    as many times."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="zslkit-kills-") as root:
        home = Path(root)
        shared = home / "cache"
        if not work.own_cache:
            _finish(
                work, home / "first", shared
            )  # fills the cache, which is no part of what is killed
        reference, span = _finish(work, home / "reference", None if work.own_cache else shared)
        for trial in range(2 * kills):
            if tally.kills == kills:
                break
            place = home / f"trial{trial}"
            met = _killed(work, place, None if work.own_cache else shared, dice.uniform(0, span))
            if met is None:
                continue
            tally.kills += 1
            tally.met[met] += 1
            try:
                outcome, _ = _finish(work, place, None if work.own_cache else shared)
            except RuntimeError as error:
                tally.wrong.append(f"killed {met}: {error}")
                continue
            if outcome != reference:
                differing = sorted(
                    k
                    for k in outcome.keys() | reference.keys()
                    if outcome.get(k) != reference.get(k)
                )
                tally.wrong.append(f"killed {met}: {', '.join(differing)}")
    return tally


def _start(work: Work, place: Path, cache: Path | None) -> subprocess.Popen[bytes]:
    place.mkdir(exist_ok=True)
    out = [] if work.own_cache else ["--out", str(place / "runs")]
    environment = {
        **os.environ,
        "ZSLKIT_CACHE": str(cache or place / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    log = (place / "stderr").open("ab")
    return subprocess.Popen(
        [sys.executable, "-m", "zslkit", *work.arguments, *out],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=log,
        start_new_session=True,
    )


def _finish(work: Work, place: Path, cache: Path | None) -> tuple[dict[str, str], float]:
    """What the command leaves, by name, and the seconds from its first file to its end. Raises
    RuntimeError if it fails."""
    child = _start(work, place, cache)
    _until_begun(child, work, place)
    began = time.monotonic()
    if child.wait() != 0:
        raise RuntimeError(
            f"exit code {child.returncode}: "
            f"{(place / 'stderr').read_text().strip().splitlines()[-1:]}"
        )
    return dict(_left(work, place)), time.monotonic() - began


def _killed(work: Work, place: Path, cache: Path | None, seconds: float) -> str | None:
    """Kill the command `seconds` after its first file; what was there then, None if it had
    ended."""
    child = _start(work, place, cache)
    _until_begun(child, work, place)
    time.sleep(seconds)
    os.killpg(child.pid, signal.SIGKILL)
    return _met(work, place) if child.wait() == -signal.SIGKILL else None


def _until_begun(child: subprocess.Popen[bytes], work: Work, place: Path) -> None:
    while child.poll() is None and not any(_folder(work, place).glob("**/*.partial")):
        time.sleep(0.005)


def _folder(work: Work, place: Path) -> Path:
    return place / "cache" / "features" if work.own_cache else place / "runs"


def _met(work: Work, place: Path) -> str:
    """What the kill had before it, in words."""
    partial = next(_folder(work, place).glob("**/*.partial"), None)
    if partial is None:
        return "between two files or after the last"
    marks = sorted(p.name for p in partial.iterdir())
    if "record.json" in marks or "scores.npz" in marks:
        return "while results were written"
    return (
        "after a checkpoint"
        if "done" in marks or any(m.endswith(".pt") for m in marks)
        else "before any checkpoint"
    )


def _left(work: Work, place: Path) -> Iterator[tuple[str, str]]:
    """Name and digest of all that must be the same. Seconds, dates and checkpoints' leftovers are
    not in it."""
    folder = _folder(work, place)
    for path in sorted(folder.glob("**/*")):
        name = path.relative_to(folder).as_posix()
        if path.name == "record.json":
            record = json.loads(path.read_text())
            for key in (
                "identity",
                "metrics",
                "uncalibrated",
                "optimistic",
                "per_class",
                "protocol",
            ):
                yield f"{name}:{key}", json.dumps(record[key], sort_keys=True)
        elif path.is_file() and path.name.split(".")[0] in {
            "model",
            "scores",
            "maps",
            "pooled",
            "manifest",
        }:
            yield name, hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.suffix == ".partial":
            yield name, "half-written"


if __name__ == "__main__":
    sys.exit(main())
