"""A preset may be named by its family: `zsl` is DATASET-zsl for the dataset of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from zslkit.datasets.catalog import find_dataset
from zslkit.errors import UserError
from zslkit.registry import MODELS, Entry
from zslkit.runs.advice import replaced_by_search
from zslkit.runs.plan import _preset, make_plan


def test_the_dataset_of_the_run_settles_the_file() -> None:
    for dataset in ("digits", "cub2010"):
        plan = make_plan("dedn", dataset, preset="zsl")
        assert plan.origins["lambda_cal"] == f"preset {dataset}-zsl.yaml"
    assert make_plan("dedn", "cub2010", preset="sun").origins["rank"] == "preset sun.yaml"


@pytest.fixture
def brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A model with the presets a, a-quick, quick and default."""
    entry, model = MODELS.load("eszsl")
    for name in ("a", "a-quick", "quick", "default"):
        (tmp_path / f"{name}.yaml").touch()
    monkeypatch.setattr(model, "presets", str(tmp_path))
    return entry


@pytest.mark.parametrize(
    ("name", "dataset", "file"),
    [
        ("quick", "a", "a-quick"),
        ("quick", "own:a", "a-quick"),
        ("quick", "b", "quick"),
        ("a-quick", "b", "a-quick"),
        ("a", "a", "a"),
        (None, "a", "a"),
        (None, "b", "default"),
    ],
)
def test_the_file_of_the_dataset_comes_first(
    brings: Entry, name: str | None, dataset: str, file: str
) -> None:
    found = _preset(brings, MODELS.load("eszsl")[1], name, find_dataset(dataset))
    assert found is not None and found.stem == file


def test_a_wrong_name_suggests_families() -> None:
    with pytest.raises(UserError, match=r"no preset 'zls' for digits; did you mean .*\"zsl\"") as e:
        make_plan("dedn", "digits", preset="zls")
    assert e.value.exit_code == 2


def test_a_given_value_that_the_search_replaces_is_told() -> None:
    def told(model: str, *settings: str) -> str:
        return replaced_by_search(make_plan(model, "digits", settings=settings))

    assert told("ale", "train.lr=0.5", "train.epochs=3") == (
        "train.lr=0.5 (--set) decides nothing, since the search on validation picks it; --set "
        "protocol.tune=false leaves the search away"
    )
    both = told("eszsl", "gamma=3", "lam=2")
    assert "gamma=3 (--set)" in both and "lam=2 (--set)" in both and "picks them" in both
    assert not told("ale") and not told("ale", "train.epochs=3")
    assert not told("ale", "train.lr=0.5", "protocol.tune=false")
