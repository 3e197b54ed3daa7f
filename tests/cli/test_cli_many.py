"""`zslkit compare` and a search with several processes and with a cluster: real workers, some of
them killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from zslkit.runs.folders import find_runs

LIMIT = 300
"""Seconds for whatever a test waits for; a loaded machine is slow."""
SEEDS = 3
COMPARE = ["compare", "sje", "--seeds", f"0-{SEEDS - 1}", "--device", "cpu", "--json"]
COMPARE += [
    x
    for s in ("features.weights=random", "train.epochs=60", "protocol.tune=false")
    for x in ("--set", s)
]
COMPARE += [
    x for s in ("protocol.selection=last", "protocol.calibration=none") for x in ("--set", s)
]
TUNE = [
    "run",
    "-m",
    "sje",
    "--tune",
    "--device",
    "cpu",
    "--json",
    "--set",
    "features.weights=random",
    "--set",
    "train.epochs=4",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc"),
]


class Place:
    """Where the commands of this module run, each with an --out of its own and all with one cache
    and one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "ZSLKIT_CACHE": str(folder / "cache"),
        }

    def start(
        self, out: str, *arguments: str, what: Sequence[str] = COMPARE
    ) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "zslkit", *what, "--out", out, *arguments]
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell lets background jobs ignore Ctrl-C, which the commands would inherit.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def training(self, out: str) -> list[Path]:
        """The runs that have begun to train and are not finished."""
        return [c.parent for c in (self.folder / out).glob("*/*/*.partial/checkpoint.pt")]

    def tried(self, out: str) -> list[dict[str, Any]]:
        """The points of the one search below `out` that are known so far, in one order."""
        kept = next((self.folder / out).glob("*/*/*/search.json"), None)
        return (
            sorted(json.loads(kept.read_text()), key=lambda row: sorted(row["point"].items()))
            if kept
            else []
        )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out, err


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    until = time.monotonic() + LIMIT
    while not (found := what()):
        if process.poll() is not None:
            raise AssertionError(f"the command ended too early: {process.communicate()}")
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)
    return found


def children(pid: int) -> list[int]:
    """The processes that loky started for this one."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid and b"popen_loky" in command:
            found.append(int(folder.name))
    return found


def content(out: Path) -> dict[str, tuple[Any, ...]]:
    """Of each run: its figures, its scores and its weights to the byte."""
    return {
        f"seed {run.record.seed} {run.record.identity}": (
            run.record.metrics,
            run.record.environment.threads,
            (run.folder / "scores.npz").read_bytes(),
            (run.folder / "model.safetensors").read_bytes(),
        )
        for run in find_runs(out)
    }


def on_disk(path: Path) -> int:
    """When the file was written, in nanoseconds; 0 if it has gone."""
    return path.stat().st_mtime_ns if path.exists() else 0


def files(out: Path) -> dict[str, int]:
    return {
        str(p): p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def alone(place: Place) -> dict[str, tuple[Any, ...]]:
    """The runs as one process makes them."""
    code, _, err = end(place.start("alone"))
    assert code == 0, err
    made = content(place.folder / "alone")
    assert len(made) == SEEDS
    return made


def test_interrupted_and_killed_local_processes_cost_nothing_but_time(
    place: Place, alone: dict[str, tuple[Any, ...]]
) -> None:
    out = place.folder / "local"
    process = place.start("local", "--jobs", "2")
    wait_for(lambda: len(place.training("local")) == 2, process)
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    code, told, err = end(process)
    assert (code, told) == (130, "")
    assert "the same command resumes" in err and "Traceback" not in err
    until = time.monotonic() + LIMIT
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < until, "a worker lives on"
        time.sleep(0.05)
    assert place.training("local") and not list(out.glob(".jobs-*"))

    left = max((run / "checkpoint.pt").stat().st_mtime_ns for run in place.training("local"))
    process = place.start("local", "--jobs", "2")
    wait_for(
        lambda: any(on_disk(run / "checkpoint.pt") > left for run in place.training("local")),
        process,
    )
    os.kill(children(process.pid)[0], signal.SIGKILL)
    code, told, err = end(process)
    assert code == 0, err
    assert [row["seed"] for row in json.loads(told)["runs"]] == list(range(SEEDS))
    assert content(out) == alone
    assert all(f"sje, seed {seed}: H " in err for seed in range(SEEDS))

    before = files(out)
    code, _, err = end(place.start("local", "--jobs", "2"))
    assert code == 0 and err.count("was there") == SEEDS
    assert files(out) == before


@pytest.fixture
def cluster(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Dask cluster of two worker processes with one thread each."""
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(place.folder.parent)  # workers stand elsewhere, as on a cluster
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        memory_limit=None,
        host="127.0.0.1",
    ) as cluster:
        yield cluster


def test_a_killed_dask_worker_costs_one_run_its_unfinished_part(
    place: Place, alone: dict[str, tuple[Any, ...]], cluster: Any
) -> None:
    on_cluster = ["--backend", "dask", "--scheduler", cluster.scheduler_address]
    process = place.start("dask", *on_cluster)
    wait_for(lambda: len(place.training("dask")) == 2, process)
    os.kill(cluster.workers[0].pid, signal.SIGKILL)
    code, out, err = end(process)
    assert code == 0, err
    assert [row["seed"] for row in json.loads(out)["runs"]] == list(range(SEEDS))
    assert content(place.folder / "dask") == alone


@pytest.fixture(scope="module")
def searched(place: Place) -> tuple[list[dict[str, Any]], dict[str, tuple[Any, ...]]]:
    """The points and the run of a search as one process makes them."""
    code, _, err = end(place.start("searched", what=TUNE))
    assert code == 0, err
    assert len(place.tried("searched")) > 4
    return place.tried("searched"), content(place.folder / "searched")


def test_a_search_is_spread_and_a_killed_process_costs_the_point_that_it_tried(
    place: Place, searched: Any
) -> None:
    process = place.start("trials", "--jobs", "2", what=TUNE)
    wait_for(lambda: place.tried("trials"), process)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    code, _, err = end(process)
    assert code == 0, err
    assert (place.tried("trials"), content(place.folder / "trials")) == searched
    assert not list((place.folder / "trials").glob(".jobs-*"))


def test_a_search_is_spread_over_a_cluster(place: Place, searched: Any, cluster: Any) -> None:
    process = place.start(
        "far", "--backend", "dask", "--scheduler", cluster.scheduler_address, what=TUNE
    )
    code, _, err = end(process)
    assert code == 0, err
    assert (place.tried("far"), content(place.folder / "far")) == searched
