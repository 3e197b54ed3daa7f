"""CLIP as a plugin: its scores by hand, and a run from photos to a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from linear_toys import trained
from safetensors.torch import save_file
from torch import Tensor
from zslkit_baselines.clip import CLIP, CLIPConfig
from zslkit_baselines.clip_towers import clip_model

from zslkit.cli import app
from zslkit.cli.present import run_lines
from zslkit.config import build
from zslkit.config.merge import Layer, merge, read_yaml
from zslkit.errors import UserError
from zslkit.model import Task
from zslkit.report.comparison import compare
from zslkit.runs import api
from zslkit.runs.load import load_with_dataset
from zslkit.runs.trained import TrainedModel

open_clip = pytest.importorskip("open_clip", reason="the extra `clip` is not installed")

CLASSES = ("001.Black_footed_Albatross", "grizzly+bear", "emu")
PRESETS = Path(__file__).parents[2] / "baselines" / "presets" / "clip"


def task() -> Task:
    return Task(
        dataset="made-up",
        classes=CLASSES,
        seen=np.array([True, True, False]),
        attributes=np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.6]], dtype=np.float32),
        attribute_names=("has_wing_color::black", "man-made"),
        input="pooled",
        feature_shape=(24,),
    )


def config(**changes: Any) -> CLIPConfig:
    return CLIPConfig(architecture="tiny", weights="random", **changes)


def fitted(**changes: Any) -> Any:
    # No view: a model that looked at an image would break.
    return trained(CLIP, config(**changes), task(), None)  # type: ignore[arg-type]


def by_hand(x: Tensor, sentences: list[list[str]]) -> list[list[float]]:
    """100 cos of each embedding x and the mean of each class's unit vectors, with open_clip alone
    and plain loops."""
    model, _ = clip_model("tiny", "random")
    tokenizer = open_clip.SimpleTokenizer(context_length=77)
    table = []
    with torch.inference_mode():
        for of_class in sentences:
            units = [
                v / np.linalg.norm(v)
                for s in of_class
                for v in model.encode_text(tokenizer([s])).numpy()
            ]
            table.append(sum(units) / len(units))
    return [
        [100 * float(np.dot(v, t) / np.linalg.norm(v) / np.linalg.norm(t)) for t in table]
        for v in x.numpy()
    ]


X = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 24)).astype(np.float32))


def test_scores_are_100_cosines_of_image_and_sentence() -> None:
    sentences = [
        ["a photo of a black footed albatross."],
        ["a photo of a grizzly bear."],
        ["a photo of a emu."],
    ]
    np.testing.assert_allclose(fitted().scores(X), by_hand(X, sentences), atol=1e-3)


def test_several_templates_are_averaged_as_unit_vectors() -> None:
    names = ["black footed albatross", "grizzly bear", "emu"]
    sentences = [[f"a photo of a {n}, a type of bird.", f"{n}", f"the {n} at night"] for n in names]
    model = fitted(templates=("a photo of a {}, a type of bird.", "{}", "the {} at night"))
    np.testing.assert_allclose(model.scores(X), by_hand(X, sentences), atol=1e-3)


def test_a_class_may_be_told_by_its_attributes_alone() -> None:
    model = fitted(
        prompts="attributes",
        attribute_templates=("a bird with {}.",),
        strongest=2,
        attribute_words={"man-made": "built"},
    )
    told = [
        ["a bird with built, wing color black."],
        ["a bird with wing color black, built."],
        ["a bird with built, wing color black."],
    ]
    assert [list(s) for s in model.sentences()] == told
    np.testing.assert_allclose(model.scores(X), by_hand(X, told), atol=1e-3)


def test_an_image_scores_the_same_at_any_brightness_of_its_embedding() -> None:
    model = fitted()
    torch.testing.assert_close(model.scores(X), model.scores(7 * X))
    assert float(model.scores(X).abs().max()) <= 100


@pytest.mark.parametrize("template", ["a photo", "{} and {}"])
def test_a_template_has_one_place_for_the_class(template: str) -> None:
    with pytest.raises(UserError, match=f"templates.*has {template.count('{}')}"):
        build(CLIPConfig, merge([Layer({"templates": [template]}, "--set")]), "clip")


@pytest.mark.parametrize("dataset", ["awa2", "cub", "cub2010", "digits", "sun"])
def test_every_preset_is_a_valid_configuration_with_sources(dataset: str) -> None:
    path = PRESETS / f"{dataset}.yaml"
    settings = merge([read_yaml(path)])
    settings.section("protocol")
    build(CLIPConfig, settings, "clip")
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        assert "# " in line or line.rstrip().endswith(":"), (
            f"{path.name} has a value without a source: {line}"
        )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file({k: v.clone() for k, v in clip_model("tiny", "random")[0].state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def ran(weights: Path, out: Path, **changes: Any) -> api.Result:
    overrides = {"architecture": "tiny", "weights": str(weights), **changes}
    return api.run("clip", "digits", device="cpu", out=out, overrides=overrides)


@pytest.fixture(scope="module")
def result(weights: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> api.Result:
    """A run from photos to a record, calibrated on a fold: a dataset's wish for weights of trainval
    is not CLIP's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSLKIT_CACHE", str(cache))
        return ran(weights, tmp_path_factory.mktemp("runs"), protocol={"calibration": "validation"})


@pytest.mark.slow
def test_the_record_names_clips_own_encoder_and_no_other(result: api.Result, weights: Path) -> None:
    features = result.record.features
    assert (features.backbone, features.weights) == ("tiny (open_clip)", f"file {weights.name}")
    assert (features.size, features.tuned) == ((32, 32), False)
    assert set(result.record.config["features"]) == {"input", "dtype"}
    assert not [
        key
        for key in result.record.origins
        if key in ("features.backbone", "features.weights", "features.size")
    ]


def test_every_table_says_what_the_pretraining_may_have_seen(result: api.Result) -> None:
    (block,) = compare([result.record])
    assert "pretraining may have seen the classes" in block.rows[0].badges
    assert any(
        line.endswith("pretraining may have seen the classes")
        for line in run_lines(result.record, result.folder, reused=False)
    )
    assert "class-inductive" in block.rows[0].badges and "backbone frozen" in block.rows[0].badges


def test_a_run_opened_again_sees_images_through_the_same_encoder(
    result: api.Result, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZSLKIT_CACHE", str(cache))
    again = load_with_dataset(result.folder)
    index = again.dataset.split.test_unseen[:3]
    paths = []
    for i in index.tolist():
        paths.append(tmp_path / f"{i}.png")
        again.dataset.images.open(i).save(paths[-1])
    torch.testing.assert_close(
        TrainedModel(again).inputs(paths), again.inputs.source.batch(index), rtol=1e-4, atol=1e-4
    )
    assert float(again.model.texts.norm(dim=1).sub(1).abs().max()) < 1e-5


@pytest.mark.slow
def test_the_same_file_with_other_texts_is_another_run(
    result: api.Result, weights: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSLKIT_CACHE", str(cache))
    out, before = result.folder.parents[2], weights.read_bytes()
    assert ran(weights, out, protocol={"calibration": "validation"}).reused
    state = clip_model("tiny", str(weights))[0].state_dict()
    try:
        save_file(
            {k: v + 1 if k == "text_projection" else v.clone() for k, v in state.items()}, weights
        )
        assert not ran(weights, out, protocol={"calibration": "validation"}).reused
    finally:
        weights.write_bytes(before)


def zslkit(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "ZSLKIT_CACHE": str(cwd / "cache"),
        "HOME": str(cwd),
        "HF_HOME": str(cwd / "hub"),
    }
    return subprocess.run(
        [sys.executable, "-m", "zslkit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=env,
    )


@pytest.mark.slow
def test_without_weights_the_command_line_says_what_to_give(tmp_path: Path) -> None:
    done = zslkit("run", "--model", "clip", "--dataset", "digits", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert "give a file with --set weights=FILE" in line
    assert not (tmp_path / ".cache").exists() and not (tmp_path / "hub").exists()


@pytest.mark.parametrize("key", ["backbone", "weights", "size", "reduction", "pretrain_epochs"])
def test_a_backbone_that_would_say_nothing_is_refused(key: str) -> None:
    with pytest.raises(
        UserError,
        match=rf"clip brings its own image encoder, so features\.{key} \(--set\) says nothing to "
        r"it",
    ):
        api.resolve("clip", "digits", settings=[f"features.{key}=1"])
    settings = api.resolve("clip", "digits")  # whose dataset wishes for all of them
    assert f"features.{key}" not in settings.origins and key not in settings.values["features"]


def test_the_command_line_shows_what_counts_for_clip(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["models", "clip", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pretraining"] == "pretraining may have seen the classes"
    keys = {setting["key"] for setting in told["settings"]}
    assert {"weights", "templates", "features.dtype"} <= keys and "features.backbone" not in keys
