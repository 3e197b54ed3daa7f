"""Runs with made-up scores, as training would leave them, for benchmarks of what comes after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def labels_of(images: int, seen: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Labels of both test sets, half of the images each, spread over the classes of each side."""
    return [np.resize(np.flatnonzero(side), images // 2) for side in (seen, ~seen)]


def coming(
    truth: np.ndarray[Any, Any], classes: int, skill: float, seed: int
) -> Iterator[np.ndarray[Any, Any]]:
    """Scores in batches, as a model would give them, in which the true class stands out by
    `skill`."""
    noise = np.random.default_rng(seed).standard_normal(64 * classes + 4096, dtype=np.float32)
    for i in range(0, len(truth), 64):
        part = truth[i : i + 64]
        shift = (
            i // 64 % 4096
        )  # so that no two batches are equal, at the cost of a copy and not of a generator
        batch = noise[shift : shift + len(part) * classes].reshape(len(part), classes).copy()
        batch[np.arange(len(part)), part] += skill
        yield batch


def streamed(images: int, classes: int, skill: float = 3.0, seed: int = 0) -> Any:
    from zslkit.runs.scores import ScoreStream

    seen = np.arange(classes) < classes - max(1, classes // 5)
    a, b = labels_of(images, seen)
    names = tuple(f"class {k}" for k in range(classes))
    return ScoreStream(
        coming(a, classes, skill, seed), a, coming(b, classes, skill, seed + 1), b, seen, names
    )


def finished_run(out: Path, number: int, size: dict[str, int]) -> None:
    """A run folder as training would leave it, with made-up scores of a skill of its own."""
    from zslkit.evaluation.gzsl import measure
    from zslkit.evaluation.sets import checked_sets
    from zslkit.record import RunRecord
    from zslkit.runs.run_folder import RunFolder

    identity, classes = f"{number:012x}", size["classes"]
    with RunFolder.open(out, "made-up", f"model{number}", 0, identity) as folder:
        scores = folder.keep(
            streamed(size["images"], classes, 2 + number / size["runs"], 2 * number)
        )
        metrics = measure(checked_sets(*scores.sets()))
        sets = {
            "n_trainval": 1,
            "n_test_seen": size["images"] // 2,
            "n_test_unseen": size["images"] // 2,
        }
        told = dict.fromkeys(("python", "platform", "torch", "numpy", "timm", "zslkit", "cpu"), "")
        raw = {
            "identity": identity,
            "model": {
                "name": f"model{number}",
                "distribution": "d",
                "version": "1",
                "class_path": "a:b",
                "protocol": "inductive",
            },
            "dataset": {
                "name": "made-up",
                "title": "Made up",
                "classes": classes,
                "seen": int(scores.seen.sum()),
                "unseen": int((~scores.seen).sum()),
                **sets,
            },
            "seed": 0,
            "config": {"lr": 0.1},
            "origins": {},
            "features": {
                "input": "pooled",
                "backbone": "as given",
                "weights": "",
                "weights_digest": "",
                "size": None,
                "dtype": "float32",
            }
            | {"tuned": False, "fingerprint": "f"},
            "fingerprints": {"split": "s" * 16, "semantics": "a" * 16, "features": "f"},
            "protocol": {"training": "inductive", "selection": "last", "calibration": "none"},
            "metrics": metrics.figures(),
            "uncalibrated": metrics.figures(),
            "chance": metrics.chance,
            "per_class": {
                n: None if np.isnan(a) else a
                for n, a in zip(scores.classes, metrics.per_class.tolist(), strict=True)
            },
            "costs": dict.fromkeys(
                (
                    "parameters",
                    "trainable_parameters",
                    "train_seconds",
                    "extract_seconds",
                    "eval_seconds",
                ),
                1,
            ),
            "environment": told | {"device": "cpu", "threads": 1},
            "started": "2025-01-02T03:04:05+00:00",
            "finished": "2025-01-02T03:14:05+00:00",
        }
        folder.commit(RunRecord.model_validate(raw), scores)
