"""How commands end: by signals, by plugins that try to end them, and what plugins print, in
processes of their own."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from ending_plugins import ENTRIES, LOADED, PLUGIN

from zslkit.cli import app, spread
from zslkit.cli.failure import State, exit_code_of
from zslkit.cli.worker import BEGUN, Order, Site, WorkerReply
from zslkit.errors import UserError
from zslkit.registry import rescan

pytestmark = pytest.mark.slow

LIMIT = 240
"""Seconds for whatever a test waits for; a loaded machine is slow."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stranger's distribution, as an installer leaves it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "ending_plugin.py").write_text(PLUGIN)
    (folder / "ending_loaded.py").write_text(LOADED)
    facts = folder / "zslkit_ending-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: zslkit-ending\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(ENTRIES)
    return folder


@pytest.fixture
def here(site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The distribution as this process sees it."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    rescan()
    yield
    monkeypatch.undo()
    rescan()
    for name in ("ending_plugin", "ending_loaded"):
        sys.modules.pop(name, None)


HOWS = (
    "exit",
    "interrupt",
    "generator",
    "odd",
    "hard",
    "click",
    "abort",
    "file",
    "unreadable",
    "free",
)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("how", HOWS)
def test_no_plugin_ends_a_run_with_success(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUIT", how)
    for model in ("quits", "quits-made", "quits-scoring", "quits-loaded"):
        assert app.main(["run", "-m", model, "-d", "ending-tiny", "--json"]) == 1
        told = capsys.readouterr()
        assert told.out == ""
        last = told.err.splitlines()[-1]
        assert (
            last.startswith("zslkit: ")
            and "Interrupted" not in last
            and "Traceback" not in told.err
        )
        if how in ("exit", "interrupt", "generator", "odd", "hard"):
            assert model in last
        sys.modules.pop("ending_loaded", None)


@pytest.mark.usefixtures("here")
def test_the_other_models_of_a_comparison_are_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUIT", "exit")
    names = ["quits", "quits-made", "quits-loaded", "good"]
    assert app.main(["compare", *names, "-d", "ending-tiny", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in told["runs"]] == ["good"]
    assert {row["model"] for row in told["failures"]} == set(names) - {"good"}
    assert all("SystemExit: 0" in row["reason"] for row in told["failures"])


@pytest.mark.usefixtures("here")
def test_check_goes_on_after_a_plugin_that_calls_exit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUIT", "exit")
    assert (
        app.main(["check", "quits", "--only", "declared_inputs", "--only", "citation", "--json"])
        == 1
    )
    told = {row["check"]: row for row in json.loads(capsys.readouterr().out)["results"]}
    assert (
        "SystemExit: 0" in told["declared_inputs"]["message"]
        and told["citation"]["status"] == "passed"
    )


@pytest.mark.parametrize("code", [0, 256, True, "x", None])
def test_a_failure_has_no_code_that_a_shell_takes_for_success(
    code: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    error = UserError("a")
    error.exit_code = code
    assert exit_code_of(error, State()) == 1
    assert exit_code_of(SystemExit(0), State()) == 1
    capsys.readouterr()


def test_commands_print_results_where_plugins_do_not_write() -> None:
    commands = Path(app.__file__).parent
    calls = []
    for file in commands.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())) if file.name != "output.py" else ():
            call = ast.unparse(node) if isinstance(node, ast.Call) else ""
            prints = call.startswith(("click.echo(", "sys.stdout.write("))
            if prints and "err=True" not in call and "get_help" not in call:
                calls.append(f"{file.relative_to(commands)}: {call}")
    assert calls == [], (
        "echo of zslkit.cli.output prints results; click.echo inside a command goes to standard "
        "error"
    )


class Start:
    """Starts zslkit in processes of their own, with a stranger's plugin and the signals of a
    terminal."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(site),
            "OMP_NUM_THREADS": "1",
            "ZSLKIT_CACHE": str(folder / "cache"),
        }

    def __call__(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        def fresh() -> None:  # a shell's background jobs ignore them, and so would theirs
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(signum, signal.SIG_DFL)

        return subprocess.Popen(
            [sys.executable, "-P", "-m", "zslkit", *arguments, "--out", name],
            env=self.environment | {"MARK": str(self.folder / f"{name}.mark")},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=fresh,
            start_new_session=True,
        )

    def pids(self, name: str) -> list[int]:
        """The processes that have begun to train."""
        mark = self.folder / f"{name}.mark"
        return [int(line) for line in mark.read_text().split()] if mark.exists() else []


def until(what: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + LIMIT
    while not what():
        assert process is None or process.poll() is None, (
            f"the command ended too early: {process.communicate()}"
        )
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended; a container may leave it unburied."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def start(tmp_path: Path, site: Path) -> Start:
    return Start(tmp_path, site)


posix = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="sends signals and looks into /proc"
)


@posix
def test_the_result_is_alone_on_standard_output_and_no_thread_keeps_the_command(
    start: Start,
) -> None:
    process = start("out", "run", "-m", "leaves", "-d", "ending-tiny", "--json")
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    assert json.loads(out)["metrics"]["H"] == 100
    assert all(
        words in err for words in ("printed", "written to the descriptor", "put by native code")
    )


@posix
@pytest.mark.slow
def test_signals_end_a_command_with_one_sentence_and_their_code(start: Start) -> None:
    run = ("run", "-m", "sleeps", "-d", "ending-tiny")
    ends: Sequence[tuple[str, Sequence[str], int, list[int]]] = (
        ("term", run, 143, [signal.SIGTERM]),
        ("twice", run, 130, [signal.SIGINT, signal.SIGINT]),
        (
            "jobs",
            ("compare", "sleeps", "-d", "ending-tiny", "--seeds", "0,1", "--jobs", "2"),
            129,
            [signal.SIGHUP],
        ),
        ("shared", (*run, "--processes", "2"), 130, [signal.SIGINT]),
        (
            "lost",
            ("compare", "sleeps", "-d", "ending-tiny", "--seeds", "0,1", "--jobs", "2"),
            -9,
            [signal.SIGKILL],
        ),
    )
    started = {name: start(name, *arguments) for name, arguments, _, _ in ends}
    for name, arguments, code, signals in ends:
        process = started[name]
        until(lambda name=name, many="--jobs" in arguments: len(start.pids(name)) > many, process)  # type: ignore[misc]
        for signum in signals:
            process.send_signal(signum)
        out, err = process.communicate(timeout=LIMIT)
        assert (process.returncode, out) == (code, ""), (name, err)
        sentences = [line for line in err.splitlines() if line.startswith("zslkit: ")]
        assert len(sentences) == (code > 0) and "Traceback" not in err, (name, err)
        assert all("Interrupted" in s and "the same command resumes" in s for s in sentences)
        until(lambda name=name: all(map(gone, start.pids(name))))  # type: ignore[misc]
        until(lambda name=name: not list((start.folder / name).glob(".jobs-*")))  # type: ignore[misc]


@posix
def test_the_guarded_reader_of_hdf5_ends_with_whoever_started_it(tmp_path: Path) -> None:
    import h5py
    import numpy as np

    from zslkit.readers import hdf5_child

    with h5py.File(tmp_path / "large.h5", "w") as file:
        file["features"] = np.ones((1 << 20, 2), np.float32)  # more than a pipe holds
    command = [
        sys.executable,
        hdf5_child.__file__,
        str(tmp_path / "large.h5"),
        "[]",
        '["features"]',
        "[]",
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    assert any(b"features" in process.stdout.readline() for _ in range(3))
    process.stdin.close()
    assert process.wait(LIMIT) == 1
    process.stdout.close()


def test_a_run_that_ends_its_worker_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[int]] = []

    def worker(orders: Sequence[Order], how: spread.Spread, site: Site) -> Iterator[WorkerReply]:
        given.append([order.number for order in orders])
        if any(
            order.number == 1 for order in orders
        ):  # which loses its worker, and the one beside it
            for order in orders[:2]:
                Path(site.markers[0]).with_name(f"{BEGUN}{order.number}").touch()
            raise spread.Lost("a process ended: EXIT(0)")
        yield from (WorkerReply(order.number, folder="there") for order in orders)

    monkeypatch.setattr(spread, "_given_out", worker)
    arguments = [{"device": "cpu", "data_root": tmp_path, "out": tmp_path}] * 4
    answers = {a.number: a for a in spread.answers(arguments, spread.Spread(jobs=2), debug=False)}
    assert {n: a.folder for n, a in answers.items()} == {0: "there", 1: "", 2: "there", 3: "there"}
    assert "ended by itself with exit code 0" in answers[1].sentence
    assert given == [[0, 1, 2, 3], [0, 1, 2, 3], [0], [1], [2, 3]]


def test_a_command_keeps_click_s_own_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0 and app.main(["models", "--help"]) == 0
    assert exit_code_of(click.Abort(), State()) == 130
    capsys.readouterr()
