"""`zslkit check` as a process: verdicts, exit codes, and a stranger's model that breaks a rule."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from zslkit.testing import CHECKS

Command = Callable[..., "subprocess.CompletedProcess[str]"]

STRANGER = """
import torch
from zslkit.model import Model


class Silent(Model):
    inputs = ("pooled",)

    def __init__(self, config, task):
        super().__init__(config, task)
        print("a plugin may print")
        self.register_buffer("W", torch.zeros(task.feature_shape[0], task.n_attributes))

    def fit(self, view, trainer):
        x, label = view.everything()
        self.W.copy_(torch.linalg.lstsq(x, self.attributes[label]).solution)

    def scores(self, x):
        return x @ self.W @ self.attributes.T
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an installed distribution whose model has no citation."""
    folder = tmp_path / "site"
    facts = folder / "stranger-1.0.dist-info"
    facts.mkdir(parents=True)
    (folder / "stranger.py").write_text(STRANGER)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[zslkit.models]\nsilent = stranger:Silent\n")
    return folder


@pytest.mark.slow
def test_a_model_that_passes_ends_with_0_and_a_row_for_each_check(zslkit: Command) -> None:
    done = zslkit("check", "eszsl")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["check", *(c.name for c in CHECKS)]
    assert {row[1] for row in rows[1:]} == {"passed", "skipped"}
    assert f"check eszsl: {len(CHECKS)}/{len(CHECKS)}" in done.stderr


@pytest.mark.slow
def test_one_that_fails_ends_with_1_and_says_how_to_mend_it(zslkit: Command, place: Path) -> None:
    done = zslkit("check", "silent", path=[place])
    assert done.returncode == 1
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("citation")]
    assert "failed" in row and "To mend it: set `citation`" in row
    assert "silent fails 1 of" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


@pytest.mark.slow
def test_json_is_one_object_whatever_the_plugin_prints(zslkit: Command, place: Path) -> None:
    done = zslkit(
        "check",
        "stranger:silent",
        "--json",
        "--debug",
        "--only",
        "citation",
        "--only",
        "default_config",
        path=[place],
    )
    told = json.loads(done.stdout)
    assert (told["model"], told["distribution"], told["passed"]) == ("silent", "stranger", False)
    assert [(r["check"], r["status"]) for r in told["results"]] == [
        ("citation", "failed"),
        ("default_config", "passed"),
    ]
    assert "Traceback" in done.stderr and "a plugin may print" in done.stderr


@pytest.mark.slow
def test_misspelt_names_and_settings_end_with_2(zslkit: Command) -> None:
    for arguments, words in (
        (("check", "eszl"), 'did you mean "eszsl"'),
        (("check", "eszsl", "--only", "learn"), 'did you mean "learns"'),
        (("check", "eszsl", "--set", "gama=1"), 'did you mean "gamma"'),
    ):
        done = zslkit(*arguments)
        assert (done.returncode, done.stdout) == (2, "") and words in done.stderr


@pytest.mark.slow
def test_without_a_name_the_checks_are_listed_with_their_reasons(zslkit: Command) -> None:
    told = json.loads(zslkit("check", "--json").stdout)["checks"]
    assert [(c["name"], c["reason"]) for c in told] == [(c.name, c.reason) for c in CHECKS]
