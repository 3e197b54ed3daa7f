"""The published figures: spot checks, and that each row agrees with itself."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from zslkit.results.published import Published, everything, published

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
    assert find("ALE", "cub").remarks == "U, S, H unconfirmed"
    assert find("FREE", "sun").remarks == "unconfirmed"


@pytest.mark.parametrize("entry", EVERYTHING, ids=lambda e: f"{e.method}-{e.dataset}")
def test_h_is_the_harmonic_mean_of_the_row(entry: Published) -> None:
    if entry.U is None or entry.S is None or entry.H is None:
        return
    # U and S are printed to one digit, so H can be off by rounding. A row that is further off must say so.
    again = 2 * entry.U * entry.S / (entry.U + entry.S)
    assert abs(entry.H - again) < 0.16 or f"U and S give {again:.1f}" in entry.notes


def test_a_row_with_a_slip_in_it_is_refused() -> None:
    good = {"method": "M", "dataset": "cub", "input": "map", "T1": 1, "U": 1, "S": 1, "H": 1}
    Published.model_validate(good)
    for slip in ({"T1": 101}, {"input": "maps"}, {"unconfirmed": ["AUSUC"]}, {"acc": 1}):
        with pytest.raises(ValidationError):
            Published.model_validate({**good, **slip})


def test_every_row_is_found_by_a_dataset_that_says_it_is_comparable() -> None:
    from zslkit.data.catalog import DATASETS

    names = {DATASETS.load(entry.name)[1].published_as for entry in DATASETS.entries()}
    assert {entry.dataset for entry in everything()} <= names
