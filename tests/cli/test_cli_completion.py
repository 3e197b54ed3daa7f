"""Shell completion, asked as a shell asks: right, in every shell, and without anything heavy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from test_cli_help import walk

from zslkit.cli import completers
from zslkit.cli.app import cli, main
from zslkit.cli.completion import SHELLS
from zslkit.cli.numbers import AnyReal, Real, Whole

LIGHT = ("pydantic", "numpy", "yaml")  # evaluate, which reads records, brings them
HEAVY = ("torch", "timm", "sklearn", "scipy", "matplotlib", "h5py", "zslkit_dedn", "baselines")


def complete(line: str, folder: Path, shell: str = "bash", path: Sequence[Path] = ()) -> list[str]:
    """What is offered for the last word of a command line; nothing heavy may be imported for it."""
    words = line.split(" ")
    heavy = HEAVY if "evaluate" in words else HEAVY + LIGHT
    program = f"""
import sys
from zslkit.cli.app import main
code = main([])
loaded = sorted(set({heavy!r}) & set(sys.modules))
sys.exit(f"imported: {{loaded}}" if loaded else code)
"""
    environment = {
        **os.environ,
        "_ZSLKIT_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1) if shell != "fish" else words[-1],
        "PYTHONPATH": os.pathsep.join(map(str, path)),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    return [text.partition(",")[2] for text in lines] if shell == "bash" else lines


@pytest.mark.slow
def test_names_of_models_and_datasets(tmp_path: Path) -> None:
    (tmp_path / "birds.yaml").touch()
    assert complete("zslkit run --model ded", tmp_path) == ["dedn"]
    assert {"dedn", "eszsl"} <= set(complete("zslkit compare apn ", tmp_path))
    assert complete("zslkit models esz", tmp_path) == ["eszsl"]
    assert complete("zslkit check esz", tmp_path) == ["eszsl"]
    assert complete("zslkit run -m apn -d dig", tmp_path) == ["digits"]
    assert complete("zslkit config dedn bi", tmp_path) == ["birds.yaml"]
    assert complete("zslkit data verify cub2", tmp_path) == ["cub2010"]
    assert complete("zslkit mod", tmp_path) == ["models"]


@pytest.mark.slow
def test_settings_of_the_model_in_the_command(tmp_path: Path) -> None:
    assert complete("zslkit run --model dedn --set lambda_", tmp_path) == [
        "lambda_cal=",
        "lambda_e=",
        "lambda_rc=",
    ]
    assert "train.momentum=" in complete("zslkit run --model dedn --set train.", tmp_path)
    assert "train.epochs=" in complete("zslkit config apn --set train.e", tmp_path)
    assert complete("zslkit run --set protocol.fold", tmp_path) == [
        "protocol.folds=",
        "protocol.fold_seed=",
    ]
    assert complete("zslkit run --model eszsl --set train.", tmp_path) == []
    assert complete("zslkit run --model nosuch --set lambda_", tmp_path) == []
    assert complete("zslkit run --model eszsl --set esz", tmp_path) == []


def test_settings_of_one_model_among_several(tmp_path: Path) -> None:
    both = "zslkit compare eszsl dedn --set "
    assert complete(f"{both}esz", tmp_path) == ["eszsl:"]
    assert complete(f"{both}dedn:lambda_", tmp_path) == [
        "dedn:lambda_cal=",
        "dedn:lambda_e=",
        "dedn:lambda_rc=",
    ]
    assert complete(f"{both}eszsl:protocol.fold_", tmp_path) == ["eszsl:protocol.fold_seed="]
    assert complete(f"{both}nosuch:lambda_", tmp_path) == []


def test_presets_of_one_model_among_several(tmp_path: Path) -> None:
    both = "zslkit compare eszsl dedn --preset "
    assert complete(f"{both}ded", tmp_path) == ["dedn:"]
    assert complete(f"{both}dedn:fa", tmp_path) == ["dedn:fast"]
    assert complete(f"{both}eszsl:fa", tmp_path) == []


def test_finished_runs(tmp_path: Path) -> None:
    for name in ("seed0-ab", "seed1-cd"):
        (tmp_path / "runs" / "digits" / "apn" / name).mkdir(parents=True)
        (tmp_path / "runs" / "digits" / "apn" / name / "record.json").touch()
    (tmp_path / "runs" / "digits" / "apn" / "seed2-ef.partial").mkdir()
    both = ["runs/digits/apn/seed0-ab", "runs/digits/apn/seed1-cd"]
    assert complete("zslkit evaluate ", tmp_path) == both
    assert complete("zslkit explain runs/digits/apn/seed1", tmp_path) == both[1:]


FREE = {
    "backbone": "timm has a thousand networks, and importing it takes seconds",
    "encoder": "a model of another library",
    "scheduler": "an address",
    "mirrors": "an address",
    "attributes": "names that only the dataset knows, with commas between them",
    "seeds": "numbers",
    "size": "numbers",
    "title": "new words",
    "name": "a new name",
}
"""Parameters without completion, and why."""


def test_every_parameter_is_completed_or_free() -> None:
    used = set()
    for path, command in walk(cli):
        for parameter in command.params:
            ctx = click.Context(command, info_name=path[-1])
            own = bool(parameter._custom_shell_complete)
            by_type = isinstance(parameter.type, (click.Choice, click.Path))
            number = isinstance(parameter.type, (Whole, Real, AnyReal))
            flag = isinstance(parameter, click.Option) and parameter.is_flag
            if own or by_type:
                assert isinstance(parameter.shell_complete(ctx, ""), list)
            elif not (flag or number):
                assert parameter.name in FREE, (path, parameter.name)
                used.add(parameter.name)
    assert used == set(FREE)


@pytest.mark.slow
def test_values_of_options(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "digits" / "apn" / "seed0-ab"
    run.mkdir(parents=True)
    (run / "record.json").touch()
    (run / "tags.json").write_text('["paper", "draft"]')
    (tmp_path / "cache" / "features" / "digits-0123456789abcdef").mkdir(parents=True)
    for line, values in {
        "run --model dedn --preset c": {"cub"},
        "run --model dedn --preset z": {"zsl"},
        "explain --device c": {"cpu", "cuda"},
        "data prepare digits --backbone-weights tr": {"trainval", "tr"},  # "tr": files
        "runs --tagged p": {"paper"},
        "diff runs/digits/apn/seed0": {"runs/digits/apn/seed0-ab"},
        "check eszsl --only decl": {"declared_inputs"},
        "check eszsl --set la": {"lam="},
        "evaluate x --metrics H,AUS": {"H,AUSUC"},
        "data prepare digits --set tr": set(),
        "data prepare digits --set features.red": {"features.reduction="},
        "predict a b --format js": {"json", "jsonl"},
        "report --as": {"--as-papers-do"},
        "data p": {"prepare"},
        "new m": {"model"},
    }.items():
        assert set(complete(f"zslkit {line}", tmp_path)) >= values, line
        assert bool(complete(f"zslkit {line}", tmp_path)) == bool(values), line
    assert complete("zslkit predict a b --outp", tmp_path) == []  # a former spelling


def test_the_checks_that_are_offered_exist() -> None:
    from zslkit.testing import CHECKS

    offered = [item.value for item in completers.checks(click.Context(cli), cli.params[0], "")]
    assert set(offered) == {check.name for check in CHECKS}
    assert dict(walk(cli))[("check",)].example.rpartition("--only ")[2] in offered


def test_every_setting_that_a_model_has_is_offered(tmp_path: Path) -> None:
    from zslkit.cli.source import config_keys
    from zslkit.config import known_keys
    from zslkit.registry import MODELS

    for entry in MODELS.entries():
        if entry.built_in:
            assert set(config_keys(entry.target, "Config")) == set(
                known_keys(entry.load().Config)
            ), entry.name


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_are_answered_too(tmp_path: Path, shell: str) -> None:
    assert any("dedn" in text for text in complete("zslkit models ded", tmp_path, shell))


@pytest.mark.parametrize("shell", list(SHELLS))
def test_the_script_is_printed_and_the_shell_can_read_it(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_ZSLKIT_COMPLETE" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)
    assert main(["completion", shell, "--json"]) == 0


def test_bash_itself_completes_with_the_script(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    (tmp_path / "zslkit").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m zslkit "$@"\n')
    (tmp_path / "zslkit").chmod(0o755)
    program = """
eval "$(zslkit completion bash)"
COMP_WORDS=(zslkit models ded) COMP_CWORD=2
_zslkit_completion zslkit
echo "${COMPREPLY[@]}"
"""
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [bash, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "dedn\n"), done.stderr
