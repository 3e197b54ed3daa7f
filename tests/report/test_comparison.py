"""Which records may stand together, and what a row says of its seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from run_folders import UNLABELLED

from zslkit.record import RunRecord
from zslkit.report.block import Block, Stat
from zslkit.report.comparison import compare
from zslkit.report.published import Published

Make = Callable[..., RunRecord]


def seeded(make: Make, seed: int, H: float = 40.0, **changes: Any) -> RunRecord:
    return make(seed=seed, identity=f"{seed:012x}", **{"metrics": {"H": H}, **changes})


def only(blocks: list[Block]) -> Block:
    (block,) = blocks
    return block


def test_mean_and_standard_deviation_divide_by_n_and_n_minus_1() -> None:
    assert Stat.of([1.0, 3.0]) == Stat(2.0, pytest.approx(2**0.5), 2)
    assert Stat.of([5.0]) == Stat(5.0, None, 1)


def test_seeds_of_one_model_make_one_row(make: Make) -> None:
    (row,) = only(compare([seeded(make, 1, 44.0), seeded(make, 0, 40.0)])).rows
    assert (row.n, row.seeds) == (2, (0, 1))
    assert row.metrics["H"] == Stat(42.0, pytest.approx(8**0.5), 2)


def test_runs_on_other_features_of_the_same_weights_are_no_seeds_of_one_row(make: Make) -> None:
    rows = only(
        compare([seeded(make, 0), seeded(make, 1, fingerprints={"features": "beef" * 4})])
    ).rows
    assert [row.seeds for row in rows] == [(0,), (1,)]


def test_a_run_given_twice_counts_once(make: Make) -> None:
    (row,) = only(compare([seeded(make, 0), seeded(make, 0)])).rows
    assert row.n == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fingerprints": {"split": "beef" * 4}}, "split: split beefbeef"),
        ({"fingerprints": {"semantics": "beef" * 4}}, "semantics: attributes beefbeef"),
        ({"features": {"backbone": "vit"}}, "backbone: vit"),
        ({"features": {"weights_digest": "beef" * 4}}, "weights: weights beefbeef"),
        ({"features": {"tuned": True}}, "backbone frozen or tuned: tuned"),
        ({"features": {"size": 448}}, "resolution: 448 px"),
        ({"features": {"size": [448, 224]}}, "resolution: 448x224 px"),
    ],
)
def test_what_must_not_be_compared_stands_apart_and_says_why(
    make: Make, change: dict[str, Any], named: str
) -> None:
    blocks = compare([seeded(make, 0), seeded(make, 1, model={"name": "beta"}, **change)])
    assert [len(block.rows) for block in blocks] == [1, 1]
    other = next(block for block in blocks if block.rows[0].model == "beta")
    assert other.notes[0] == f"Not comparable with the other blocks of birds: here {named}."
    assert named.partition(": ")[2] in other.title


def test_sentences_are_told_in_words_beside_attributes_and_alone(make: Make) -> None:
    other = {"dataset": {"semantics": "sentences"}, "fingerprints": {"semantics": "beef" * 4}}
    blocks = compare([seeded(make, 0), seeded(make, 1, **other)])
    notes = {block.setting.kind: block.notes[0] for block in blocks}
    assert "here semantics: sentences beefbeef." in notes["sentences"]
    assert "here semantics: attributes 5e3a5e3a." in notes["attributes"]
    alone = only(compare([make(**other)]))
    assert "semantics: sentences" in alone.title and not alone.notes
    assert "semantics" not in only(compare([make()])).title


def test_two_datasets_need_no_word_on_why_they_stand_apart(make: Make) -> None:
    blocks = compare([make(), make(dataset={"name": "scenes", "title": "Scenes"})])
    assert len(blocks) == 2
    assert all(not block.notes for block in blocks)


def test_pooled_features_and_maps_of_one_backbone_may_be_compared(make: Make) -> None:
    pooled = {
        "features": {"input": "pooled", "fingerprint": "beef" * 4},
        "fingerprints": {"features": "beef" * 4},
    }
    assert [
        row.input for row in only(compare([make(), make(model={"name": "beta"}, **pooled)])).rows
    ] == ["map", "pooled"]


def test_features_of_the_dataset_are_told_apart_by_their_fingerprint(make: Make) -> None:
    own = {"backbone": "as given", "size": None}
    blocks = compare(
        [
            make(seed=seed, features={**own, "fingerprint": found, "weights_digest": found})
            for seed, found in enumerate(("f00d" * 4, "beef" * 4))
        ]
    )
    assert len(blocks) == 2


@pytest.mark.parametrize(
    ("change", "label", "badge"),
    [
        ({"config": {"model": {"lr": 0.1}}}, "alpha (model.lr=0.1)", "uncalibrated"),
        ({"model": {"version": "2"}}, "alpha (alpha-zsl 2)", "uncalibrated"),
        (
            {"protocol": {"calibration": "validation", "gamma": 0.7}},
            "alpha",
            "gamma picked on validation",
        ),
        ({"protocol": {"selection": "validation"}}, "alpha", "epoch picked on validation"),
        ({"protocol": {"training": "class-inductive"}}, "alpha", "class-inductive"),
    ],
)
def test_another_way_of_making_is_another_row_and_no_seed(
    make: Make, change: dict[str, Any], label: str, badge: str
) -> None:
    block = only(compare([seeded(make, 0), seeded(make, 1, **change)]))
    assert [row.n for row in block.rows] == [1, 1]
    changed = next(row for row in block.rows if row.seeds == (1,))
    assert changed.label == label
    assert badge in changed.badges


def test_the_seed_in_the_settings_makes_no_variant(make: Make) -> None:
    assert (
        len(only(compare([make(config={"seed": 0}), seeded(make, 1, config={"seed": 1})])).rows)
        == 1
    )


def test_the_best_is_marked_by_the_digits_that_are_shown(make: Make) -> None:
    names = {"alpha": 41.04, "beta": 41.01, "gamma": 40.9}
    block = only(compare([seeded(make, 0, H, model={"name": name}) for name, H in names.items()]))
    assert ["H" in row.best for row in block.rows] == [True, True, False]


def test_low_costs_are_best_and_unknown_ones_are_not(make: Make) -> None:
    cheap = seeded(make, 0, costs={"parameters": 5, "peak_memory_mb": None}, model={"name": "beta"})
    alpha, beta = only(compare([make(), cheap])).rows
    assert ("parameters" in alpha.best, "parameters" in beta.best) == (False, True)
    assert ("peak_memory_mb" in alpha.best, beta.costs["peak_memory_mb"]) == (True, None)


def test_without_a_rival_nothing_is_best(make: Make) -> None:
    assert only(compare([make()])).rows[0].best == frozenset()


def test_classes_without_test_images_are_told(make: Make) -> None:
    notes = only(compare([make(per_class={"gull": None})])).notes
    assert notes == ("1 of 3 classes have no test image and count in no mean (gull, ...).",)


def test_what_picking_on_test_would_print_is_told_and_is_no_figure(make: Make) -> None:
    block = only(compare([make(optimistic={"best_epoch": 3, "every": 1, "T1": 62.0, "H": 51.5})]))
    assert block.rows[0].metrics["H"].mean == 44.4
    (note,) = block.notes
    assert "T1 62.0, H 51.5" in note
    assert "no result" in note
    assert "best_epoch" not in note


def test_what_picking_on_test_would_print_says_that_it_is_not_calibrated(make: Make) -> None:
    picked = {"best_epoch": 3, "every": 1, "T1": 62.0, "H": 10.9}
    calibrated = {"calibration": "validation", "gamma": 0.7}
    block = only(compare([make(optimistic=picked, protocol=calibrated)]))
    (note,) = block.notes
    assert "H 10.9, at gamma 0, without the calibration of this row; it is no result." in note
    (note,) = only(compare([make(optimistic=picked)])).notes
    assert "H 10.9; it is no result." in note


def test_published_rows_stand_only_beside_what_they_may(make: Make) -> None:
    rows = [
        Published(method="M", dataset=name, input="map", T1=1, U=2, S=3, H=2.4, **UNLABELLED)
        for name in ("cub", "sun")
    ]
    assert only(compare([make()], rows)).published == ()
    block = only(compare([make(dataset={"published_as": "cub"})], rows))
    assert [entry.dataset for entry in block.published] == ["cub"]
    assert "not run here" in block.notes[-1]


def test_nothing_to_compare_is_no_block() -> None:
    assert compare([]) == []


def test_a_row_says_what_the_models_pretraining_may_have_seen(make: Make) -> None:
    told = (
        only(compare([make(model={"pretraining_note": "pretraining may have seen birds"})]))
        .rows[0]
        .badges
    )
    assert told[-1] == "pretraining may have seen birds"
    assert "" not in only(compare([make()])).rows[0].badges


def test_transductive_runs_stand_apart_even_without_a_rival(make: Make) -> None:
    other = {"protocol": {"training": "transductive"}}
    blocks = compare([make(), make(model={"name": "beta"}, **other)])
    assert sorted(row.model for block in blocks for row in block.rows if len(block.rows) == 1) == [
        "alpha",
        "beta",
    ]
    notes = {block.rows[0].model: block.notes[0] for block in blocks}
    assert (
        notes["beta"]
        == "Not comparable with the other blocks of birds: here protocol: transductive."
    )
    assert (
        notes["alpha"]
        == "Not comparable with the other blocks of birds: here protocol: no test image in "
        "training."
    )
    assert [("transductive" in block.title) for block in blocks] == [
        block.rows[0].model == "beta" for block in blocks
    ]
    assert "transductive" in only(compare([make(**other)])).title


def test_two_protocols_in_one_block_are_named_and_strict_parts_them(make: Make) -> None:
    records = [make(), make(model={"name": "beta"}, protocol={"training": "class-inductive"})]
    (note,) = only(compare(records)).notes
    assert "(class-inductive: beta; inductive: alpha)" in note
    blocks = compare(records, strict=True)
    assert [[row.model for row in block.rows] for block in blocks] == [["beta"], ["alpha"]]
    assert blocks[0].notes == (
        "Not comparable with the other blocks of birds: here protocol: class-inductive.",
    )
    assert blocks[0].title.endswith("class-inductive") and blocks[1].title.endswith("inductive")
    assert not only(compare(records[:1])).notes


def test_one_protocol_alone_needs_no_word(make: Make) -> None:
    assert not only(compare([make(), make(model={"name": "beta"})])).notes
