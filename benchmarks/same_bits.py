"""How much a run differs by what it is computed on: threads, instructions of the processor, and
`--deterministic`.

    python benchmarks/same_bits.py --models eszsl dedn

Each run is a process of its own, with the thread count and the instruction set that its line names.
All of them read one set of feature
stores, made once by the first line (one thread, all instructions), since the store would else be
what differs; the stores that the
other lines would have made are compared by themselves at the end, with the same weights. Figures:
the largest difference of one score
and of U, S and H in points, each against the first line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from zslkit.runs.scores import read_scores

LINES: dict[str, dict[str, Any]] = {
    "1 thread": {"threads": 1},
    "1 thread again": {"threads": 1},
    "1 thread, --deterministic": {"threads": 1, "more": ["--deterministic"]},
    "2 threads": {"threads": 2},
    "1 thread, avx2": {"threads": 1, "capability": "avx2"},
    "1 thread, no vectors": {"threads": 1, "capability": "default"},
}
"""What is compared; the first line is what the others are held against. capability: of torch's own
kernels (ATEN_CPU_CAPABILITY)."""


def zslkit(
    arguments: list[str], cache: Path, threads: int, capability: str | None = None
) -> dict[str, Any]:
    """The object that the command prints."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "ZSLKIT_CACHE": str(cache)}
    environment["OMP_WAIT_POLICY"] = (
        "PASSIVE"  # else a thread that waits takes the core of one that works
    )
    if capability is not None:
        environment["ATEN_CPU_CAPABILITY"] = capability
    done = subprocess.run(
        [sys.executable, "-m", "zslkit", *arguments, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def scores_of(summary: dict[str, Any]) -> np.ndarray:
    """(N, C) of both test sets."""
    kept = read_scores(Path(summary["run_folder"]) / "scores.npz")
    return np.concatenate([kept.test_seen_scores, kept.test_unseen_scores])


def store_of(cache: Path) -> Path:
    return next(
        folder for folder in (cache / "features").iterdir() if (folder / "manifest.json").is_file()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["eszsl", "dedn"])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", default="data")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        common = ["--dataset", chosen.dataset, "--data-root", chosen.data_root, "--device", "cpu"]
        # Weights trained on trainval are the run's own for each number of threads, so they are made
        # once and given as a file.
        zslkit(
            ["run", "--model", "eszsl", *common, "--out", str(work / "first")],
            work / "first-cache",
            1,
        )
        trained = next((work / "first-cache" / "weights").glob("*.safetensors"), None)
        if trained is not None:
            common += ["--backbone-weights", str(trained.rename(work / "weights.safetensors"))]
        print(
            f"{'model':8s} {'run':28s} {'scores of':>10s} {'largest':>10s} {'answers':>8s} "
            f"{'U':>8s} {'S':>8s} {'H':>8s}"
        )
        for model in chosen.models:
            first: tuple[np.ndarray, dict[str, float]] | None = None
            for name, how in LINES.items():
                arguments = [
                    "run",
                    "--model",
                    model,
                    *common,
                    "--out",
                    str(work / name),
                    *how.get("more", []),
                ]
                made = zslkit(arguments, work / "cache", how["threads"], how.get("capability"))
                scores = scores_of(made)
                if first is None:
                    first = scores, made["metrics"]
                other = int((scores.argmax(1) != first[0].argmax(1)).sum())
                moved = " ".join(
                    f"{made['metrics'][key] - first[1][key]:+8.3f}" for key in ("U", "S", "H")
                )
                largest = float(np.abs(scores - first[0]).max())
                print(
                    f"{model:8s} {name:28s} {float(np.abs(scores).max()):10.3g} {largest:10.3g} "
                    f"{other:8d} {moved}",
                    flush=True,
                )
        print(
            "\nstores of the same images and weights, against the first line's: largest "
            "difference, and of what"
        )
        first_store = store_of(work / "cache")
        for name, how in LINES.items():
            cache = work / f"cache of {name}"
            pooled = [
                "run",
                "--model",
                "eszsl",
                *common,
                "--out",
                str(work / f"{name} own"),
                *how.get("more", []),
            ]
            zslkit(pooled, cache, how["threads"], how.get("capability"))
            for part in ("maps.npy", "pooled.npy"):
                here, there = (
                    np.load(place / part).astype(np.float64)
                    for place in (store_of(cache), first_store)
                )
                share = float((here != there).mean())
                print(
                    f"{name:28s} {part:10s} {np.abs(here - there).max():10.3g} of "
                    f"{np.abs(there).max():.3g}; {share:.2%} of values",
                    flush=True,
                )


if __name__ == "__main__":
    main()
