"""The published figures: spot checks, and that each row agrees with itself."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from run_folders import UNLABELLED

from zslkit.report.published import Published, everything, published
from zslkit.report.tables import how_published

EVERYTHING = [entry for name in ("cub", "sun", "awa2") for entry in published(name)]


def find(method: str, dataset: str) -> Published:
    (entry,) = [e for e in published(dataset) if e.method == method]
    return entry


def test_spot_checks() -> None:
    assert find("DEDN", "sun").figures() == {"T1": 67.4, "U": 54.7, "S": 36.0, "H": 43.5}
    assert not find("DEDN", "sun").confirmed
    assert find("ESZSL", "cub").confirmed
    assert find("APN", "cub").figures() == {"T1": 72.1, "U": None, "S": None, "H": 67.2}
    assert "per image" in find("APN", "awa2").remarks
    assert find("APN", "awa2").averaging == "per image" and find("APN", "awa2").tuned
    assert find("ZSLViT", "cub").confirmed and "backbone" in find("ZSLViT", "cub").unconfirmed
    assert find("GEM-ZSL", "cub").remarks == "unconfirmed"


@pytest.mark.parametrize(
    ("method", "datasets"),
    [(method, "cub sun awa2") for method in ("ALE", "DeViSE", "SJE", "LATEM", "SYNC", "DUET")]
    + [("CONSE", "cub"), ("FREE", "sun")],
)
def test_what_was_found_in_a_public_source_is_not_doubted(method: str, datasets: str) -> None:
    for dataset in datasets.split():
        assert find(method, dataset).confirmed and find(method, dataset).source
        assert set(find(method, dataset).unconfirmed) <= {"backbone"}
    assert not find("CONSE", "sun").confirmed and not find("CONSE", "awa2").confirmed


@pytest.mark.parametrize(
    ("method", "dataset", "word"),
    [
        ("SDGZSL", "cub", "75.5, 59.9, 66.4 and 63.0, which are for 1024-d sentences"),
        ("ZSLViT", "sun", "48.3"),
        ("CADA-VAE", "cub", "sentences"),
        ("CE-GZSL", "cub", "sentences"),
        ("SAE", "cub", "transductive"),
        ("GEM-ZSL", "awa2", "S 80"),
    ],
)
def test_a_figure_that_another_source_tells_otherwise_says_so(
    method: str, dataset: str, word: str
) -> None:
    assert word in find(method, dataset).remarks


def test_ce_gzsl_on_cub_has_the_figures_of_attributes() -> None:
    assert find("CE-GZSL", "cub").figures() == {"T1": None, "U": 52.4, "S": 60.9, "H": 56.4}


@pytest.mark.parametrize("entry", EVERYTHING, ids=lambda e: f"{e.method}-{e.dataset}")
def test_h_is_the_harmonic_mean_of_the_row(entry: Published) -> None:
    if entry.U is None or entry.S is None or entry.H is None:
        return
    # U and S are printed to one digit, so H can be off by rounding. A row that is further off must
    # say so.
    again = 2 * entry.U * entry.S / (entry.U + entry.S)
    assert abs(entry.H - again) < 0.16 or f"U and S give {again:.1f}" in entry.notes


def test_a_row_with_a_slip_in_it_is_refused() -> None:
    good = {
        "method": "M",
        "dataset": "cub",
        "input": "map",
        "T1": 1,
        "U": 1,
        "S": 1,
        "H": 1,
        **UNLABELLED,
    }
    Published.model_validate(good)
    for slip in (
        {"T1": 101},
        {"input": "maps"},
        {"unconfirmed": ["AUSUC"]},
        {"acc": 1},
        {"selection": "best"},
        {"calibration": None},
    ):
        with pytest.raises(ValidationError):
            Published.model_validate({**good, **slip})
    for label in UNLABELLED:  # what is not known is said, and not left away
        with pytest.raises(ValidationError, match=label):
            Published.model_validate({key: value for key, value in good.items() if key != label})


def test_a_label_that_the_method_cannot_tell_is_from_a_program_or_unknown() -> None:
    for entry in everything():
        if entry.program is None:
            assert (entry.selection, entry.resolution) == ("unknown", "unknown"), entry.method
    assert (find("CADA-VAE", "cub").selection, find("CADA-VAE", "cub").program) == (
        "validation",
        "edgarschnfld/CADA-VAE-PyTorch",
    )
    assert find("ESZSL", "cub").selection == find("f-CLSWGAN", "sun").selection == "unknown"


@pytest.mark.parametrize("method", sorted({entry.method for entry in everything()}))
def test_the_protocol_of_a_method_is_one_on_every_dataset(method: str) -> None:
    assert len({entry.protocol for entry in everything() if entry.method == method}) == 1


def test_ours_declare_the_protocol_that_the_published_rows_of_the_method_carry() -> None:
    from zslkit.registry import MODELS

    named = {entry.method.lower().replace("-", ""): entry.protocol for entry in everything()} | {
        "gem": find("GEM-ZSL", "cub").protocol
    }
    both = [
        entry.name
        for entry in MODELS.entries()
        if entry.name in named and entry.distribution == "zslkit"
    ]
    assert len(both) >= 15
    assert {name: MODELS.load(name)[1].protocol for name in both} == {
        name: named[name] for name in both
    }


def test_a_published_row_says_where_its_labels_are_from_and_what_is_unknown() -> None:
    made = "class-inductive, epoch: test (as papers do), uncalibrated, ResNet-101 frozen"
    assert (
        how_published(find("MSDN", "cub"))
        == f"{made}; unknown: resolution, split; labels of shiming-chen/MSDN"
    )
    assert how_published(find("PSVMA", "cub")).startswith(
        "class-inductive, epoch: test (as papers do), gamma: a constant, 224 px, ViT-B/16? tuned"
    )


def test_every_row_is_found_by_a_dataset_that_says_it_is_comparable() -> None:
    from zslkit.registry import DATASETS

    names = {DATASETS.load(entry.name)[1].published_as for entry in DATASETS.entries()}
    assert {entry.dataset for entry in everything()} <= names
