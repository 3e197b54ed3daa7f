"""A record and scores to vary, for the tests of runs and of tables of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zslkit.config.merge import Layer, merge
from zslkit.record import RunRecord
from zslkit.runs.scores import Scores

FIGURES = {"T1": 60.0, "U": 50.0, "S": 40.0, "H": 44.4, "AUSUC": 0.31}


def plain_record() -> dict[str, Any]:
    return {
        "identity": "0123456789ab",
        "model": {
            "name": "alpha",
            "distribution": "alpha-zsl",
            "version": "1.2",
            "class_path": "alpha.model:Alpha",
            "protocol": "inductive",
            "citation": "Alpha et al. 2020",
        },
        "dataset": {
            "name": "birds",
            "title": "Birds, 224 px",
            "classes": 3,
            "seen": 2,
            "unseen": 1,
            "n_trainval": 10,
            "n_test_seen": 4,
            "n_test_unseen": 3,
            "published_as": "",
        },
        "seed": 0,
        "config": {"model": {"lr": 0.0001, "train": {"epochs": 4}}, "features": {"size": 224}},
        "origins": {"model.lr": "preset", "features.size": "--set"},
        "features": {
            "input": "map",
            "backbone": "resnet101.tv_in1k",
            "weights": "auto",
            "weights_digest": "feed" * 4,
            "size": 224,
            "dtype": "float16",
            "tuned": False,
            "fingerprint": "cafe" * 4,
        },
        "fingerprints": {"split": "5011" * 4, "semantics": "5e3a" * 4, "features": "cafe" * 4},
        "protocol": {
            "training": "inductive",
            "selection": "last",
            "calibration": "none",
            "epoch": 4,
        },
        "metrics": dict(FIGURES),
        "uncalibrated": dict(FIGURES),
        "chance": {"T1": 100.0, "U": 33.3, "S": 33.3, "H": 33.3},
        "per_class": {"crow": 40.0, "gull": 40.0, "wren": 50.0},
        "costs": {
            "parameters": 1_200_000,
            "trainable_parameters": 1_000_000,
            "train_seconds": 200.0,
            "extract_seconds": 3.0,
            "eval_seconds": 1.0,
            "peak_memory_mb": 812.0,
        },
        "environment": {
            "python": "3.11.1",
            "platform": "Linux",
            "torch": "2.3",
            "numpy": "2.0",
            "timm": None,
            "zslkit": "0.1.0",
            "device": "cpu",
            "threads": 2,
            "cpu": "a CPU",
        },
        "git": {"commit": "a" * 40, "dirty": False},
        "started": "2025-01-02T03:04:05+00:00",
        "finished": "2025-01-02T03:14:05+00:00",
    }


@pytest.fixture
def raw() -> dict[str, Any]:
    """A record as JSON holds it."""
    return plain_record()


@pytest.fixture
def make() -> Callable[..., RunRecord]:
    """Make a record; keywords are merged into the plain one, key by key."""

    def made(**changes: Any) -> RunRecord:
        return RunRecord.model_validate(
            merge([Layer(plain_record(), ""), Layer(changes, "")]).values
        )

    return made


@pytest.fixture
def scores() -> Scores:
    rng = np.random.default_rng(0)
    return Scores(
        test_seen_scores=rng.standard_normal((4, 3)).astype(np.float32),
        test_seen_labels=np.array([0, 1, 0, 1]),
        test_unseen_scores=rng.standard_normal((3, 3)).astype(np.float32),
        test_unseen_labels=np.array([2, 2, 2]),
        seen=np.array([True, True, False]),
        classes=("crow", "gull", "Zaunkönig"),
    )
