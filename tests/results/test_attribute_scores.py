"""Attribute scores are kept in half the room, keep their order, and a damaged file is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from run_folders import make_run, random_scores
from sklearn.metrics import roc_auc_score

from zslkit.cli import app
from zslkit.errors import DataError
from zslkit.evaluation.attributes import area_and_precision
from zslkit.results.attribute_scores import pack, read_attributes
from zslkit.results.runs import ATTRIBUTES

PRESENT = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]], dtype=bool)
NAMES = ("red", "round", "Größe")


def batches(seed: int, images: int = 60) -> list[np.ndarray]:
    # Far from zero and narrow: plain float16 would tell none of these apart.
    table = (1000 + 0.01 * np.random.default_rng(seed).standard_normal((images, 3))).astype(np.float32)
    return [table[:40], table[40:]]


def keep(folder: Path) -> None:
    with (folder / ATTRIBUTES).open("wb") as file:
        pack(batches(0), batches(1), PRESENT, NAMES).write(file)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = make_run(tmp_path, "alpha", random_scores(1.0))
    keep(folder)
    return folder


def test_what_is_read_is_what_was_kept_to_a_thousandth_of_its_spread(run: Path) -> None:
    found = read_attributes(run / ATTRIBUTES)
    assert found is not None and found.names == NAMES and np.array_equal(found.present, PRESENT)
    for kept, said in ((found.test_seen, np.concatenate(batches(0))), (found.test_unseen, np.concatenate(batches(1)))):
        assert kept.dtype == np.float16
        assert np.abs(kept * found.scale + found.offset.astype(np.float64) - said).max() < 2e-3 * said.std()
        truth = np.random.default_rng(2).random(60) < 0.5
        for i in range(3):
            assert area_and_precision(kept[:, i].astype(np.float64), truth)[0] == pytest.approx(roc_auc_score(truth, said[:, i]), abs=2e-3)


def test_an_attribute_that_is_not_told_and_one_that_never_moves_are_kept_as_they_are() -> None:
    table = np.array([[np.nan, 5.0, 1.0], [np.nan, 5.0, 1e30]], dtype=np.float32)
    kept = pack([table[:1], table[1:]], [table], PRESENT, NAMES)
    assert np.isnan(kept.test_seen[:, 0]).all()
    assert kept.test_seen[:, 1].tolist() == [0.0, 0.0]
    assert np.isfinite(kept.test_seen[:, 2]).all() and kept.test_seen[1, 2] > kept.test_seen[0, 2]


def test_evaluate_measures_what_was_kept_and_says_of_others_that_it_was_not(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = make_run(tmp_path, "beta", random_scores(1.0))
    assert app.main(["evaluate", str(run), str(old), "--metrics", "attribute-AUC-seen,attribute-AP-unseen"]) == 0
    own, other = capsys.readouterr().out.split("\nbeta on birds")
    assert "not kept" not in own and other.count("not kept") == 2
    assert app.main(["evaluate", str(run), str(old), "--json"]) == 0
    own, other = json.loads(capsys.readouterr().out)["runs"]
    labels = random_scores(1.0).test_seen_labels
    wanted = roc_auc_score(PRESENT[labels], np.concatenate(batches(0)), average=None)
    # an attribute that all or none of the seen classes have counts in no mean; here each is told
    assert own["more"]["attribute-AUC-seen"] == pytest.approx(100 * np.mean(wanted), abs=0.2)
    assert (own["attribute_scores"], other["attribute_scores"]) == ("kept", "not kept")
    assert other["more"]["attribute-AUC-seen"] is None


@pytest.mark.parametrize("fault", ["cut", "other shape", "no archive", "an array less"])
def test_a_damaged_file_is_one_sentence_that_names_it(run: Path, fault: str) -> None:
    place = run / ATTRIBUTES
    if fault == "cut":
        place.write_bytes(place.read_bytes()[:-200])
    elif fault == "no archive":
        place.write_text("hello")
    elif fault == "other shape":
        with place.open("wb") as file:
            pack(batches(0), batches(1), PRESENT[:, :2], NAMES).write(file)
    else:
        np.savez(place.open("wb"), test_seen=np.zeros((2, 3), np.float16))
    with pytest.raises(DataError, match=str(place)) as told:
        read_attributes(place)
    assert "move the folder" in str(told.value)
    assert app.main(["evaluate", str(run)]) == 2


def test_a_pickle_is_never_loaded(run: Path) -> None:
    np.savez((run / ATTRIBUTES).open("wb"), **{name: np.array([{}], dtype=object) for name in ("test_seen", "test_unseen")})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="damaged"):
        read_attributes(run / ATTRIBUTES)
