"""Comparison tables from records made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from zslkit.results.record import RunRecord
from zslkit.results.tables import as_json, blocks, markdown, spread


def record(model: str = "one", seed: int = 0, H: float = 40.0, **features: Any) -> RunRecord:
    figures = {"T1": 50.0, "U": 30.0, "S": 30.0, "H": H, "AUSUC": 0.25}
    return RunRecord.model_validate(
        {
            "identity": f"{seed:012x}",
            "model": {"name": model, "distribution": "d", "version": "1", "class_path": "m:C", "protocol": "inductive"},
            "dataset": {
                "name": "cub", "title": "CUB", "classes": 4, "seen": 2, "unseen": 2,
                "n_trainval": 1, "n_test_seen": 1, "n_test_unseen": 1, "published_as": features.pop("published_as", ""),
            },
            "seed": seed, "config": {}, "origins": {},
            "features": {
                "input": "map", "backbone": "net", "weights": "w", "weights_digest": "0", "size": 224, "dtype": "float16",
                "tuned": False, "fingerprint": "0", **features,
            },
            "fingerprints": {"split": "s", "semantics": "t", "features": "0"},
            "protocol": {"training": "inductive", "selection": "last", "calibration": "none"},
            "metrics": figures, "uncalibrated": figures, "chance": {"T1": 50, "U": 25, "S": 25, "H": 25},
            "optimistic": {"H": H + 3}, "per_class": {"a": 1.0},
            "costs": {"parameters": 5, "trainable_parameters": 5, "train_seconds": 1, "extract_seconds": 1, "eval_seconds": 1},
            "environment": {
                "python": "3", "platform": "x", "torch": None, "numpy": None, "timm": None, "zslkit": None,
                "device": "cpu", "threads": 1, "cpu": "x",
            },
            "started": "2026-01-01T00:00:00Z", "finished": "2026-01-01T00:00:01Z",
        }
    )  # fmt: skip


def test_mean_and_standard_deviation_over_seeds() -> None:
    assert (spread([1.0, 3.0]).mean, spread([1.0, 3.0]).std, spread([1.0]).std) == (2.0, pytest.approx(2**0.5), None)
    (block,) = as_json([record(seed=0, H=40), record(seed=1, H=44)])["blocks"]
    assert block["rows"][0]["figures"]["H"] == {"mean": 42.0, "std": pytest.approx(8**0.5), "n": 2}


def test_the_best_is_bold_and_the_figure_picked_on_test_never_is() -> None:
    text = markdown([record("one", H=40), record("two", H=41)])
    assert "**41.0**" in text and "**40.0**" not in text
    assert "44.0" in text and "**44.0**" not in text and "no result of ours" in text


@pytest.mark.parametrize(
    ("features", "word"),
    [({"size": 448}, "resolution"), ({"tuned": True}, "training of the backbone"), ({"backbone": "other"}, "backbone")],
)
def test_rows_that_are_not_comparable_stand_apart_and_say_why(features: dict[str, Any], word: str) -> None:
    two = blocks([record("one"), record("two", **features)])
    assert len(two) == 2
    assert all(word in block.title for block in two)


def test_published_rows_stand_only_beside_what_they_may() -> None:
    assert "(published)" not in markdown([record()])
    text = markdown([record(published_as="cub")])
    assert "(published)" in text and "unconfirmed" in text
