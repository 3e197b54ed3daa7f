"""benchmarks/scaling.py measures every stage, each size in a process of its own; and what must not
grow with classes does not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zslkit.dataset import members_of
from zslkit.datasets.photo_sets import hold_out
from zslkit.training.sampling import batches

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_, scaling, stages = map(loaded, ("made_up_runs", "scaling", "scaling_stages"))

TINY = {
    "extraction": {"images": 2, "regions": 4},
    "DEDN step": {
        "images": 60,
        "classes": 10,
        "attributes": 6,
        "regions": 4,
        "channels": 8,
        "batch": 4,
    },
    "ESZSL fit": {"images": 60, "classes": 10, "attributes": 6, "channels": 8},
    "evaluation": {"images": 60, "classes": 10},
    "report": {"images": 60, "classes": 10, "runs": 2},
    "page": {"images": 60, "classes": 10, "runs": 2},
}


@pytest.mark.parametrize("stage", list(TINY))
def test_each_stage_does_its_work(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSLKIT_CACHE", str(tmp_path / "cache"))
    work = stages.STAGES[stage](stages.DEFAULTS[stage] | TINY[stage], tmp_path)
    work.once()
    assert work.left is None or any(f.stat().st_size for f in work.left.rglob("*") if f.is_file())


def test_every_axis_grows_something_that_its_stage_has() -> None:
    for axis in scaling.AXES:
        assert axis.grows in stages.DEFAULTS[axis.stage]
        assert list(axis.sizes) == sorted(set(axis.sizes)) and axis.quick[1] <= axis.sizes[0] * 2


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
def test_the_exponent_of_a_power_law_is_its_power(power: float) -> None:
    sizes = [10.0, 50.0, 300.0]
    assert scaling.slope(sizes, [3 * s**power for s in sizes]) == pytest.approx(power)
    assert scaling.verdict(power) == {0.0: "flat", 1.0: "linear", 2.5: "above linear"}[power]


def test_a_cost_of_nothing_has_no_exponent() -> None:
    assert scaling.verdict(scaling.slope([1.0, 2.0], [0.0, 1.0])) == "not measurable"


def test_private_memory_is_what_an_array_takes() -> None:
    kept = []
    found = stages.Memory().watch(
        lambda: kept.append(np.ones(16_000_000))
    )  # too large to be put into memory that was freed before
    assert 100 <= found <= 160


def test_the_program_tells_two_sizes_and_draws_them(tmp_path: Path) -> None:
    asked = [
        "--quick",
        "--stage",
        "evaluation",
        "--grows",
        "classes",
        "--json",
        "--plot",
        str(tmp_path / "p.svg"),
    ]
    command = [sys.executable, str(BENCHMARKS / "scaling.py"), *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    axes = json.loads(done.stdout)["axes"]
    assert [(a["grows"], [p[a["grows"]] for p in a["points"]]) for a in axes] == [
        ("classes", [10, 20])
    ]
    assert all(p["cpu_seconds"] > 0 and p["disk_mb"] > 0 for a in axes for p in a["points"])
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")


@given(st.lists(st.integers(-1, 6), max_size=40), st.integers(1, 6))
def test_the_images_of_all_classes_are_those_of_each_looked_for_alone(
    labels: list[int], count: int
) -> None:
    ids = np.array(labels, dtype=np.int64)
    found = members_of(ids, count)
    assert [m.tolist() for m in found] == [np.flatnonzero(ids == k).tolist() for k in range(count)]


@given(st.integers(0, 10_000))
def test_balanced_batches_and_held_out_images_are_as_if_each_class_were_looked_for(
    seed: int,
) -> None:
    labels = np.random.default_rng(seed).choice([2, 3, 5, 9], 30)
    classes = np.unique(labels)
    rng, expected = np.random.default_rng([seed, 0]), []
    for _ in range(3):
        chosen = rng.choice(len(classes), size=min(3, len(classes)), replace=False)
        members = [np.flatnonzero(labels == classes[k]) for k in chosen]
        expected.append([int(m[rng.integers(len(m))]) for m in members])
    assert [b.tolist() for b in batches(labels, "balanced", 3, 3, seed, 0)] == expected

    rng, test = np.random.default_rng(seed), []
    for k in classes.tolist():
        images = rng.permutation(np.flatnonzero(labels == k))
        test += images[: min(round(0.2 * len(images)), len(images) - 1)].tolist()
    assert hold_out(labels, classes.tolist(), [], 0.2, seed).test_seen.tolist() == sorted(test)
