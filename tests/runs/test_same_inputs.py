"""Runs whose settings ask for the same inputs in other words are one run, under one identity."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zslkit.cli import app
from zslkit.datasets.catalog import RegisteredDataset
from zslkit.record import AS_GIVEN
from zslkit.runs import api
from zslkit.runs.folders import find_runs, identity, load_run
from zslkit.runs.plan import make_plan
from zslkit.runs.same_inputs import spellings
from zslkit.testing.tiny import tiny_dataset

QUICK = {"protocol": {"tune": False, "calibration": "none"}}


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits are a tiny dataset with features and maps, and without images."""
    data = replace(tiny_dataset(images=False), name="digits")
    monkeypatch.setattr(RegisteredDataset, "load", lambda named, root: data)


def run(out: Path, **features: Any) -> Path:
    overrides = QUICK | ({"features": features} if features else {})
    return api.run("eszsl", "digits", overrides=overrides, out=out, device="cpu").folder


def first(**features: Any) -> str:
    """The identity of a new DAZLE run on images that lead to maps."""
    plan = make_plan("dazle", "digits", overrides={"features": features} if features else None)
    inputs: Any = SimpleNamespace(kind="map", backbone="net")
    data: Any = SimpleNamespace(images=object(), skipped=())
    return identity(next(spellings(plan, data, inputs)))


def test_words_for_one_input_have_one_identity_which_is_that_of_the_default() -> None:
    usual = identity(make_plan("dazle", "digits").deciding)
    same = [{}, {"input": "frozen"}, {"input": "map"}, {"input": "auto"}]
    same += [{"pretrain_epochs": 8}, {"skip_bad": True}, {"precision": "float32"}]
    assert {first(**words) for words in same} == {usual}


@pytest.mark.parametrize(
    "other", [{"size": 64}, {"reduction": 4}, {"dtype": "bfloat16"}, {"precision": "bfloat16"}]
)
def test_settings_that_change_the_input_change_the_identity(other: dict[str, Any]) -> None:
    assert first(**other) != first()


def test_weights_are_one_whether_auto_or_the_word_that_auto_stands_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zslkit.features.backbones.find_spec", lambda name: None)
    lite = {"backbone": "tf_efficientnet_lite0"}
    assert first(**lite, weights="auto") == first(**lite, weights="hub")
    assert first(weights="auto") == first(weights="hub") != first(weights="offline")
    assert first(weights="random") != first(weights="auto")
    assert first(weights="trainval", pretrain_epochs=3) != first(weights="trainval")


def test_auto_is_offline_where_a_package_brings_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zslkit.features.backbones.find_spec", lambda name: name)
    lite = {"backbone": "tf_efficientnet_lite0"}
    assert first(**lite, weights="auto") == first(**lite, weights="offline")
    assert first(**lite, weights="auto") != first(**lite, weights="hub")


def test_what_run_made_is_what_compare_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run(tmp_path)
    settings = ["--set", "protocol.tune=false", "--set", "protocol.calibration=none"]
    command = ["compare", "eszsl", *settings, "--device", "cpu", "--out", str(tmp_path), "--json"]
    assert app.main(command) == 0
    (block,) = json.loads(capsys.readouterr().out)["blocks"]
    assert [row["folders"] for row in block["rows"]] == [[str(made)]]
    assert [found.folder for found in find_runs(tmp_path)] == [made]
    assert app.main([*command, "--no-run"]) == 0
    (block,) = json.loads(capsys.readouterr().out)["blocks"]
    assert [row["folders"] for row in block["rows"]] == [[str(made)]]


def test_on_given_features_settings_of_a_backbone_make_no_second_run(tmp_path: Path) -> None:
    made = run(tmp_path)
    assert load_run(made).record.features.backbone == AS_GIVEN
    assert run(tmp_path, backbone="resnet50", size=64, weights="random") == made
    assert run(tmp_path, input="pooled") == made
    with pytest.raises(Exception, match="eszsl takes pooled"):
        run(tmp_path, input="map")


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A run that an earlier version made, whose identity has the words that were asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zslkit.runs.job.spellings", lambda plan, data, inputs: iter([plan.deciding]))
        return run(tmp_path, input="frozen")


def test_a_run_under_an_earlier_identity_is_found_by_every_word(
    earlier: Path, tmp_path: Path
) -> None:
    words = ("frozen", "auto", "pooled")
    assert {run(tmp_path, input=word) for word in words} == {earlier}
    assert len(find_runs(tmp_path)) == 1


def test_an_interrupted_run_under_an_earlier_identity_goes_on(
    earlier: Path, tmp_path: Path
) -> None:
    earlier.rename(earlier.with_name(f"{earlier.name}.partial"))
    assert run(tmp_path) == earlier
