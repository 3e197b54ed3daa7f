"""`zslkit data import` end to end: a cache of another program, imported and run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from zslkit.cli import app

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """60 maps of six classes, two of them unseen, whose attributes shine through the channels."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 6
    attributes = rng.random((6, 8))
    seen = np.flatnonzero(labels < 4)
    maps = attributes[labels][:, :, None, None] + rng.normal(0, 0.1, (60, 8, 3, 3))
    path = tmp_path / "cache ä.hdf5"
    with h5py.File(path, "w") as file:
        held = {
            "feature_map": maps.astype("f4"),
            "labels": labels,
            "trainval_loc": seen[:30],
            "test_seen_loc": seen[30:],
        }
        held |= {
            "test_unseen_loc": np.flatnonzero(labels >= 4),
            "original_att": attributes,
            "w2v_att": rng.random((8, 3)).astype("f4"),
        }
        for name, values in held.items():
            file.create_dataset(name, data=values, compression="gzip")
    return path


def test_a_cache_is_imported_and_both_kinds_of_models_run_on_it(
    zslkit: Run,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = zslkit("data", "import", cache.name, "--out", "mine", "--title", "My birds", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["features"], facts["images"], facts["unseen"], facts["test_unseen"]) == (
        [8, 3, 3],
        60,
        2,
        20,
    )
    monkeypatch.chdir(tmp_path)
    for model, kind, more in (
        ("dazle", "map", ["--set", "train.epochs=1"]),
        ("eszsl", "pooled", []),
    ):
        assert (
            app.main(
                [
                    "run",
                    "--model",
                    model,
                    "--dataset",
                    "mine/card.yaml",
                    "--json",
                    "--device",
                    "cpu",
                    *more,
                ]
            )
            == 0
        )
        (file,) = (tmp_path / "runs" / "mine" / model).glob("*/record.json")
        features = json.loads(file.read_text())["features"]
        assert (features["input"], features["backbone"]) == (kind, "as given")
        assert features["weights"].startswith("cache ä.hdf5 (HDF5 cache, sha256:")
    capsys.readouterr()
    assert (
        app.main(["run", "--model", "apn", "--dataset", "mine/card.yaml", "--input", "image"]) == 2
    )
    assert "feature maps but no images here" in capsys.readouterr().err


def test_what_is_refused_is_one_sentence_and_the_next_step(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.write_bytes(cache.read_bytes()[:5000])
    monkeypatch.chdir(tmp_path)
    for arguments, sentence in (
        ([cache.name, "--out", "mine"], "cache ä.hdf5 is no whole HDF5 file ("),
        (["lost.mat", "--out", "mine"], "There is no file of features lost.mat; check the path"),
        ([cache.name, "--out", "mine", "--name", "a b"], "'a b' cannot be a dataset's name"),
    ):
        assert app.main(["data", "import", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert sentence in err and err.count("\n") == 1
    assert not (tmp_path / "mine").exists()
