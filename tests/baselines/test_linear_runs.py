"""The linear baselines through the harness: what their presets search is searched, and what they
refuse is one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zslkit.cli import app
from zslkit.runs import api

SMALL = {"features": {"backbone": "test_resnet", "weights": "random"}}


pytestmark = pytest.mark.usefixtures("digits_cache")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "settings", "picked"),
    [
        ("ridge", [], {"lam", "normalise"}),
        ("sync", ["base=squared"], {"base", "decay", "sim_scale"}),
        (
            "ale",
            ["train.epochs=2", "train.steps_per_epoch=10"],
            {"centre", "train.lr", "train.epochs"},
        ),
    ],
)
def test_a_preset_searches_on_validation_and_says_so(
    tmp_path: Path, model: str, settings: list[str], picked: set[str]
) -> None:
    result = api.run(
        model, "digits", overrides=SMALL, settings=settings, out=tmp_path, device="cpu"
    )
    assert picked == set(result.record.protocol.picked)
    assert result.metrics["T1"] > result.record.chance.T1


@pytest.mark.slow
def test_a_singular_system_ends_in_one_sentence(cache: Path, tmp_path: Path) -> None:
    # One digit stands at each of a number's three places, so the columns of the table depend on
    # each other.
    line = (
        "run -m ridge --backbone test_resnet --backbone-weights random --device cpu --set "
        "lam=0 "
        "--set protocol.tune=false"
    )
    environment = {**os.environ, "ZSLKIT_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "zslkit", *line.split(), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 1
    assert (
        "ridge: the system of the attributes is singular with lam = 0; set lam to a larger value"
        in done.stderr
    )
    assert "Traceback" not in done.stderr and not list(tmp_path.rglob("record.json"))


def test_a_setting_that_no_equation_allows_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["run", "-m", "sae", "--set", "lam=0", "--out", str(tmp_path)]) == 2
    assert "sae: lam = 0 (--set) is refused" in capsys.readouterr().err
