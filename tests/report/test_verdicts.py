"""Rows of real run folders get their intervals and tests; a run that cannot be read is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_folders import make_run, random_scores

from zslkit.evaluation.outcomes import outcomes, together
from zslkit.evaluation.sets import checked_sets
from zslkit.evaluation.significance import mcnemar
from zslkit.report.as_data import as_json
from zslkit.report.block import Block
from zslkit.report.comparison import compare
from zslkit.report.rows import key_of
from zslkit.report.sampling import pair_sentence
from zslkit.report.significance import with_significance
from zslkit.runs.figures import Contradiction
from zslkit.runs.folders import SCORES, load_run
from zslkit.runs.scores import Scores


def block_of(folders: Sequence[Path], known: bool = True) -> Block:
    records = [load_run(folder).record for folder in folders]
    places = (
        {key_of(record): str(folder) for record, folder in zip(records, folders, strict=True)}
        if known
        else {}
    )
    (block,) = with_significance(compare(records, folders=places))
    return block


def rewrite(folder: Path, **arrays: Any) -> None:
    """Other arrays in the scores of a run."""
    np.savez(folder / SCORES, **{**dict(np.load(folder / SCORES)), **arrays})


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """alpha is clearly better than beta and gamma, which are alike; seeds 0 and 1."""
    skills = {"alpha": 4.0, "beta": 1.0, "gamma": 1.02}
    return [
        make_run(tmp_path, name, random_scores(skill, seed), seed)
        for name, skill in skills.items()
        for seed in (0, 1)
    ]


def test_each_row_gets_the_interval_of_its_mean_over_seeds(runs: list[Path]) -> None:
    for row in block_of(runs).rows:
        assert set(row.intervals) == {"T1", "U", "S", "H"}
        assert len(row.folders) == 2
        for name, (low, high) in row.intervals.items():
            assert low <= row.metrics[name].mean <= high


def test_pairs_that_differ_and_pairs_that_do_not_are_told_apart(runs: list[Path]) -> None:
    block = block_of(runs)
    assert block.sampling is not None
    found = {(block.rows[p.a].model, block.rows[p.b].model): p for p in block.sampling.pairs}
    assert {names: pair.significant for names, pair in found.items()} == {
        ("alpha", "beta"): True,
        ("alpha", "gamma"): True,
        ("beta", "gamma"): False,
    }
    assert all(pair.seeds == (0, 1) for pair in found.values())
    assert all(pair.p <= pair.p_holm for pair in found.values())
    (data,) = as_json([block])
    assert all(p["mcnemar_p"] <= p["mcnemar_p_holm"] for p in data["sampling"]["pairs"])
    differ, alike = block.notes[-2:]
    assert differ.startswith(
        "H differs significantly (paired bootstrap, 5 % after Holm over 3 pairs): alpha above beta "
        "by "
    )
    assert "; alpha above gamma by " in differ and "beta and gamma" not in differ
    assert (
        alike.startswith("H does not differ significantly")
        and "beta and gamma (" in alike
        and "alpha" not in alike
    )


def test_a_pair_by_hand(tmp_path: Path) -> None:
    a, b = random_scores(3.0, 0), random_scores(1.0, 1)
    block = block_of([make_run(tmp_path, name, scores) for name, scores in (("a", a), ("b", b))])
    assert block.sampling is not None
    (pair,) = block.sampling.pairs
    of_a, of_b = (outcomes(checked_sets(*scores.sets()), 0.0) for scores in (a, b))
    images = mcnemar(of_a.T1, of_b.T1)
    (of_pair,) = as_json([block])[0]["sampling"]["pairs"]
    assert [of_pair[k] for k in ("only_a", "only_b", "mcnemar_p", "mcnemar_p_holm")] == [
        *(images.only_a, images.only_b, images.p, images.p)
    ]
    assert pair.difference == pytest.approx(
        block.rows[0].metrics["H"].mean - block.rows[1].metrics["H"].mean
    )
    assert together([of_a, of_b]).runs == 2


def test_pairs_use_the_seeds_both_have_and_else_all(tmp_path: Path) -> None:
    def pair(seeds: tuple[int, ...], others: tuple[int, ...]) -> Any:
        made = {"a": (seeds, 2.0), "b": (others, 1.0)}
        out = tmp_path / f"{seeds}{others}"
        block = block_of(
            [
                make_run(out, n, random_scores(skill, s), s)
                for n, (ss, skill) in made.items()
                for s in ss
            ]
        )
        assert block.sampling is not None
        return block.sampling.pairs[0], block

    common, block = pair((0, 1, 2), (1, 2, 5))
    assert common.seeds == (1, 2)
    assert "] on seeds 1, 2" in pair_sentence(common, ("a", "b"))
    assert common.difference != pytest.approx(
        block.rows[0].metrics["H"].mean - block.rows[1].metrics["H"].mean
    )
    none, block = pair((0, 1), (2, 3))
    assert none.seeds == ()
    assert " on seed" not in pair_sentence(none, ("a", "b"))
    assert none.difference == pytest.approx(
        block.rows[0].metrics["H"].mean - block.rows[1].metrics["H"].mean
    )


def test_the_run_s_own_gamma_is_used(tmp_path: Path) -> None:
    run = make_run(
        tmp_path, "a", random_scores(1.0), protocol={"calibration": "validation", "gamma": 0.7}
    )
    (row,) = block_of([run]).rows
    assert row.intervals["H"][0] <= row.metrics["H"].mean <= row.intervals["H"][1]


@pytest.mark.parametrize("fault", ["gone", "cut", "nan", "labels"])
def test_a_run_whose_scores_cannot_be_used_is_named_and_the_others_are_judged(
    runs: list[Path], fault: str
) -> None:
    bad = runs[2]  # beta, seed 0
    kept = random_scores(1.0, 0)
    if fault == "gone":
        (bad / SCORES).unlink()
    elif fault == "cut":
        (bad / SCORES).write_bytes((bad / SCORES).read_bytes()[:-99])
    elif fault == "nan":
        rewrite(bad, test_seen_scores=np.full_like(kept.test_seen_scores, np.nan))
    else:  # the same images in another order: H is right, and pairing would be wrong
        rewrite(
            bad,
            test_seen_scores=kept.test_seen_scores[::-1],
            test_seen_labels=kept.test_seen_labels[::-1],
        )
    block = block_of(runs)
    words = {
        "gone": "is missing",
        "cut": "cut off",
        "nan": "not finite",
        "labels": "labels of its test images",
    }
    (note,) = [
        n for n in block.notes if n.startswith("beta has no interval and stands in no test: ")
    ]
    assert str(bad) in note and words[fault] in note
    assert [bool(row.intervals) for row in block.rows] == [True, False, True]
    assert block.sampling is not None
    assert [(pair.a, pair.b) for pair in block.sampling.pairs] == [(0, 2)]


def test_runs_whose_scores_do_not_give_the_figures_of_their_records_are_refused_by_name(
    runs: list[Path],
) -> None:
    for run, seed in zip(runs[2:4], (0, 1), strict=True):
        rewrite(run, test_seen_scores=random_scores(1.0, seed).test_seen_scores[:, ::-1])
    with pytest.raises(Contradiction) as caught:
        block_of(runs)
    assert list(caught.value.reasons) == runs[2:4]
    assert all("its record says" in reason for reason in caught.value.reasons.values())


def test_without_folders_a_note_says_so(runs: list[Path]) -> None:
    block = block_of(runs, known=False)
    assert block.sampling is None
    assert [note for note in block.notes if "its run folders are not known" in note]


def test_one_row_has_an_interval_and_no_test(tmp_path: Path) -> None:
    block = block_of([make_run(tmp_path, "a", random_scores(1.0))])
    assert block.sampling is not None and block.sampling.pairs == ()
    assert block.notes[-1].startswith("In brackets: 95 % interval of H")


def test_rows_of_one_label_are_told_apart_by_their_badges(tmp_path: Path) -> None:
    scores: Scores = random_scores(1.0)
    plain = make_run(tmp_path, "a", scores, identity="0" * 12)
    calibrated = make_run(
        tmp_path,
        "a",
        scores,
        identity="1" * 12,
        protocol={"calibration": "validation", "gamma": 0.01},
    )
    note = block_of([plain, calibrated]).notes[-1]
    assert "gamma picked on validation" in note and "uncalibrated" in note


def test_a_table_computes_no_p_that_it_does_not_show(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: object) -> float:
        raise AssertionError("computed")

    monkeypatch.setattr("zslkit.evaluation.significance.McNemar.p", property(never))
    block = block_of(runs)
    with pytest.raises(AssertionError, match="computed"):
        as_json([block])


def test_a_table_waits_for_no_statistics_of_scipy(runs: list[Path]) -> None:
    code = (
        "import sys; from zslkit.cli import app; app.main(sys.argv[1:]); "
        "print('scipy.stats' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "compare", *map(str, runs), "--no-run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
