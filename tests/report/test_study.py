"""Studies: a grid of settings becomes runs, and the runs a table and a plot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from zslkit.cli import app
from zslkit.errors import UserError
from zslkit.record import RunRecord
from zslkit.report.study import line, read_study, variants
from zslkit.runs import api
from zslkit.runs.api import Result

STUDY = """
title: Two ways of three
model: eszsl
seeds: [0, 1]
settings: {protocol.calibration: none}
rows:
  plain: {}
  signs: {targets: signs}
grid:
  gamma: [0.1, 1.0, 10.0]
plot: {x: gamma, y: [H, T1], scale: log}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "ways.yaml"
    path.write_text(STUDY)
    return path


@dataclass
class Runner:
    """Stands for experiment.run: H is 4 times gamma plus the seed; settings in `bad` fail."""

    make: Callable[..., RunRecord]
    bad: tuple[float, ...] = ()
    error: type[Exception] = UserError
    given: list[tuple[dict[str, Any], int]] = field(default_factory=list)

    def __call__(
        self, model: str, dataset: str, *, seed: int, overrides: dict[str, Any], **others: Any
    ) -> Result:
        self.given.append((overrides, seed))
        if overrides["gamma"] in self.bad:
            raise self.error(f"the system is singular at {seed}; raise gamma")
        record = self.make(
            seed=seed,
            metrics={
                "T1": 1.0,
                "U": 1.0,
                "S": 1.0,
                "H": 4 * overrides["gamma"] + seed,
                "AUSUC": 0.5,
            },
        )
        return Result(record, Path("runs/x"), reused=False)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, make: Callable[..., RunRecord]) -> Runner:
    runner = Runner(make)
    monkeypatch.setattr(api, "run", runner)
    return runner


def test_variants_are_all_rows_with_all_points(study: Path) -> None:
    found = variants(read_study(study), {"targets": "released", "lam": 2.0})
    assert [v.label for v in found] == [
        f"{row}, gamma={g}" for row in ("plain", "signs") for g in ("0.1", "1", "10")
    ]
    assert found[0].settings == {
        "protocol": {"calibration": "none"},
        "targets": "released",
        "lam": 2.0,
        "gamma": 0.1,
    }
    assert (
        found[3].settings["targets"] == "signs"
    )  # a row wins over the caller, else it would not be that row


def test_a_study_of_nothing_is_the_preset_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("{title: t, model: eszsl}")
    (variant,) = variants(read_study(path))
    assert (variant.label, variant.settings) == ("as preset", {})


def test_a_line_is_mean_and_deviation_over_seeds(
    study: Path, make: Callable[..., RunRecord]
) -> None:
    records = [
        make(seed=s, metrics={"T1": 1.0, "U": 1.0, "S": 1.0, "H": h, "AUSUC": 0.5})
        for s, h in ((0, 40.0), (1, 42.0))
    ]
    made = line(variants(read_study(study))[0], records)
    assert (made.figures["H"].mean, made.figures["H"].n) == (41.0, 2)
    assert made.figures["H"].std == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{title: t}", "model"),
        ("{title: t, model: eszsl, gird: {}}", "no setting 'gird'; did you mean \"grid\""),
        ("{title: t, model: eszsl, grid: {gamma: []}}", "grid: gamma has no values"),
        ("{title: t, model: eszsl, seeds: []}", "seeds"),
        (
            "{title: t, model: eszsl, grid: {gamma: [1]}, plot: {x: lam}}",
            "plot.x = 'lam' is no key of the grid (gamma)",
        ),
        (
            "{title: t, model: eszsl, settings: {train: 1, train.lr: 2}}",
            "'train' was given a value before",
        ),
    ],
)
def test_a_wrong_study_is_told_by_name(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        variants(read_study(path))
    assert str(path) in str(error.value) or "settings" in text
    assert words in str(error.value)


def test_the_command_writes_table_data_and_plot(
    study: Path, runner: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        app.main(
            [
                "study",
                str(study),
                "--tables",
                str(tmp_path / "to"),
                "--seeds",
                "0-2",
                "--set",
                "lam=2",
            ]
        )
        == 0
    )
    assert len(runner.given) == 2 * 3 * 3
    assert runner.given[0] == ({"protocol": {"calibration": "none"}, "lam": 2, "gamma": 0.1}, 0)
    printed = capsys.readouterr().out
    table = (tmp_path / "to" / "ways.md").read_text()
    assert "plain, gamma=10 | 3 | 1.0 ± 0.0 | 1.0 ± 0.0 | 1.0 ± 0.0 | 41.0 ± 1.0" in table
    assert "eszsl on digits, seeds 0, 1, 2" in table
    assert "plain, gamma=10" in printed and "ways.svg" in printed
    data = json.loads((tmp_path / "to" / "ways.json").read_text())
    assert data["lines"][0]["figures"]["H"] == {"mean": pytest.approx(1.4), "std": 1.0, "n": 3}
    assert "<svg" in (tmp_path / "to" / "ways.svg").read_text()
    assert not list((tmp_path / "to").glob("*.new*"))


def test_a_failed_variant_is_named_and_others_stand(
    study: Path, runner: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.bad = (1.0,)
    assert app.main(["study", str(study), "--tables", str(tmp_path), "--json"]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert len(told["lines"]) == 4 and {f["variant"] for f in told["failures"]} == {
        "plain, gamma=1",
        "signs, gamma=1",
    }
    assert "plain, gamma=1 (seed 0), signs, gamma=1 (seed 0) failed: " in err
    assert "raise gamma" in err
    missing = "plain, gamma=1, seed 0"
    assert f"Runs that failed and are missing: {missing}; " in (tmp_path / "ways.md").read_text()
    assert missing in json.loads((tmp_path / "ways.json").read_text())["missing"]


@pytest.mark.parametrize("error", [UserError, RuntimeError])
def test_a_study_without_a_run_leaves_the_tables_of_an_earlier_one(
    study: Path,
    runner: Runner,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: type[Exception],
) -> None:
    command = ["study", str(study), "--tables", str(tmp_path / "to")]
    runner.bad, runner.error = (0.1, 1.0, 10.0), error
    assert app.main(command) == 1 and not (tmp_path / "to").exists()
    out, err = capsys.readouterr()
    assert not out and "plain, gamma=0.1 (seed 0)" in err and "the system is singular" in err
    runner.bad = ()
    assert app.main(command) == 0
    before = {file.name: file.read_bytes() for file in (tmp_path / "to").iterdir()}
    assert len(before) == 3
    runner.bad = (0.1, 1.0, 10.0)
    assert app.main([*command, "--json"]) == 1
    told = json.loads(capsys.readouterr().out.partition("written")[2].partition("\n")[2])
    assert told["files"] == [] and told["lines"] == [] and len(told["failures"]) == 12
    assert {file.name: file.read_bytes() for file in (tmp_path / "to").iterdir()} == before


def test_a_mistake_in_any_variant_is_told_before_the_first_run(
    study: Path, runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    study.write_text(STUDY.replace("targets: signs", "target: signs"))
    assert app.main(["study", str(study)]) == 2
    assert runner.given == []
    assert 'did you mean "targets"' in capsys.readouterr().err


@pytest.mark.slow
def test_every_study_that_is_shipped_can_be_planned() -> None:
    files = sorted((Path(__file__).parents[2] / "zslkit_dedn" / "studies").glob("*.yaml"))
    assert len(files) >= 5
    for file in files:
        study = read_study(file)
        for variant in variants(study):
            api.resolve(study.model, study.dataset, overrides=variant.settings)
