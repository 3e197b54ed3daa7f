"""One run, start to end: repeatable, resumable, kept whole, and with every figure to be had again
from its scores."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zslkit
from zslkit.cli import app
from zslkit.cli.failure import State, exit_code_of
from zslkit.dataset import Dataset
from zslkit.errors import DataError, UserError, ZslkitError
from zslkit.evaluation.gzsl import evaluate
from zslkit.registry import MODELS
from zslkit.runs import api
from zslkit.runs.api import Result
from zslkit.runs.folders import find_runs, load_run
from zslkit.training.inputs import Inputs
from zslkit.training.loop import GradientTraining
from zslkit.training.selection import Selection
from zslkit.utils.progress import Silent

SMALL: dict[str, Any] = {"features": {"backbone": "test_resnet", "weights": "random"}}
BRIEF: dict[str, Any] = SMALL | {"train": {"epochs": 3, "steps_per_epoch": 2}}


pytestmark = pytest.mark.usefixtures("digits_cache")


def run(out: Path, model: str = "dazle", *, seed: int = 0, **more: Any) -> Result:
    return api.run(
        model,
        "digits",
        seed=seed,
        overrides=SMALL if model == "eszsl" else BRIEF,
        out=out,
        device="cpu",
        **more,
    )


def scores_of(result: Result) -> np.ndarray:
    return load_run(result.folder).scores().test_unseen_scores


@pytest.mark.slow
def test_the_same_seed_gives_the_same_scores_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = run(tmp_path / "a"), run(tmp_path / "b"), run(tmp_path / "a", seed=1)
    np.testing.assert_array_equal(scores_of(first), scores_of(again))
    assert first.folder.name == again.folder.name  # the identity knows nothing of places and times
    assert not np.array_equal(scores_of(first), scores_of(other))


@pytest.mark.slow
def test_a_run_that_is_there_is_given_back_and_another_setting_is_another_run(
    tmp_path: Path,
) -> None:
    first = run(tmp_path, "eszsl")
    assert not first.reused and run(tmp_path, "eszsl").reused
    changed = api.run(
        "eszsl", "digits", overrides=SMALL, settings=["gamma=2"], out=tmp_path, device="cpu"
    )
    assert not changed.reused and changed.folder != first.folder
    again = run(tmp_path, "eszsl", again=True)
    assert again.folder == first.folder and not again.reused
    assert len(list(first.folder.parent.glob("*.replaced-*"))) == 1


def test_the_folder_holds_all_that_is_promised(tmp_path: Path) -> None:
    result = run(tmp_path)
    names = {p.name for p in result.folder.iterdir()}
    assert names == {
        *(
            "record.json",
            "config.yaml",
            "log.jsonl",
            "scores.npz",
            "attributes.npz",
            "semantics.npz",
            "model.safetensors",
        ),
    }
    log = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log if line["phase"] == "train"] == [1, 2, 3]
    record = result.record
    assert (
        record.fingerprints.split
        and record.fingerprints.semantics
        and record.features.weights == "random"
    )
    assert (record.dataset.seen, record.dataset.unseen) == (150, 50)
    assert record.chance.T1 == 2.0


def test_attribute_scores_are_kept_where_a_model_has_some(tmp_path: Path) -> None:
    result = run(tmp_path)
    kept, scores = load_run(result.folder).attributes(), load_run(result.folder).scores()
    assert kept is not None and kept.present.shape == (200, len(kept.names))
    assert kept.test_seen.shape == (len(scores.test_seen_labels), len(kept.names))
    assert kept.test_unseen.shape == (len(scores.test_unseen_labels), len(kept.names))
    # DAZLE's class scores are linear in them
    with_one = np.column_stack([kept.test_unseen, np.ones(len(kept.test_unseen))])
    left = np.linalg.lstsq(with_one, scores.test_unseen_scores, rcond=None)[1]
    assert (
        left.max()
        < 1e-2
        * np.square(scores.test_unseen_scores - scores.test_unseen_scores.mean()).sum(axis=0).min()
    )


def test_metrics_are_those_of_the_kept_scores_and_the_optimistic_ones_stand_apart(
    tmp_path: Path,
) -> None:
    record = run(tmp_path).record
    scores = load_run(find_runs(tmp_path)[0].folder).scores()
    assert record.metrics.model_dump() == pytest.approx(
        evaluate(*scores.sets(), record.protocol.gamma).figures()
    )
    assert record.optimistic is not None and "H_gamma_on_test" in record.optimistic
    assert "H_gamma_on_test" not in record.metrics.model_dump()


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interrupted_run_goes_on_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    whole = run(tmp_path / "whole")
    original = GradientTraining._epoch
    seen: list[int] = []

    def interrupted(self: GradientTraining, *arguments: Any) -> dict[str, float]:
        seen.append(arguments[0])
        if arguments[0] == epoch:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(GradientTraining, "_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut")
    assert find_runs(tmp_path / "cut") == []  # what is not finished does not look like it
    assert list((tmp_path / "cut").glob("digits/dazle/*.partial/*.pt"))
    monkeypatch.setattr(GradientTraining, "_epoch", original)
    resumed = run(tmp_path / "cut")
    np.testing.assert_array_equal(scores_of(resumed), scores_of(whole))
    assert resumed.metrics == whole.metrics
    assert exit_code_of(KeyboardInterrupt(), State(resumes=True)) == 130


@pytest.mark.slow
def test_a_process_that_ends_before_the_folder_is_in_its_place_costs_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["protocol.selection=validation"]
    replace = os.replace

    def ends(source: Any, target: Any) -> None:
        if Path(source).suffix == ".partial":
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", ends)
        run(tmp_path, settings=settings)
    assert find_runs(tmp_path) == []
    monkeypatch.setattr(GradientTraining, "_epoch", lambda *_: pytest.fail("it trained again"))
    result = run(tmp_path, settings=settings)
    assert not result.reused and result.record.protocol.validation
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.slow
def test_frozen_parameters_are_neither_trained_nor_counted_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = MODELS.load("dazle")[1]
    whole = run(tmp_path / "whole").record.costs
    assert whole.trainable_parameters == whole.parameters
    built, starts = kind.__init__, []

    def with_a_frozen_part(self: Any, *arguments: Any) -> None:
        built(self, *arguments)
        first = next(self.parameters()).requires_grad_(False)
        starts.append((first, first.detach().clone()))

    monkeypatch.setattr(kind, "__init__", with_a_frozen_part)
    costs = run(tmp_path / "part").record.costs
    ((after, before),) = starts
    assert torch.equal(after, before)
    assert (costs.parameters, costs.trainable_parameters) == (
        whole.parameters,
        whole.parameters - before.numel(),
    )


def test_validation_picks_and_says_so(tmp_path: Path) -> None:
    settings = ["protocol.selection=validation", "protocol.calibration=validation"]
    record = run(tmp_path, settings=settings).record
    assert (record.protocol.selection, record.protocol.calibration, record.protocol.fold_seed) == (
        "validation",
        "validation",
        0,
    )
    assert record.protocol.epoch in (1, 2, 3)
    assert record.protocol.picked == {"train.epochs": record.protocol.epoch}
    assert record.config["train"]["epochs"] == 3 and record.origins["train.epochs"] == "option"
    assert record.used["train"]["epochs"] == record.protocol.epoch
    assert set(record.protocol.validation) == {"T1", "U", "S", "H", "AUSUC"}


def test_the_figures_without_calibration_know_no_gamma(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "zslkit.training.selection.pick",
        lambda shop: Selection(shop.plan.config, -1e6, calibrated=True),
    )  # no image is answered with an unseen class
    result = run(
        tmp_path, "eszsl", settings=["protocol.calibration=validation", "protocol.tune=false"]
    )
    record, sets = result.record, load_run(result.folder).scores().sets()
    assert record.metrics.model_dump() == pytest.approx(
        evaluate(*sets, record.protocol.gamma).figures()
    )
    assert record.uncalibrated.model_dump() == pytest.approx(evaluate(*sets, 0.0).figures())
    assert (record.metrics.U, record.protocol.gamma) == (0.0, -1e6) and record.uncalibrated.U > 0


@pytest.mark.parametrize("weights", ["trainval", "random"])
def test_weights_made_from_trainval_are_made_anew_for_each_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    def prepared(dataset: Dataset, *arguments: Any) -> Inputs:
        # What weights would be made from: the images and classes of this dataset's trainval.
        return Inputs("pooled", (8,), None, None, object(), "", "", "", dataset.title, None)  # type: ignore[arg-type]

    monkeypatch.setattr("zslkit.runs.api.prepare", prepared)
    monkeypatch.setattr("zslkit.runs.job.prepare", prepared)
    settings = [
        f"features.weights={weights}",
        "protocol.folds=2",
        "protocol.calibration=validation",
    ]
    folds = api.context(tmp_path, "eszsl", "digits", settings=settings, device="cpu").folds
    held_out = [set(fold.data.labels[fold.data.split.test_unseen].tolist()) for fold in folds]
    assert not held_out[0] & held_out[1]
    own = [fold.inputs.fingerprint == fold.data.title for fold in folds]
    assert own == [weights == "trainval"] * 2, (
        "weights of all of trainval would know the classes that a fold holds out"
    )


@pytest.mark.parametrize(
    ("folds", "calibration", "told"),
    [(2, "validation", True), (1, "validation", False), (2, "none", False)],
)
def test_what_is_picked_on_several_folds_together_is_another_run_than_what_was_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: int, calibration: str, told: bool
) -> None:
    inputs = Inputs("pooled", (8,), None, None, object(), "", "", "", "f", None)  # type: ignore[arg-type]
    monkeypatch.setattr("zslkit.runs.api.prepare", lambda *arguments: inputs)
    settings = [
        f"protocol.folds={folds}",
        f"protocol.calibration={calibration}",
        "protocol.tune=false",
    ]
    choices = {"settings": settings, "config": None, "preset": None, "overrides": None}
    job = api._job("eszsl", "digits", 0, "data", "cpu", Silent(), choices)
    assert ("folds" in job.decisive({})) is told


def full(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        "zslkit.training.checkpoint.save",
        "zslkit.training.weights.save",
        "zslkit.runs.scores.ScoreStream.write",
        "os.fsync",
    ],
)
def test_a_disk_that_is_full_costs_no_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    finished = run(tmp_path, seed=7)
    before = {p.name: p.read_bytes() for p in finished.folder.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(place, full)
        with pytest.raises((OSError, ZslkitError)) as error:
            run(tmp_path)
    assert exit_code_of(error.value, State(resumes=True)) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and ("full" in told or "No space" in told)
    assert [r.record.seed for r in find_runs(tmp_path)] == [7]
    assert {p.name: p.read_bytes() for p in finished.folder.iterdir()} == before
    assert not run(tmp_path).reused


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda out: run(out, "dedn", settings=["train.epoch=3"]), 'did you mean "train.epochs"'),
        (lambda out: run(out, settings=["train.lr=0"]), "train.lr"),
        (
            lambda out: run(out, "eszsl", settings=["features.input=map"]),
            "eszsl takes pooled inputs, not map",
        ),
        (
            lambda out: api.run("eszsl", "digits", overrides=SMALL, out=out, device="cpuu"),
            "There is no device 'cpuu'",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(
    tmp_path: Path, call: Callable[[Path], Result], words: str
) -> None:
    with pytest.raises(UserError) as error:
        call(tmp_path / "out")
    assert words in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_python_and_the_command_line_speak_the_same_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = zslkit.run("eszsl", "digits", seed=0, overrides=SMALL, out=tmp_path, device="cpu")
    line = (
        f"run --model eszsl --out {tmp_path} --backbone test_resnet --backbone-weights random "
        "--device cpu --json"
    )
    assert app.main(line.split()) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metrics"] == ours.metrics and Path(told["run_folder"]) == ours.folder
    assert zslkit.load_dataset("digits").name == "digits"
    scores = load_run(ours.folder).scores()
    assert zslkit.evaluate(
        *scores.sets(), gamma=ours.record.protocol.gamma
    ).figures() == pytest.approx(ours.metrics)


def test_too_many_folds_are_told_before_anything_is_made_for_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = api._job(
        "eszsl", "digits", 0, tmp_path, "cpu", Silent(),
        {"settings": ["features.weights=random", "protocol.folds=4"]},
    )  # fmt: skip
    plan = replace(job.plan, features=job.plan.features.model_copy(update={"weights": "trainval"}))
    made: list[object] = []
    monkeypatch.setattr("zslkit.runs.job.prepare", lambda *given: made.append(given))
    with pytest.raises(DataError, match=r"set protocol.folds to 3 or less"):
        replace(job, plan=plan).context(tmp_path, lambda **row: None)
    assert not made
