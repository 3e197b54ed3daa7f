"""A checkpoint of the authors' program becomes a run folder that `evaluate` accepts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from zslkit.cli import app
from zslkit.runs import api
from zslkit.runs.folders import load_run
from zslkit_dedn import convert, official
from zslkit_dedn.model import DEDN

CARD = (
    "name: made\nimages: images\nattributes: classes.csv\nunseen: [c3]\nfeatures: {backbone: "
    "test_resnet, weights: random, size: 32}\n"
)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of four classes with the 85 attributes of AWA2 and word vectors, in a folder."""
    from PIL import Image

    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    lines = ["class," + ",".join(f"a{i}" for i in range(85))]
    for c in range(4):
        lines.append(f"c{c}," + ",".join(f"{v:.3f}" for v in rng.random(85)))
        (tmp_path / "images" / f"c{c}").mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / f"c{c}" / f"{i}.png")
    (tmp_path / "classes.csv").write_text("\n".join(lines))
    np.save(tmp_path / "words.npy", rng.standard_normal((85, 6)).astype(np.float32))
    path = tmp_path / "card.yaml"
    path.write_text(CARD + "word_vectors: words.npy\n")
    return path


@pytest.fixture
def checkpoint(card: Path, tmp_path: Path) -> Path:
    """What the authors' program would have saved: here a run of ours, written under their names."""
    short = {"clusters": "paper", "train": {"epochs": 1, "steps_per_epoch": 1}}
    result = api.run("dedn", str(card), overrides=short, out=tmp_path / "runs")
    from zslkit.runs.load import load_with_dataset

    trained = load_with_dataset(result.folder, card)
    assert isinstance(trained.model, DEDN)
    torch.save(official.state_dict(trained.model), tmp_path / "theirs.pth")
    return tmp_path / "theirs.pth"


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["convert", *map(str, arguments)])
    return convert.main()


def test_a_converted_checkpoint_is_a_run_with_the_same_scores(
    card: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (ours,) = (tmp_path / "runs").glob("made/dedn/seed0-????????????")
    assert call(monkeypatch, checkpoint, "-d", card, "--out", tmp_path / "made") == 0
    assert "trained elsewhere (theirs.pth, " in capsys.readouterr().out
    (folder,) = (tmp_path / "made").glob("made/dedn/seed0-????????????")
    run = load_run(folder)
    assert run.record.elsewhere.startswith("theirs.pth, ") and run.record.protocol.epoch is None
    np.testing.assert_allclose(
        run.scores().test_unseen_scores,
        load_run(ours).scores().test_unseen_scores,
        rtol=1e-5,
        atol=1e-5,
    )
    assert app.main(["evaluate", str(folder), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["runs"]
    assert told["metrics"] == run.record.metrics.model_dump()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: {**s, "mask_bias": -s["mask_bias"]},
            "The seen classes of the checkpoint are not those of made here",
        ),
        (
            lambda s: {**s, "att": s["att"].flip(0)},
            "The class attributes of the checkpoint are not those of made here",
        ),
        (
            lambda s: {**s, "GNet.H_2": s["GNet.H_2"][:, :3]},
            "GNet.H_2 is (6, 3) in the checkpoint and (6, ",
        ),
        (lambda s: {k: v for k, v in s.items() if k != "Snet1.V"}, "differ in Snet1.V"),
    ],
)
def test_a_checkpoint_of_other_data_is_refused(
    card: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change,
    words: str,
) -> None:
    torch.save(change(torch.load(checkpoint, weights_only=True)), checkpoint)
    assert call(monkeypatch, checkpoint, "-d", card, "--out", tmp_path / "made") == 2
    assert words in capsys.readouterr().err
    assert not list((tmp_path / "made").glob("made/dedn/seed0-????????????"))


def test_evaluate_takes_a_gamma_and_says_that_it_is_no_result(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = (tmp_path / "runs").glob("made/dedn/seed0-????????????")
    assert app.main(["evaluate", str(folder), "--gamma", "1e9"]) == 0
    out = capsys.readouterr().out
    assert "1e+09 (given by hand)" in out
    assert app.main(["evaluate", str(folder), "--gamma", "1e9", "--json", "--per-class"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["runs"]
    assert (
        told["metrics"]["S"] == 0.0 and told["metrics"]["U"] == told["metrics"]["T1"]
    )  # all mass to the unseen side
    assert set(told["per_class"]) == {"c0", "c1", "c2", "c3"}
    assert app.main(["evaluate", str(tmp_path / "none")]) == 2
