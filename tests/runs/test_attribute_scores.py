"""Attribute scores are kept as they are, those of earlier versions are read, and a damaged file is
told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from run_folders import make_run, random_scores
from sklearn.metrics import roc_auc_score

from zslkit.cli import app
from zslkit.errors import DataError
from zslkit.evaluation.attributes import AttributeScores
from zslkit.runs.attribute_scores import read_attributes, write_attributes
from zslkit.runs.folders import ATTRIBUTES

PRESENT = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]], dtype=bool)
NAMES = ("red", "round", "Größe")


def batches(seed: int, images: int = 60) -> list[np.ndarray]:
    # Far from zero and narrow: plain float16 would tell none of these apart.
    table = (1000 + 0.01 * np.random.default_rng(seed).standard_normal((images, 3))).astype(
        np.float32
    )
    return [table[:40], table[40:]]


def pack(
    file: IO[bytes], seen: list[np.ndarray], unseen: list[np.ndarray], present: np.ndarray
) -> None:
    tables = np.concatenate(seen), np.concatenate(unseen)
    write_attributes(AttributeScores(*tables, present, NAMES), file)


def keep(folder: Path) -> None:
    with (folder / ATTRIBUTES).open("wb") as file:
        pack(file, batches(0), batches(1), PRESENT)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = make_run(tmp_path, "alpha", random_scores(1.0))
    keep(folder)
    return folder


def test_what_is_read_is_what_was_kept(run: Path) -> None:
    found = read_attributes(run / ATTRIBUTES)
    assert found is not None and found.names == NAMES and np.array_equal(found.present, PRESENT)
    for kept, said in (
        (found.test_seen, np.concatenate(batches(0))),
        (found.test_unseen, np.concatenate(batches(1))),
    ):
        assert kept.dtype == np.float32 and np.array_equal(kept, said)


def test_no_unit_of_the_first_images_costs_the_others_their_order(tmp_path: Path) -> None:
    # In units of the first batch: all of the second lies far out, then all of it within a
    # millionth.
    rng = np.random.default_rng(0)
    truth = np.arange(64) % 2 == 0
    later = (truth[:, None] + rng.standard_normal((64, 3))).astype(np.float32)
    for first in (5 + 1e-7 * rng.standard_normal((64, 3)), 1e6 * rng.standard_normal((64, 3))):
        with (tmp_path / ATTRIBUTES).open("wb") as file:
            pack(file, [first.astype(np.float32), later], [later], PRESENT)
        found = read_attributes(tmp_path / ATTRIBUTES)
        assert found is not None
        kept = found.test_seen[64:, 0].astype(np.float64)
        area = roc_auc_score(truth, kept)
        assert area > 0.7 and area == pytest.approx(roc_auc_score(truth, later[:, 0]))


def test_an_attribute_that_is_not_told_stays_so_and_a_set_without_images_has_a_row_for_none(
    tmp_path: Path,
) -> None:
    table = np.array([[np.nan, 5.0, 1.0], [np.nan, 5.0, 1e30]], dtype=np.float32)
    with (tmp_path / ATTRIBUTES).open("wb") as file:
        pack(file, [table[:1], table[1:]], [table[:0]], PRESENT)
    kept = read_attributes(tmp_path / ATTRIBUTES)
    assert kept is not None
    assert np.array_equal(kept.test_seen, table, equal_nan=True)
    assert kept.test_unseen.shape == (0, 3)


def test_a_file_of_an_earlier_version_is_read_without_the_attributes_that_were_cut_off_in_it(
    tmp_path: Path,
) -> None:
    units = {"offset": np.zeros(3, np.float32), "scale": np.ones(3, np.float32)}
    tables = {
        "test_seen": np.array([[1, 2, 3], [4, 60_000, 6]], np.float16),
        "test_unseen": np.array([[7, 8, -60_000]], np.float16),
    }
    with (tmp_path / ATTRIBUTES).open("wb") as file:
        np.savez(file, **tables, **units, present=PRESENT, names=np.array(NAMES))
    found = read_attributes(tmp_path / ATTRIBUTES)
    assert (
        found is not None
        and found.test_seen[:, 0].tolist() == [1.0, 4.0]
        and found.test_unseen[:, 0].tolist() == [7.0]
    )
    assert np.isnan(found.test_seen[:, 1:]).all() and np.isnan(found.test_unseen[:, 1:]).all()


def test_evaluate_measures_what_was_kept_and_says_of_others_that_it_was_not(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = make_run(tmp_path, "beta", random_scores(1.0))
    assert (
        app.main(
            ["evaluate", str(run), str(old), "--metrics", "attribute-AUC-seen,attribute-AP-unseen"]
        )
        == 0
    )
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
            pack(file, batches(0), batches(1), PRESENT[:, :2])
    else:
        np.savez(place.open("wb"), test_seen=np.zeros((2, 3), np.float16))
    with pytest.raises(DataError, match=str(place)) as told:
        read_attributes(place)
    assert "move the folder" in str(told.value)
    assert app.main(["evaluate", str(run)]) == 2


def test_a_pickle_is_never_loaded(run: Path) -> None:
    np.savez(
        (run / ATTRIBUTES).open("wb"),
        **{name: np.array([{}], dtype=object) for name in ("test_seen", "test_unseen")},
    )  # type: ignore[arg-type]
    with pytest.raises(DataError, match="damaged"):
        read_attributes(run / ATTRIBUTES)
