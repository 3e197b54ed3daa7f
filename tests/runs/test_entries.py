"""Lines of a log as entries: whose they are, and each once."""

from __future__ import annotations

from typing import Any

from zslkit.runs.log_entries import Entries, LogEntry


def told(*lines: dict[str, Any]) -> list[tuple[str, int, dict[str, float]]]:
    entries = Entries()
    made = [entries.entry({"time": "now", **line}) for line in lines]
    return [(e.phase, e.epoch, dict(e.figures)) for e in made if e is not None]


def test_terms_of_an_epoch_and_figures_of_a_fold_are_entries_of_one_phase() -> None:
    assert told(
        {"phase": "validation", "epoch": 1, "seconds": 0.5, "loss": 2},
        {"phase": "validation", "fold": 0, "epoch": 1, "H": 40.0},
        {"phase": "validation, fold 2", "epoch": 1, "loss": 3.0},
        {"phase": "validation", "fold": 1, "epoch": 1, "H": 41.0},
    ) == [
        ("validation", 1, {"seconds": 0.5, "loss": 2.0}),
        ("validation", 1, {"H": 40.0}),
        ("validation, fold 2", 1, {"loss": 3.0}),
        ("validation, fold 2", 1, {"H": 41.0}),
    ]


def test_a_stage_is_a_phase_of_its_own() -> None:
    lines = [{"phase": "train", "stage": name, "epoch": 1, "loss": 1.0} for name in ("net", "head")]
    assert [phase for phase, *_ in told(*lines)] == ["train: net", "train: head"]


def test_an_epoch_that_is_done_again_is_said_once_although_it_took_another_time() -> None:
    epochs = [{"phase": "train", "epoch": n, "loss": 1.0 / n, "seconds": float(n)} for n in (1, 2)]
    assert len(told(*epochs, epochs[1] | {"seconds": 9.0, "loss": 0.5000001})) == 2


def test_lines_without_an_epoch_are_numbered_and_the_same_one_is_said_once() -> None:
    first, second = {"phase": "train", "norm": 1.0, "seconds": 3.0}, {"phase": "train", "norm": 2.0}
    assert told(first, second, first | {"seconds": 4.0}, {"phase": "mix", "H": 1}) == [
        ("train", 1, {"norm": 1.0, "seconds": 3.0}),
        ("train", 2, {"norm": 2.0}),
        ("mix", 1, {"H": 1.0}),
    ]


def test_each_trial_of_a_search_has_its_own_curve_and_validation_comes_after() -> None:
    def trial(point: str) -> list[dict[str, Any]]:
        return [
            {"phase": "trial", "epoch": 1, "loss": 1.0},
            {"phase": "validation", "fold": 0, "epoch": 1, "H": 1.0},
            {"phase": "trial, fold 2", "epoch": 1, "loss": 1.0},
            {"phase": "validation", "fold": 1, "epoch": 1, "H": 1.0},
            {
                "phase": "search",
                "how": point,
                "failed": "it burst",
            },  # a line without a figure counts all the same
        ]

    after = [
        {"phase": "validation", "epoch": 1, "loss": 1.0},
        {"phase": "validation", "fold": 0, "epoch": 1, "H": 2.0},
    ]
    assert [phase for phase, *_ in told(*trial("a"), *trial("b"), *after)] == [
        *["trial 1", "trial 1", "trial 1, fold 2", "trial 1, fold 2"],
        *["trial 2", "trial 2", "trial 2, fold 2", "trial 2, fold 2"],
        *["validation", "validation"],
    ]


def test_what_is_no_finite_number_is_no_figure() -> None:
    line = {
        "phase": "train",
        "epoch": 1,
        "a": None,
        "b": float("nan"),
        "c": True,
        "d": "text",
        "e": [1],
        "f": 2,
    }
    assert Entries().entry(line) == LogEntry("train", 1, {"f": 2.0})
    assert Entries().entry({"phase": "train", "epoch": 1, "a": None}) is None
