"""Training curves come from the log: the training that counts, each epoch once, and a damaged log
is named."""

from __future__ import annotations

from pathlib import Path

from run_folders import make_run, random_scores
from shelf_of_runs import write_log

from zslkit.page.board import board
from zslkit.page.training import Course, courses
from zslkit.report.blocks import blocks_of
from zslkit.runs.folders import LOG, load_run


def drawn(folder: Path) -> tuple[list[Course], list[str]]:
    run = load_run(folder)
    return courses(board(blocks_of([run])[0], 0).lines, {str(folder): run})


def test_trials_are_no_training_and_the_last_validation_counts(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "alpha", random_scores(1.0))
    write_log(
        folder,
        *({"phase": "trial", "epoch": e, "seconds": 1.0, "loss": 50.0} for e in (1, 2)),
        *(
            {"phase": "validation", "fold": 0, "epoch": e, "gamma": 0.1, "H": 1.0}
            for e in (1, 2, 3, 4)
        ),
        {"phase": "search", "lr": 1.0, "H": 1.0},
        *({"phase": "validation", "epoch": e, "seconds": 1.0, "loss": 40.0} for e in (1, 2)),
        *(
            {"phase": "validation", "fold": k, "epoch": e, "gamma": 0.1, "H": 10.0 * e}
            for k in (0, 1)
            for e in (1, 2, 3)
        ),
        *({"phase": "train", "epoch": e, "seconds": 1.0, "loss": 1.0 / e} for e in (1, 2)),
    )
    (course,), faults = drawn(folder)
    assert faults == []
    assert [(panel.name, len(panel.paths)) for panel in course.panels] == [
        ("H on validation, %", 2),
        ("loss", 1),
    ]
    assert course.panels[0].x.high == 3 and course.panels[1].y.high < 2


def test_an_epoch_that_was_done_again_counts_once_and_stages_stay_apart(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "alpha", random_scores(1.0))
    entries = [
        {"phase": "train", "stage": s, "epoch": e, "seconds": 1.0, "loss": 1.0}
        for s in ("one", "two")
        for e in (1, 2, 2, 3)
    ]
    write_log(folder, *entries)
    (course,), _ = drawn(folder)
    assert [panel.name for panel in course.panels] == ["one: loss", "two: loss"]
    assert all(len(panel.paths[0].split()) == 3 for panel in course.panels)


def test_a_steep_term_is_drawn_by_its_logarithm_and_null_is_no_point(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "alpha", random_scores(1.0))
    write_log(
        folder,
        *(
            {"phase": "train", "epoch": e, "seconds": 1.0, "loss": v}
            for e, v in ((1, 900.0), (2, None), (3, 1.0))
        ),
    )
    (course,), _ = drawn(folder)
    assert course.panels[0].y.log
    assert len(course.panels[0].paths[0].split()) == 2


def test_a_model_without_epochs_has_no_curves(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "alpha", random_scores(1.0))
    write_log(folder, {"phase": "train", "lam": 1.0, "norm": 2.0})
    assert drawn(folder) == ([], [])


def test_a_cut_or_missing_log_is_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "alpha", random_scores(1.0))
    write_log(
        folder, *({"phase": "train", "epoch": e, "seconds": 1.0, "loss": 1.0} for e in (1, 2))
    )
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write('{"phase": "tr')
    found, (fault,) = drawn(folder)
    assert found and str(folder) in fault and "cut off" in fault
    (folder / LOG).unlink()
    found, (fault,) = drawn(folder)
    assert not found and "is missing" in fault
