"""`run`, `compare` and `config`: what they hand to the experiment, and what they print of its
answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import torch

from zslkit.cli import app
from zslkit.cli.compare import parse_seeds
from zslkit.cli.output import aligned, print_json
from zslkit.cli.present import run_lines
from zslkit.errors import DataError, TrainingError, UserError
from zslkit.record import RunRecord
from zslkit.runs import api
from zslkit.runs.api import Result
from zslkit.utils.seeds import MOST_SEED


@pytest.fixture(autouse=True)
def _no_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in: finished runs of the one that tests start in would be found."""
    monkeypatch.chdir(tmp_path)


def record(**changes: Any) -> RunRecord:
    """A small record; changes replace its parts."""
    figures = {"T1": 60.0, "U": 50.0, "S": 40.0, "H": 44.4, "AUSUC": 0.312}
    whole = {
        "identity": "0123456789ab",
        "model": {
            "name": "alpha",
            "distribution": "d",
            "version": "1",
            "class_path": "a:B",
            "protocol": "class-inductive",
        },
        "dataset": dict.fromkeys(
            ("classes", "seen", "unseen", "n_trainval", "n_test_seen", "n_test_unseen"), 3
        )
        | {"name": "b", "title": "Birds"},
        "seed": 7,
        "config": {},
        "origins": {},
        "features": {
            "input": "map",
            "backbone": "net",
            "weights": "hub",
            "weights_digest": "",
            "size": (4, 8),
            "dtype": "float16",
        }
        | {"tuned": False, "fingerprint": "f"},
        "fingerprints": {"split": "s", "semantics": "t", "features": "f"},
        "protocol": {
            "training": "class-inductive",
            "selection": "last",
            "calibration": "none",
            "epoch": 4,
        },
        "metrics": figures,
        "uncalibrated": figures,
        "chance": {"T1": 2.0, "U": 1.0, "S": 1.0, "H": 1.0},
        "per_class": {"crow": 40.0},
        "costs": {
            "parameters": 1,
            "trainable_parameters": 1,
            "train_seconds": 200.0,
            "extract_seconds": 3.0,
            "eval_seconds": 1.0,
        },
        "environment": dict.fromkeys(
            ("python", "platform", "torch", "numpy", "timm", "zslkit", "cpu"), "x"
        )
        | {"device": "cpu", "threads": 1},
        "started": "2025-01-02T03:04:05+00:00",
        "finished": "2025-01-02T03:14:05+00:00",
    }
    return RunRecord.model_validate(whole | changes)


@dataclass
class Recorder:
    """Stands for experiment.run: remembers what it was given, answers with `answer` or raises
    it."""

    answer: RunRecord | Exception
    given: list[tuple[tuple[Any, ...], dict[str, Any]]]

    def __call__(self, *arguments: Any, **options: Any) -> Result:
        self.given.append((arguments, options))
        print("a plugin may print")
        if isinstance(self.answer, Exception):
            raise self.answer
        return Result(self.answer, Path("runs/x"), reused=False)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    fake = Recorder(record(), [])
    monkeypatch.setattr(api, "run", fake)
    return fake


def test_run_hands_on_every_option(runner: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--seed 3 --data-root d --set a=1 --set b.c=2 --config c.yaml --preset p"
    features = "--backbone net --backbone-weights random --input pooled --feature-precision float32"
    how = "--precision bfloat16 --device cpu --deterministic --out o --again --json"
    line = f"run --model eszsl --dataset digits {options} {features} {how}"
    assert app.main(line.split()) == 0
    ((arguments, given),) = runner.given
    assert arguments == ()
    assert given.pop("reporter") is not None
    assert given == {
        "model": "eszsl",
        "dataset": "digits",
        "seed": 3,
        "data_root": Path("d"),
        "settings": ("a=1", "b.c=2"),
        "config": Path("c.yaml"),
        "preset": "p",
        "overrides": {
            "features": {
                "backbone": "net",
                "weights": "random",
                "input": "pooled",
                "precision": "float32",
            },
            "precision": "bfloat16",
        },
        "device": "cpu",
        "out": Path("o"),
        "trackers": (),
        "again": True,
        "reuse_changed": False,
        "deterministic": True,
        "executor": None,
    }
    told = json.loads(capsys.readouterr().out)  # although something else printed
    assert (told["model"], told["metrics"]["H"], told["run_folder"]) == ("alpha", 44.4, "runs/x")


def test_options_that_were_not_given_override_nothing(runner: Recorder) -> None:
    assert app.main(["run", "--model", "eszsl"]) == 0
    assert runner.given[0][1]["overrides"] == {}


@pytest.mark.parametrize(
    ("options", "features"),
    [
        ([], {"input": "frozen"}),
        (["--end-to-end"], None),
        (["--input", "map"], {"input": "map"}),
        (["--backbone", "n"], {"backbone": "n", "input": "frozen"}),
    ],
)
def test_compare_feeds_all_from_one_frozen_backbone_unless_told(
    runner: Recorder, options: list[str], features: dict[str, str] | None
) -> None:
    assert app.main(["compare", "eszsl", "dedn", "eszsl", "--seeds", "0,1", *options]) == 0
    assert [(o["model"], o["seed"]) for _, o in runner.given] == [
        ("eszsl", 0),
        ("eszsl", 1),
        ("dedn", 0),
        ("dedn", 1),
    ]
    assert all(o["overrides"].get("features") == features for _, o in runner.given)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (DataError("data: no folder"), 2, "zslkit: data: no folder\n"),
        (
            TrainingError("loss is nan"),
            1,
            "zslkit: eszsl (seed 0), eszsl (seed 1) failed: loss is nan\n",
        ),
        (
            ZeroDivisionError("oh"),
            1,
            "zslkit: eszsl (seed 0), eszsl (seed 1) failed: Unexpected ZeroDivisionError: oh; "
            "--debug shows where\n",
        ),
        (
            OSError(28, "No space left on device"),
            1,
            "The disk is full; make room and give the same command again, which resumes",
        ),
    ],
)
def test_compare_tells_each_reason_once(
    runner: Recorder, error: Exception, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.answer = error
    assert app.main(["compare", "eszsl", "--seeds", "0-1"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count(told) == 1


def test_a_mistake_in_the_config_is_told_before_a_run_is_announced(
    runner: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text("trian: {lr: 1}\n", encoding="utf-8")
    assert (
        app.main(["compare", "eszsl", "--seeds", "0-1", "--config", str(tmp_path / "c.yaml")]) == 2
    )
    out, err = capsys.readouterr()
    assert (out, runner.given) == ("", [])
    assert (
        err.startswith(f"zslkit: eszsl has no setting 'trian' ({tmp_path / 'c.yaml'}, line 1)")
        and err.count("\n") == 1
    )


def test_a_wrong_setting_of_one_model_ends_a_comparison_before_any_run(
    runner: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["compare", "dazle", "eszsl", "--seeds", "0-1", "--set", "dazle:gamma=1"]
    assert app.main(line) == 2 and runner.given == []
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("zslkit: dazle has no setting 'gamma' (--set)")


def test_a_full_disk_ends_a_comparison_at_once(runner: Recorder) -> None:
    runner.answer = OSError(28, "No space left on device")
    assert app.main(["compare", "eszsl", "--seeds", "0-4"]) == 1
    assert len(runner.given) == 1


def test_a_mistake_in_the_settings_names_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["config", "eszsl", "--set", "gama=1"]) == 2
    assert "gama" in capsys.readouterr().err


def test_config_tells_value_and_origin(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        app.main(["config", "eszsl", "digits", "--set", "gamma=2.5", "--backbone", "net", "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)["settings"]
    assert told["gamma"] == {"value": 2.5, "from": "--set"}
    assert told["features.backbone"]["value"] == "net"
    assert told["attributes"] == {"value": "l2", "from": "default"}
    assert app.main(["config", "eszsl", "--set", "gamma=2.5"]) == 0
    (line,) = (n for n in capsys.readouterr().out.splitlines() if n.startswith("gamma "))
    assert line.split() == ["gamma", "2.5", "--set"]


def test_a_run_in_words() -> None:
    lines = list(run_lines(record(), Path("runs/x"), reused=True))
    text = "\n".join(lines)
    assert lines[0] == "alpha on Birds, seed 7"
    assert ["result", "60.0", "50.0", "40.0", "44.4", "0.312"] in [n.split() for n in lines]
    assert ["chance", "2.0", "1.0", "1.0", "1.0", "-"] in [n.split() for n in lines]
    for words in (
        "class-inductive",
        "last epoch (4)",
        "not calibrated",
        "map of net (frozen, weights hub), 4x8 px",
        "training 3 min 20 s",
    ):
        assert words in text
    assert "runs/x (was there already; --again repeats it)" in text
    assert "optimistic" not in text and "uncalibrated" not in text


def test_what_was_picked_is_named_and_what_was_picked_on_test_is_no_result() -> None:
    figures = {"T1": 60.0, "U": 55.0, "S": 45.0, "H": 49.5, "AUSUC": 0.312}
    protocol = {
        "training": "inductive",
        "selection": "validation",
        "calibration": "validation",
        "gamma": 0.25,
        "epoch": 9,
        "fold_seed": 1,
    }
    picked = {"best_epoch": 14, "every": 2, "H": 66.0, "H_gamma_on_test": 67.0}
    lines = list(
        run_lines(
            record(metrics=figures, protocol=protocol, optimistic=picked, per_class={"emu": None}),
            Path("r"),
            reused=False,
        )
    )
    text = "\n".join(lines)
    assert (
        "epoch (9) picked on validation fold 1; calibrated by 0.25, picked on validation fold 1"
        in text
    )
    assert [n.split()[4] for n in lines if n.startswith(("result", "uncalibrated"))] == [
        "49.5",
        "44.4",
    ]
    assert [n.split()[-2] for n in lines if n.startswith("(optimistic")] == ["66.0", "67.0"]
    assert "no mean: emu" in text


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", (0,)), ("0,1,2", (0, 1, 2)), ("3-5", (3, 4, 5)), ("1, 1,0-2", (1, 0, 2))],
)
def test_lists_of_seeds(text: str, seeds: tuple[int, ...]) -> None:
    command = click.Command("x", params=[click.Option(["--seeds"])])
    context = click.Context(command)
    assert parse_seeds(context, command.params[0], text) == seeds
    for wrong in ("", "a", "2-1", "-1", "1-", "1;2"):
        with pytest.raises(click.BadParameter):
            parse_seeds(context, command.params[0], wrong)
    for large in (str(MOST_SEED + 1), "9" * 401, "9" * 9999, f"0-{'9' * 401}"):
        with pytest.raises(
            click.BadParameter, match=f"larger than {MOST_SEED}, the largest that torch takes"
        ):
            parse_seeds(context, command.params[0], large)


@pytest.mark.parametrize(
    "seed",
    [MOST_SEED + 1, int("9" * 401), 10**5000, -(2**63)],
    ids=["above", "401 digits", "5001 digits", "below"],
)
def test_a_seed_that_torch_does_not_take_is_refused_before_any_work(
    tmp_path: Path, seed: int
) -> None:
    with pytest.raises(
        UserError, match=f"torch takes seeds up to {MOST_SEED}|The seed is negative"
    ):
        api.run("eszsl", "digits", seed=seed, out=tmp_path)
    torch.Generator().manual_seed(MOST_SEED)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("digits", ["9" * 401, "9" * 9999], ids=len)
def test_so_it_is_on_the_command_line(digits: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["run", "--model", "eszsl", "--seed", digits]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "--seed" in err


def test_the_last_column_is_folded_on_a_terminal_and_never_in_a_pipe() -> None:
    header, rows = ("name", "about"), [("x\ny\x1b[2J", "word " * 10)]
    assert aligned(header, rows) == ["name     about", f"x y [2J  {'word ' * 10}".rstrip()]
    folded = aligned(header, rows, width=40)
    assert len(folded) == 3
    assert max(map(len, folded)) <= 40


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), 1, Path("x")]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1, "x"]}
