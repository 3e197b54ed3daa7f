"""Run folders for the tests of the page: a small shelf, and one whose every name is an attack."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from run_folders import make_run, random_scores

from zslkit.evaluation.gzsl import peak
from zslkit.evaluation.sets import checked_sets
from zslkit.runs.folders import LOG

EVIL = (
    "<script>alert(1)</script>",
    '"onload="alert(2)',
    "</script><img src=x onerror=alert(3)>",
    "a & b\u202eevil",
    "'; alert(4)//",
)


def write_log(folder: Path, *entries: dict[str, object]) -> None:
    (folder / LOG).write_text(
        "".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8"
    )


def small_shelf(out: Path) -> Path:
    """On birds alpha (seeds 0 and 1, trained in epochs), beta (class-inductive) and gamma
    (calibrated, without scores); on fish alpha."""
    for seed in (0, 1):
        scores = random_scores(1.5, seed)
        picked = {
            "every": 1,
            "best_epoch": 2,
            "T1": 99.0,
            "U": 99.0,
            "S": 99.0,
            "H": 99.0,
            "H_gamma_on_test": peak(checked_sets(*scores.sets()).curve())[1],
        }
        folder = make_run(
            out,
            "alpha",
            scores,
            seed,
            optimistic=picked,
            dataset={"published_as": "cub"},
        )
        write_log(
            folder,
            *(
                {"phase": "train", "epoch": e, "seconds": 0.1, "loss": 1 / e + seed}
                for e in (1, 2, 3)
            ),
        )
    beta = {"protocol": "class-inductive"}
    costs = {"train_seconds": 90.0, "parameters": 5, "peak_memory_mb": 10.0}
    protocol = {"training": "class-inductive"}
    dataset = {"published_as": "cub"}
    make_run(
        out,
        "beta",
        random_scores(0.8, 7),
        0,
        model=beta,
        protocol=protocol,
        costs=costs,
        dataset=dataset,
    )
    bare = make_run(
        out,
        "gamma",
        random_scores(1.2, 9),
        0,
        dataset=dataset,
        protocol={"calibration": "validation", "gamma": 0.5},
    )
    (bare / "scores.npz").unlink()
    make_run(
        out,
        "alpha",
        random_scores(2.0, 3),
        0,
        identity="f" * 12,
        dataset={"name": "fish", "title": "Fish"},
    )
    return out


def evil_shelf(out: Path) -> Path:
    """Two models, two variants, classes, settings and a dataset whose names try to become
    markup."""
    scores = random_scores(1.0)
    scores = replace(scores, classes=(*EVIL, "class 5"))
    for i, name in enumerate(EVIL[:2]):
        for lr in (EVIL[2], EVIL[0]):
            folder = make_run(
                out,
                name,
                scores,
                0,
                identity=f"{i}{EVIL.index(lr)}" * 6,
                config={"lr": lr, EVIL[4]: EVIL[1], "features": {"size": 8}},
                dataset={"name": EVIL[2], "title": EVIL[2]},
                model={"citation": EVIL[2], "pretraining_note": EVIL[0]},
                features={"backbone": EVIL[1]},
            )
            write_log(
                folder,
                *(
                    {"phase": "train", "epoch": e, "seconds": 0.1, EVIL[0]: float(e)}
                    for e in (1, 2)
                ),
            )
    return out
