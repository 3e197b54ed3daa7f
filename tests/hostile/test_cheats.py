"""What a model that cheats, or is mistaken, comes to: it is named and leaves no record, or it gains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cheats
import numpy as np
import pytest

from zslkit import experiment
from zslkit.errors import ModelFault, ZslkitError
from zslkit.experiment import Result
from zslkit.registry import rescan
from zslkit.testing import check_model

TOYS = {
    name: value
    for name, value in vars(cheats).items()
    if isinstance(value, type) and issubclass(value, cheats.Honest)
}


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The toys as models and datasets that a distribution brings."""
    place = tmp_path_factory.mktemp("installed")
    facts = place / "cheats_zslkit-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: cheats-zslkit\nVersion: 1\n")
    models = "\n".join(f"{name.lower()} = cheats:{name}" for name in TOYS)
    (facts / "entry_points.txt").write_text(f"[zslkit.models]\n{models}\n[zslkit.datasets]\nsorted = cheats:Sorted\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        rescan()
        yield
    rescan()


@pytest.fixture(autouse=True)
def own_title(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(cheats.Sorted, "title", request.node.name)


def run(model: str, out: Path) -> Result:
    return experiment.run(model, "sorted", out=out, device="cpu")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return run("honest", tmp_path_factory.mktemp("honest"))


def test_an_honest_model_is_scored_twice_and_its_record_says_so(honest: Result) -> None:
    assert 20 < honest.metrics["H"] < 80  # so that a cheat has something to gain
    said = honest.record.scoring
    assert said is not None and (said.rescored, said.moved, said.remark) == (8, 0, "")
    assert said.drift < 1e-4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("averages", "change by up to .* of their spread when the images are scored alone or beside others"),
        ("counts", "keep no count"),
        ("draws", "draw nothing at random"),
        ("inplace", "changes its inputs in place"),
        ("adapts", "changes a parameter or a buffer"),
        ("normalises", "cannot score an image alone .*Expected more than 1 value"),
        ("stays", "leaves the model in training mode"),
    ],
)
def test_scores_that_do_not_come_from_the_image_alone_end_the_run(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match=f"^{name}: .*{words}"):
        run(name, tmp_path)
    assert not list(tmp_path.glob("**/record.json"))


@pytest.mark.parametrize("name", ["Averages", "Counts", "Draws", "InPlace", "Adapts", "Normalises", "Stays"])
def test_and_the_checks_find_them_too(name: str) -> None:
    only = ["scores_of_each_image", "scoring_leaves_no_trace"]
    assert any(result.failed for result in check_model(TOYS[name], only=only, raise_=False))
    assert not any(result.failed for result in check_model(cheats.Honest, only=only, raise_=False))


@pytest.mark.parametrize("name", ["searches", "climbs", "behind", "quiet"])
def test_a_model_that_goes_for_the_test_images_is_named_or_gains_nothing(name: str, honest: Result, tmp_path: Path) -> None:
    try:
        result = run(name, tmp_path)
    except ZslkitError as error:
        assert str(error).startswith(f"{name}: training asked for images that are not in its training set")
        assert not list(tmp_path.glob("**/record.json"))
    else:
        assert result.metrics == honest.metrics


def test_labels_of_test_images_are_in_no_object_while_a_model_trains_and_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = np.random.default_rng(1).permutation(cheats.SEEN + cheats.UNSEEN)
    monkeypatch.setattr(cheats.Sorted, "order", order)
    cheats.Looks.kept.clear()
    run("looks", tmp_path)
    assert cheats.Looks.kept == []


def test_labels_looked_for_while_scoring_are_not_found(honest: Result, tmp_path: Path) -> None:
    assert run("reads", tmp_path).metrics == honest.metrics
