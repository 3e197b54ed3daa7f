"""How time and memory grow with images, classes, attributes, regions and runs, stage by stage, on
made-up features.

    python benchmarks/scaling.py [--quick] [--stage NAME] [--grows NAME] [--largest] [--json]
    [--plot FILE.svg]

Every point runs in a process of its own (benchmarks/scaling_stages.py), so that its peak of memory
is its own, on one thread. Time
is that of the processor: whatever else the machine does is not in it. The exponent is the slope of
log(cost) over log(size): over
all sizes, and between the two largest, where constant costs weigh least. 1 is linear. --largest
adds the evaluation of 100,000
images and 5,000 classes (2 GB on disk, a minute). --quick takes two small sizes of each, to see
that it runs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Axis:
    """One thing that grows while all else stays. why: what the mathematics asks of it."""

    stage: str
    grows: str
    sizes: tuple[int, ...]
    quick: tuple[int, int]
    why: str


AXES = (
    Axis(
        "extraction",
        "images",
        (16, 64, 256),
        (2, 4),
        "each passes once through the network; below 1 by its start-up",
    ),
    Axis(
        "extraction",
        "regions",
        (49, 196, 784),
        (4, 9),
        "a convolution costs as much at every pixel",
    ),
    Axis(
        "DEDN step",
        "images",
        (1_000, 10_000, 100_000),
        (1_000, 2_000),
        "a batch is a batch; classes are told apart once an epoch",
    ),
    Axis(
        "DEDN step",
        "classes",
        (50, 500, 5_000),
        (20, 40),
        "one product of attribute scores and class attributes",
    ),
    Axis("DEDN step", "attributes", (50, 200, 800, 2_000), (10, 20), "a query for each attribute"),
    Axis("DEDN step", "regions", (49, 196, 784), (4, 9), "every attribute looks at every region"),
    Axis(
        "ESZSL fit",
        "images",
        (1_000, 10_000, 100_000),
        (1_000, 2_000),
        "X X^T is a sum over images",
    ),
    Axis("ESZSL fit", "classes", (50, 500, 5_000), (20, 40), "a column of X Y for each class"),
    Axis(
        "ESZSL fit",
        "attributes",
        (50, 200, 800, 2_000),
        (10, 20),
        "S S^T + l I is A x A and is factored: up to A^3",
    ),
    Axis(
        "evaluation",
        "images",
        (1_000, 10_000, 100_000),
        (100, 200),
        "every score is looked at; sorting breakpoints adds log N",
    ),
    Axis("evaluation", "classes", (50, 500, 5_000), (10, 20), "every score is looked at"),
    Axis(
        "report", "images", (1_000, 10_000, 100_000), (100, 200), "every resample draws every image"
    ),
    Axis(
        "report",
        "classes",
        (50, 500, 5_000),
        (10, 20),
        "scores are read to find the answers, resamples do not know classes",
    ),
    Axis(
        "report",
        "runs",
        (8, 32, 128),
        (2, 3),
        "all pairs are tested, which is the square; up to 250 pairs (22 rows) resamples grow too",
    ),
    Axis(
        "page",
        "images",
        (1_000, 10_000, 100_000),
        (100, 200),
        "every resample draws every image; of a curve 160 points are drawn",
    ),
    Axis(
        "page",
        "classes",
        (50, 500, 5_000),
        (10, 20),
        "scores are read for the curves, and accuracies of classes listed; resamples do not know "
        "classes",
    ),
    Axis(
        "page",
        "runs",
        (8, 32, 128),
        (2, 3),
        "all pairs are tested; a curve and details for each run",
    ),
)
COSTS = ("cpu_seconds", "anonymous_mb")


def point(stage: str, sizes: dict[str, int]) -> dict[str, float]:
    """What a process of its own measures."""
    asked = json.dumps({"stage": stage, **sizes})
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "scaling_stages.py"), asked]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **one_thread}
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The least-squares slope of log(cost) over log(size); NaN if a cost is not above 0."""
    if min(costs) <= 0:
        return math.nan
    x, y = [math.log(s) for s in sizes], [math.log(c) for c in costs]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum(
        (a - mx) ** 2 for a in x
    )


def verdict(last: float) -> str:
    """The growth between the two largest sizes in a word."""
    if math.isnan(last):
        return "not measurable"
    return (
        "flat"
        if last < 0.15
        else "below linear"
        if last < 0.85
        else "linear"
        if last <= 1.15
        else "above linear"
    )


def measure(axis: Axis, quick: bool) -> dict[str, Any]:
    """All sizes of an axis with exponents of time and memory."""
    sizes = axis.quick if quick else axis.sizes
    points = []
    for size in sizes:
        print(f"{axis.stage}, {size} {axis.grows}", file=sys.stderr, flush=True)
        points.append(
            {
                axis.grows: size,
                **point(axis.stage, {axis.grows: size} | ({"turns": 1} if quick else {})),
            }
        )
    exponents = {}
    for cost in COSTS:
        values = [p[cost] for p in points]
        exponents[cost] = {"all": slope(sizes, values), "last": slope(sizes[-2:], values[-2:])}
    growth = {cost: verdict(found["last"]) for cost, found in exponents.items()}
    return {
        "stage": axis.stage,
        "grows": axis.grows,
        "points": points,
        "exponents": exponents,
        "growth": growth,
        "why": axis.why,
    }


def shown(results: Sequence[dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| stage | grows | sizes | CPU seconds | exponent, all / last | MB of its own | exponent, "
        "last | why |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for r in results:
        sizes = ", ".join(f"{p[r['grows']]:,}" for p in r["points"])
        seconds, memory = (
            ", ".join(f"{p[cost]:.2g}" if p[cost] < 10 else f"{p[cost]:.0f}" for p in r["points"])
            for cost in COSTS
        )
        time, room = (r["exponents"][cost] for cost in COSTS)
        said = f"{time['all']:.2f} / {time['last']:.2f}, {r['growth'][COSTS[0]]}"
        lines.append(
            f"| {r['stage']} | {r['grows']} | {sizes} | {seconds} | {said} | {memory} | "
            f"{room['last']:.2f} | {r['why']} |"
        )
    return "\n".join(lines)


def plot(results: Sequence[dict[str, Any]], place: Path) -> None:
    """Time over size, each as a multiple of the smallest, a panel for each stage, with the line
    that is linear."""
    from matplotlib.figure import Figure

    colours = {
        "images": "#1f77b4",
        "classes": "#d62728",
        "attributes": "#2ca02c",
        "regions": "#9467bd",
        "runs": "#ff7f0e",
    }
    stages = list(dict.fromkeys(r["stage"] for r in results))
    figure = Figure(
        figsize=(10, 2.4 * math.ceil(len(stages) / 3) + 0.6),
        layout="constrained",
        facecolor="white",
    )
    panels = figure.subplots(math.ceil(len(stages) / 3), min(3, len(stages)), squeeze=False).ravel()
    for panel, stage in zip(panels, stages, strict=False):
        most = 1.0
        for r in (r for r in results if r["stage"] == stage):
            first = r["points"][0]
            x = [p[r["grows"]] / first[r["grows"]] for p in r["points"]]
            y = [p["cpu_seconds"] / first["cpu_seconds"] for p in r["points"]]
            panel.plot(
                x,
                y,
                "o-",
                color=colours[r["grows"]],
                markersize=4,
                label=f"{r['grows']}, from {first[r['grows']]:,}",
            )
            most = max(most, *x)
        panel.plot([1, most], [1, most], ":", color="grey", linewidth=1, label="linear")
        panel.set(
            xscale="log",
            yscale="log",
            title=stage,
            xlabel="times as many",
            ylabel="times the CPU time",
        )
        panel.grid(alpha=0.3)
        panel.set_ylim(top=panel.get_ylim()[1] * 6)  # room for the legend above the lines
        panel.legend(fontsize=7, loc="upper left")
    for panel in panels[len(stages) :]:
        panel.set_axis_off()
    figure.savefig(place, metadata={"Date": None} if place.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--stage",
        action="append",
        choices=list(dict.fromkeys(a.stage for a in AXES)),
        help="default: all",
    )
    parser.add_argument(
        "--grows",
        action="append",
        choices=list(dict.fromkeys(a.grows for a in AXES)),
        help="default: all",
    )
    parser.add_argument("--largest", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    given = parser.parse_args()
    stages, grows = given.stage or {a.stage for a in AXES}, given.grows or {a.grows for a in AXES}
    results = [
        measure(axis, given.quick) for axis in AXES if axis.stage in stages and axis.grows in grows
    ]
    largest = (
        point("evaluation", {"images": 100_000, "classes": 5_000, "turns": 1})
        if given.largest
        else None
    )
    if given.plot is not None:
        plot(results, given.plot)
    if given.json:
        # NaN is no JSON: what could not be fitted is null.
        told = json.dumps(
            {"axes": results, "largest": largest, "load": os.getloadavg()[0]}, indent=1
        )
        print(told.replace(": NaN", ": null"))
        return
    print(shown(results))
    if largest is not None:
        print(
            "\n100,000 images, 5,000 classes: "
            f"{', '.join(f'{name} {value:.0f}' for name, value in largest.items())}"
        )


if __name__ == "__main__":
    main()
