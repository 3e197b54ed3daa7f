"""Plugins that `zslkit new` wrote before the move into folders still install, pass and train."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from installs import install

from zslkit.cli.app import main
from zslkit.registry import rescan

HERE = Path(__file__).with_name("earlier_plugins")
NAMES = ("earlier-gradient", "earlier-closed")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    packages = [shutil.copytree(HERE / name, tmp_path / name) for name in NAMES]
    install(tmp_path / "site", *packages)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    rescan()
    yield
    monkeypatch.undo()
    rescan()


@pytest.mark.slow
def test_they_install_pass_check_and_train(
    installed: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        assert main(["check", name, "--json"]) == 0
        capsys.readouterr()
        short = ["--set", "train.epochs=1"] if name == "earlier-gradient" else []
        run = ["run", "--model", name, "--dataset", "digits", "--out", str(tmp_path / "runs")]
        assert main([*run, "--set", "features.weights=random", *short, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["model"] == name


@pytest.mark.slow
def test_settings_of_their_loss_take_a_schedule(
    installed: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", "--model", "earlier-gradient", "--dataset", "digits", "--out", str(tmp_path)]
    run += ["--set", "features.weights=random", "--set", "train.epochs=2", "--json"]
    course = "train.schedules.w_attribute.from=0"
    assert main([*run, "--set", course]) == 0, capsys.readouterr().err
    capsys.readouterr()
    record = json.loads(next(tmp_path.rglob("record.json")).read_text())
    assert record["config"]["w_attribute"] == 0.1
    assert record["config"]["train"]["schedules"] == {
        "w_attribute": {"from": 0.0, "over": 1.0, "shape": "linear"}
    }
    log = next(tmp_path.rglob("log.jsonl")).read_text().splitlines()
    first, second = (row["attribute"] for row in map(json.loads, log) if "attribute" in row)
    assert first < second, "the term grows with its weight, and not with its loss"
    assert main([*run, "--set", course.replace("attribute", "atribute")]) == 2
    assert 'did you mean "w_attribute"?' in capsys.readouterr().err
