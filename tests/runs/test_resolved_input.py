"""What a model is fed with is said before it trains, and by `zslkit config`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from zslkit.cli import app
from zslkit.datasets.catalog import RegisteredDataset
from zslkit.runs import api
from zslkit.runs.job import RunJob
from zslkit.runs.plan import make_plan
from zslkit.testing.tiny import tiny_dataset
from zslkit.utils.progress import Silent


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    assert app.main(["config", *words]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert app.main(["config", *words, "--json"]) == 0
    return line, json.loads(capsys.readouterr().out)["input"]


def test_config_shows_the_input_that_auto_leads_to(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line, kind = shown(capsys, "apn", "cub", "--input", "auto")
    assert kind == "image" and "the backbone is trained with the model" in line
    assert "if cub has images: its data is not here" in line
    line, kind = shown(capsys, "apn", "cub", "--input", "frozen")
    assert kind == "map" and "frozen backbone" in line
    monkeypatch.setattr(RegisteredDataset, "load", lambda named, root: tiny_dataset(images=False))
    line, kind = shown(capsys, "eszsl", "digits")
    assert kind == "pooled" and line.endswith("of a frozen backbone)")


@pytest.mark.parametrize(
    ("model", "word", "kind", "words"),
    [
        (
            "apn",
            "auto",
            "image",
            "apn is fed with images (features.input auto): net is trained with it; "
            "--input frozen trains the model alone",
        ),
        (
            "apn",
            "frozen",
            "map",
            "apn is fed with feature maps of net, frozen (features.input frozen)",
        ),
        ("apn", "map", "map", "apn is fed with feature maps of net, frozen"),
    ],
)
def test_a_run_says_what_the_model_is_fed_with(
    model: str, word: str, kind: str, words: str
) -> None:
    plan = make_plan(model, "digits", overrides={"features": {"input": word}})
    inputs: Any = SimpleNamespace(kind=kind, backbone="net", tuned=kind == "image")
    nothing: Any = None
    job = RunJob(plan, nothing, inputs, 0, nothing, Silent(), 0.0, "")
    assert job.input_words == words


@pytest.mark.parametrize(
    ("model", "precision", "device", "gains", "said"),
    [
        ("dazle", "bfloat16", "cpu", False, True),
        ("dazle", "bfloat16", "cpu", True, False),
        ("dazle", "bfloat16", "cuda", False, False),
        ("dazle", "float32", "cpu", False, False),
        ("eszsl", None, "cpu", False, False),
    ],
)
def test_a_run_says_that_this_processor_is_slow_at_what_is_asked_of_it(
    model: str,
    precision: str | None,
    device: str,
    gains: bool,
    said: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zslkit.utils.devices.cpu_gains_by_bfloat16", lambda: gains)
    asked = {"train": {"precision": precision}} if precision else {}
    nothing: Any = None
    job = RunJob(
        make_plan(model, "digits", overrides=asked),
        *(nothing, nothing, 0, torch.device(device), Silent(), 0.0, ""),
    )
    assert ("leave out --precision bfloat16" in job.slow_words) is said


def test_it_is_the_first_that_a_run_says_and_a_finished_run_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    monkeypatch.setattr(RegisteredDataset, "load", lambda named, root: tiny_dataset(images=False))
    settings = ["protocol.tune=false"]
    for _ in range(2):
        api.run("eszsl", "digits", settings=settings, out=tmp_path, device="cpu", reporter=Notes())
    told = [note for note in notes if "is fed with" in note]
    assert told == ["eszsl is fed with pooled features that came with the dataset"] == notes[:1]
