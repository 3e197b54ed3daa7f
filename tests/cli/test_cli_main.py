"""The command line from outside: help, listings, mistakes, exit codes, and what it does not
import."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import pytest

from zslkit import __version__
from zslkit.cli import app
from zslkit.cli.failure import State, exit_code_of
from zslkit.errors import DataError, TrainingError, UserError

Command = Callable[..., "subprocess.CompletedProcess[str]"]

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "sklearn",
    "scipy",
    "matplotlib",
    "pydantic",
    "numpy",
    "yaml",
    "rich",
    "zslkit_dedn",
    "baselines",
)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["models"],
        ["datasets"],
        ["models", "--json"],
        ["models", "nosuch"],
        ["run", "--help"],
        ["nosuch"],
    ],
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    program = f"""
import sys
from zslkit.cli.app import main
main({arguments!r})
loaded = sorted(set({HEAVY!r}) & set(sys.modules))
sys.exit(f"imported: {{loaded}}" if loaded else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_help_names_every_command_and_every_command_has_help(zslkit: Command) -> None:
    top = zslkit("--help")
    assert (top.returncode, top.stderr) == (0, "")
    whole = click.Context(app.cli)
    for command in app.cli.list_commands(whole):
        assert command in top.stdout
        found = app.cli.get_command(whole, command)
        inner = found.list_commands(whole) if isinstance(found, click.Group) else None
        for words in [(command,)] if inner is None else [(command, name) for name in inner]:
            help_text = zslkit(*words, "--help")
            assert (help_text.returncode, help_text.stderr) == (0, "")
            assert "--json" in help_text.stdout
            assert "--debug" in help_text.stdout
        if inner is not None:
            of_group = zslkit(command, "--help")
            assert (of_group.returncode, of_group.stderr) == (0, "")
            assert all(name in of_group.stdout for name in inner)


def test_version_and_no_command(zslkit: Command) -> None:
    assert zslkit("--version").stdout == f"zslkit {__version__}\n"
    assert zslkit().stdout == zslkit("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["modles"], "There is no command 'modles'; did you mean \"models\"? See: zslkit --help"),
        (["models", "--jsn"], "--json"),
        (["--versoin"], "--version"),
        (["run"], "--model"),
        (["run", "--model", "dednn"], "There is no model 'dednn'; did you mean \"dedn\""),
        (
            ["run", "--model", "dedn", "--dataset", "digit"],
            "There is no dataset 'digit'; did you mean \"digits\"",
        ),
        (["run", "--model", "dedn", "--seed", "-1"], "--seed"),
        (["compare", "dedn", "apm"], "There is no model 'apm'"),
        (["compare", "dedn", "--seeds", "1-x"], "'1-x' is no list of seeds"),
        (["compare", "dedn", "--seeds", "0-999999999999"], "more than 1000 seeds"),
        (["compare", "dedn", "--json", "--markdown"], "exclude each other"),
        (["models", "dednn"], "did you mean"),
        (["config", "nosuch"], "There is no model 'nosuch'"),
        (
            ["config", "eszsl", "digits", "--set", "protocl.tune=true"],
            'did you mean "protocol.tune"',
        ),
        (["config", "eszsl", "digits", "--set", "feature.size=64"], 'did you mean "features.size"'),
    ],
)
def test_mistakes_are_told_in_one_line_with_code_2(
    zslkit: Command, arguments: list[str], words: str
) -> None:
    done = zslkit(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("zslkit: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_lists_are_complete_and_json_is_one_object(zslkit: Command) -> None:
    told = json.loads(zslkit("models", "--json").stdout)["models"]
    assert {"dedn", "apn", "dazle", "eszsl"} <= {m["name"] for m in told}
    (eszsl,) = (m for m in told if m["name"] == "eszsl")
    assert eszsl["inputs"] == ["pooled"]
    assert eszsl["distribution"] == "zslkit"
    assert "2015" in eszsl["citation"]
    sets = json.loads(zslkit("datasets", "--json").stdout)["datasets"]
    assert {"digits", "cub", "sun", "awa2", "cub2010"} <= {d["name"] for d in sets}
    (cub,) = (d for d in sets if d["name"] == "cub")
    assert cub["title"] == "CUB"


def test_one_model_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["models", "dazle", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    keys = {s["key"]: s for s in told["settings"]}
    assert keys["train.lr"]["rule"] == "> 0, <= 1000000"
    assert keys["train.epochs"]["type"] == "integer"
    assert {"features.backbone", "protocol.tune", "attributes"} <= set(keys)
    assert told["presets"]
    assert app.main(["models", "dazle"]) == 0
    text = capsys.readouterr().out
    for words in ("dazle", "train.lr", "features.backbone", "citation:"):
        assert words in text


def test_a_reader_who_goes_away_is_no_failure_to_speak_of() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "zslkit", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait()
    process.stderr.close()


def full() -> Exception:
    try:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x")
    except OSError as cause:
        error = RuntimeError("could not write")
        error.__cause__ = cause
        return error


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("a"), 2, "zslkit: a"),
        (DataError("b"), 2, "zslkit: b"),
        (TrainingError("c"), 1, "zslkit: c"),
        (click.UsageError("d"), 2, "zslkit: d"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x"),
            1,
            "The disk is full (runs/x)",
        ),
        (full(), 1, "The disk is full (runs/x)"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 1, "The disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 1, "runs: Permission denied"),
        (
            ZeroDivisionError("two\nlines"),
            1,
            "Unexpected ZeroDivisionError: two lines; --debug shows where",
        ),
        (
            KeyboardInterrupt(),
            130,
            "Interrupted; what was checkpointed is kept, and the same command resumes from there",
        ),
        (click.Abort(), 130, "Interrupted"),
        (MemoryError(), 1, "Unexpected MemoryError"),
    ],
)
def test_each_failure_has_its_code_and_one_sentence(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of(error, State(resumes=True)) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert told.err.count("\n") == 1


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def broken() -> None:
        raise ZeroDivisionError("nothing")

    monkeypatch.setattr(
        app.LazyGroup, "get_command", lambda self, ctx, name: click.Command("run", callback=broken)
    )
    yield


@pytest.mark.usefixtures("failing")
def test_only_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["run"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert app.main(["--debug", "run"]) == 1
    assert "Traceback" in capsys.readouterr().err
