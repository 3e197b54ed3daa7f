"""What makes two runs one row: what was asked for, and neither what was picked nor what decides
nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zslkit.record import RunRecord, parse_record
from zslkit.report.block import Block, Stat
from zslkit.report.comparability import Comparability, differing
from zslkit.report.comparison import compare

Make = Callable[..., RunRecord]


def run(make: Make, number: int, seed: int = 0, H: float = 40.0, **changes: Any) -> RunRecord:
    """Runs are told apart by their number; a later number was finished later."""
    when = {"identity": f"{number:012x}", "finished": f"2025-01-02T03:14:{number:02d}+00:00"}
    return make(seed=seed, **when, **{"metrics": {"H": H}, **changes})


def only(blocks: list[Block]) -> Block:
    (block,) = blocks
    return block


def epochs(asked: int, picked: int) -> dict[str, Any]:
    by = {
        "selection": "validation",
        "epoch": picked,
        "folds": 1,
        "fold_seed": 0,
        "picked": {"train.epochs": picked},
    }
    return {"config": {"train": {"epochs": asked}}, "protocol": by}


def test_two_budgets_are_two_rows_though_validation_picked_one_epoch(make: Make) -> None:
    runs = [run(make, 1, H=40.0, **epochs(1, 1)), run(make, 2, H=48.0, **epochs(3, 1))]
    rows = only(compare(runs)).rows
    assert [(row.label, row.n, row.metrics["H"].mean) for row in rows] == [
        ("alpha (train.epochs=1)", 1, 40.0),
        ("alpha (train.epochs=3)", 1, 48.0),
    ]


def test_seeds_for_which_validation_picked_otherwise_are_one_row(make: Make) -> None:
    (row,) = only(
        compare([run(make, 1, 0, 40.0, **epochs(9, 2)), run(make, 2, 1, 44.0, **epochs(9, 7))])
    ).rows
    assert (row.label, row.seeds, row.metrics["H"]) == (
        "alpha",
        (0, 1),
        Stat(42.0, pytest.approx(8**0.5), 2),
    )


def test_a_record_keeps_what_was_asked_for_and_says_what_was_used(make: Make) -> None:
    record = make(
        config={"lam": 1.0, "train": {"epochs": 9, "lr": 0.1}},
        protocol={"picked": {"train.epochs": 2, "lam": 0.5}},
    )
    assert record.config["train"] == {"epochs": 9, "lr": 0.1} and record.config["lam"] == 1.0
    assert record.used["train"] == {"epochs": 2, "lr": 0.1} and record.used["lam"] == 0.5


def test_an_older_record_is_read_and_its_settings_are_those_that_were_used(
    raw: dict[str, Any],
) -> None:
    raw["config"]["train"] = {"epochs": 2}
    raw["origins"]["train.epochs"] = "picked on validation"
    raw["schema_version"] = 1
    record = parse_record(json.dumps(raw), Path("record.json"))
    assert record.used == raw["config"] and record.protocol.picked == {}
    assert record.model.source == {} and record.fingerprints.images == ""


def test_older_runs_of_one_seed_that_hide_their_budgets_are_no_two_seeds(make: Make) -> None:
    def old(number: int, epoch: int, H: float) -> RunRecord:
        return run(
            make,
            number,
            0,
            H,
            config={"train": {"epochs": epoch}},
            origins={"train.epochs": "picked on validation"},
        )

    apart = only(compare([old(1, 1, 40.0), old(2, 3, 48.0)])).rows
    assert [(row.label, row.seeds) for row in apart] == [
        ("alpha (picked train.epochs=1)", (0,)),
        ("alpha (picked train.epochs=3)", (0,)),
    ]
    unnamed = only(compare([old(1, 3, 40.0), old(2, 3, 48.0)])).rows
    assert [row.label for row in unnamed] == [
        "alpha (run 000000000001)",
        "alpha (run 000000000002)",
    ]


def test_older_seeds_go_with_the_only_newer_row_that_agrees_in_all_else(make: Make) -> None:
    def old(number: int, seed: int) -> RunRecord:
        by = {"selection": "validation", "epoch": 2, "folds": 1, "fold_seed": 0}
        return run(
            make,
            number,
            seed,
            config={"train": {"epochs": 2}},
            origins={"train.epochs": "picked on validation"},
            protocol=by,
        )

    new = run(make, 2, 1, **epochs(9, 3))
    (row,) = only(compare([old(1, 0), new])).rows
    assert (row.label, row.seeds) == ("alpha", (0, 1))
    rows = only(compare([old(1, 0), new, run(make, 3, 1, H=48.0, **epochs(5, 3))])).rows
    assert [row.label for row in rows] == [
        f"alpha (train.epochs={asked})" for asked in ("5", "9", "unknown")
    ]


def test_weights_made_elsewhere_are_no_further_seed_and_keep_their_badge(make: Make) -> None:
    rows = only(compare([run(make, 1, 0), run(make, 2, 1, elsewhere="theirs.pth, 0123")])).rows
    assert [(row.seeds, "trained elsewhere" in row.badges) for row in rows] == [
        ((0,), False),
        ((1,), True),
    ]


def test_two_files_of_weights_for_one_seed_are_two_rows(make: Make) -> None:
    runs = [
        run(make, n, 0, 40.0 + n, elsewhere=f"{name}.pth, 0123")
        for n, name in enumerate(("a", "b"))
    ]
    rows = only(compare(runs)).rows
    assert [row.label for row in rows] == [
        "alpha (trained elsewhere=a.pth, 0123)",
        "alpha (trained elsewhere=b.pth, 0123)",
    ]


IDLE = [
    {"watch_test": 0},
    {"patience": 3},
    {"trials": 4},
    {"tune": True},
    {"fold_seed": 7},
    {"folds": 3},
]


@pytest.mark.parametrize("other", IDLE, ids=lambda other: next(iter(other)))
def test_what_decides_nothing_parts_no_seeds(make: Make, other: dict[str, Any]) -> None:
    usual = {
        "watch_test": 5,
        "patience": 0,
        "trials": None,
        "tune": False,
        "fold_seed": 0,
        "folds": 1,
    }
    runs = [
        run(make, 1, 0, config={"protocol": usual}),
        run(make, 2, 1, config={"protocol": {**usual, **other}}),
    ]
    (row,) = only(compare(runs)).rows
    assert (row.label, row.seeds) == ("alpha", (0, 1))


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("patience", {"selection": "validation", "epoch": 2, "folds": 1}),
        ("fold_seed", {"calibration": "validation", "folds": 1}),
        ("trials", {"tuned": ["lam"], "folds": 1}),
    ],
)
def test_where_it_decides_something_it_parts_rows_by_name(
    make: Make, name: str, protocol: dict[str, Any]
) -> None:
    runs = [
        run(make, seed, seed, config={"protocol": {name: seed + 1}}, protocol=protocol)
        for seed in (0, 1)
    ]
    assert [row.label for row in only(compare(runs)).rows] == [
        f"alpha (protocol.{name}=1)",
        f"alpha (protocol.{name}=2)",
    ]


def test_the_way_features_were_asked_for_parts_no_seeds_but_other_features_do(make: Make) -> None:
    asked = [{"features": {"input": name, "weights": name}} for name in ("auto", "map")]
    (row,) = only(compare([run(make, n, n, config=config) for n, config in enumerate(asked)])).rows
    assert row.label == "alpha" and row.n == 2
    other = {"fingerprints": {"features": "beef" * 4}}
    types = [{"features": {"dtype": name}} for name in ("float16", "float32")]
    rows = only(
        compare([run(make, 0, 0, config=types[0]), run(make, 1, 1, config=types[1], **other)])
    ).rows
    assert [row.label for row in rows] == [
        "alpha (features.dtype=float16)",
        "alpha (features.dtype=float32)",
    ]


def test_one_seed_with_one_outcome_counts_once_and_is_told(make: Make) -> None:
    runs = [run(make, n, 0, config={"protocol": {"watch_test": n}}) for n in (1, 2)]
    block = only(
        compare(
            runs, folders={("birds", "alpha", 0, r.identity): f"run{n}" for n, r in enumerate(runs)}
        )
    )
    (row,) = block.rows
    assert (row.seeds, row.folders) == ((0,), ("run1",))
    assert block.notes == ("alpha: several runs of seed 0 have one outcome and count once.",)


def test_one_seed_with_two_outcomes_is_parted_by_what_differs(make: Make) -> None:
    runs = [run(make, n, 0, 40.0 + n, config={"protocol": {"watch_test": n}}) for n in (1, 2)]
    assert [row.label for row in only(compare(runs)).rows] == [
        "alpha (protocol.watch_test=1)",
        "alpha (protocol.watch_test=2)",
    ]


def test_other_sources_of_the_model_are_other_rows_and_an_unknown_one_goes_with_the_only_known(
    make: Make,
) -> None:
    first, second = ({"model": {"source": {"alpha.model": digit * 16}}} for digit in "ab")
    rows = only(compare([run(make, 0, 0, **first), run(make, 1, 1, **second)])).rows
    assert [row.n for row in rows] == [1, 1] and all("source " in row.label for row in rows)
    (row,) = only(compare([run(make, 0, 0, **first), run(make, 1, 1)])).rows
    assert row.seeds == (0, 1)
    assert [
        row.n
        for row in only(
            compare([run(make, 0, 0, **first), run(make, 1, 1, **second), run(make, 2, 2)])
        ).rows
    ] == [1, 1, 1]


def images(digit: str) -> dict[str, Any]:
    return {"fingerprints": {"images": digit * 16}}


def test_other_photos_of_the_same_counts_are_another_test_set(make: Make) -> None:
    blocks = compare(
        [run(make, 0, **images("a")), run(make, 1, model={"name": "beta"}, **images("b"))]
    )
    assert [len(block.rows) for block in blocks] == [1, 1]
    assert (
        "here images: images aaaaaaaa." in blocks[0].notes[0]
        and "images bbbbbbbb" in blocks[1].title
    )


def test_runs_that_do_not_say_their_images_stand_with_those_that_agree(make: Make) -> None:
    old, new, other = (
        run(make, 0),
        run(make, 1, model={"name": "beta"}, **images("a")),
        run(make, 2, **images("b")),
    )
    assert [row.model for row in only(compare([old, new])).rows] == ["alpha", "beta"]
    assert len(compare([old, new, other])) == 3
    assert differing([Comparability.of(r) for r in (old, new)]) == []
    (said,) = differing([Comparability.of(r) for r in (new, other)])
    assert "images (images aaaaaaaa, images bbbbbbbb)" in said
