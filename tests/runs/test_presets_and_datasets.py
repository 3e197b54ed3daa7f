"""A preset brings model and training; the backbone and its resolution stay the dataset's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from zslkit.registry import MODELS
from zslkit.runs.plan import make_plan

NAMED = ("cub", "sun", "awa2", "cub2010", "digits")
SETTLED = json.loads((Path(__file__).parent / "settled_settings.json").read_text("utf-8"))
"""Model, dataset and preset -> digest of the settings that decide a run."""


@pytest.fixture
def card(tmp_path: Path) -> str:
    """A card of own photos with a backbone and a resolution of its own; no data is read."""
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\nimages: photos\nattributes: own.csv\nunseen: [c]\n"
        "features: {backbone: tf_efficientnet_lite0, size: 96}\n"
    )
    return str(path)


def digest(model: str, dataset: str, preset: str | None = None) -> str:
    deciding = make_plan(model, dataset, preset=preset).deciding
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]


@pytest.mark.parametrize("case", SETTLED)
def test_named_datasets_keep_the_settings_that_decide_their_runs(case: str) -> None:
    assert digest(*case.split()) == SETTLED[case], (
        f"settings have changed: zslkit config {case}; if that is meant, write the new digest"
    )


def test_every_model_is_settled_on_every_named_dataset() -> None:
    ours = {e.name for e in MODELS.entries() if e.built_in}
    assert {f"{m} {d}" for m in ours for d in NAMED} <= set(SETTLED)


@pytest.mark.parametrize("preset", ["cub", "sun", "awa2"])
@pytest.mark.parametrize("model", ["eszsl", "dazle", "gemzsl", "dedn"])
def test_a_named_preset_leaves_the_card_its_backbone_and_resolution(
    card: str, model: str, preset: str
) -> None:
    features = make_plan(model, card, preset=preset).features
    assert (features.backbone, features.size) == ("tf_efficientnet_lite0", 96)


def test_a_card_without_a_resolution_takes_none_from_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\nimages: p\nattributes: a.csv\nunseen: [c]\n")
    assert make_plan("eszsl", str(path), preset="cub").features.size is None


def test_what_the_preset_says_of_model_and_training_holds_on_the_card(card: str) -> None:
    plan = make_plan("dazle", card, preset="awa2")
    assert plan.config.normalise_V and plan.config.train.sampling == "balanced"  # type: ignore[attr-defined]
    assert plan.features.input == "map"


@pytest.mark.parametrize(("preset", "dataset", "size"), [
    ("cub", "cub", 224),  # its own dataset
    ("cub", "cub-sentences", 224),  # the same photos, described in other words
    ("cub", "sun", 448),
    ("cub", "digits", None),
    ("awa2", "cub2010", None),
])  # fmt: skip
def test_a_resolution_of_a_preset_counts_on_its_own_dataset(
    preset: str, dataset: str, size: int | None
) -> None:
    assert make_plan("eszsl", dataset, preset=preset).features.size == size


def test_settings_still_win_over_card_and_preset(card: str) -> None:
    plan = make_plan("eszsl", card, preset="cub", settings=["features.size=128"])
    assert plan.features.size == 128
