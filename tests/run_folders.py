"""Finished runs on disk, made of scores: for tests of whatever reads run folders."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from zslkit.config.merge import Layer, merge
from zslkit.evaluation.gzsl import evaluate
from zslkit.record import RunRecord
from zslkit.runs.run_folder import RunFolder
from zslkit.runs.scores import Scores

CLASSES = 6
UNLABELLED: dict[str, Any] = dict.fromkeys(
    ("protocol", "selection", "calibration", "resolution"), "unknown"
)
"""Labels of a published row of which nothing is known."""


def random_scores(skill: float, seed: int = 0, images: int = 60) -> Scores:
    """Scores of 4 seen and 2 unseen classes in which the true class stands out by `skill`; labels
    are the same for every seed."""
    rng, labels = np.random.default_rng(seed), np.random.default_rng(99)
    seen = np.arange(CLASSES) < 4
    parts: list[Any] = []
    for ids in (np.flatnonzero(seen), np.flatnonzero(~seen)):
        truth = labels.permutation(np.resize(ids, images))
        scores = rng.standard_normal((images, CLASSES)).astype(np.float32)
        scores[np.arange(images), truth] += skill
        parts += [scores, truth]
    return Scores(*parts, seen, tuple(f"class {k}" for k in range(CLASSES)))


def make_run(
    out: Path,
    model: str,
    scores: Scores,
    seed: int = 0,
    /,
    identity: str | None = None,
    **changes: Any,
) -> Path:
    """A finished run folder below `out` whose record has the figures of the scores; keywords are
    merged into it, but config replaces."""
    gamma = changes.get("protocol", {}).get("gamma", 0.0)
    metrics, plain = evaluate(*scores.sets(), gamma), evaluate(*scores.sets())
    identity = identity or f"{zlib.crc32(f'{model}{seed}'.encode()):012x}"
    raw: dict[str, Any] = {
        "identity": identity,
        "model": {
            "name": model,
            "distribution": "d",
            "version": "1",
            "class_path": f"a:{model}",
            "protocol": "inductive",
        },
        "dataset": {
            "name": "birds",
            "title": "Birds",
            "classes": len(scores.classes),
            "seen": int(scores.seen.sum()),
            "unseen": int((~scores.seen).sum()),
            "n_trainval": 9,
        }
        | {
            "n_test_seen": len(scores.test_seen_labels),
            "n_test_unseen": len(scores.test_unseen_labels),
        },
        "seed": seed,
        "config": changes.pop("config", {"lr": 0.1, "features": {"size": 8}}),
        "origins": {},
        "features": {
            "input": "pooled",
            "backbone": "net",
            "weights": "hub",
            "weights_digest": "w",
            "size": 8,
            "dtype": "float32",
        }
        | {"tuned": False, "fingerprint": "f"},
        "fingerprints": {"split": "5011" * 4, "semantics": "5e3a" * 4, "features": "f"},
        "protocol": {"training": "inductive", "selection": "last", "calibration": "none"},
        "metrics": metrics.figures(),
        "uncalibrated": plain.figures(),
        "chance": metrics.chance,
        "per_class": {
            n: None if np.isnan(a) else a
            for n, a in zip(scores.classes, metrics.per_class.tolist(), strict=True)
        },
        "costs": {
            "parameters": 1,
            "trainable_parameters": 1,
            "train_seconds": 2.0,
            "extract_seconds": 3.0,
            "eval_seconds": 1.0,
        },
        "environment": dict.fromkeys(
            ("python", "platform", "torch", "numpy", "timm", "zslkit", "cpu"), "x"
        )
        | {"device": "cpu", "threads": 1},
        "started": "2025-01-02T03:04:05+00:00",
        "finished": "2025-01-02T03:14:05+00:00",
    }
    record = RunRecord.model_validate(merge([Layer(raw, ""), Layer(changes, "")]).values)
    with RunFolder.open(out, record.dataset.name, model, seed, identity) as folder:
        folder.commit(record, scores)
        return folder.path
