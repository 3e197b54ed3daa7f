"""Mistakes in arguments from Python are told, and a seed has one spelling."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from run_folders import make_run, random_scores

from zslkit.errors import DataError, UserError
from zslkit.explain.prediction import predict
from zslkit.notebook.many import seeds_of
from zslkit.notebook.predictions import photo_list
from zslkit.report.significance import run_sets
from zslkit.runs.folders import load_run
from zslkit.utils.seeds import check_seed


@pytest.mark.parametrize("seed", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_a_seed_of_any_kind_of_integer_is_the_plain_number(seed: Any) -> None:
    assert type(check_seed(seed)) is int and check_seed(seed) == 3
    assert seeds_of([seed, 3]) == [3]


@pytest.mark.parametrize("seed", [True, "1", 1.0, None, -1, 2**63])
def test_what_is_no_seed_is_told(seed: Any) -> None:
    with pytest.raises(UserError, match="The seed is"):
        check_seed(seed)
    with pytest.raises(UserError, match="The seed is"):
        seeds_of([seed])


def test_no_photos_and_unknown_classes_are_told() -> None:
    for photos in (None, 3):
        with pytest.raises(UserError, match="Photos are paths or images of Pillow"):
            photo_list(photos)  # type: ignore[arg-type]
    seen = np.array([True, False])
    run: Any = SimpleNamespace(
        preprocessor=None, model=SimpleNamespace(task=SimpleNamespace(seen=seen))
    )
    for classes in ("unsen", "new.csv"):
        with pytest.raises(UserError, match=f"and not '{classes}'"):
            list(predict(run, [], among=classes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["T1", "U", "S", "H"])
def test_any_figure_of_a_record_that_its_scores_do_not_give_is_told(
    tmp_path: Path, name: str
) -> None:
    folder = make_run(tmp_path, "a", random_scores(1.0))
    run_sets(load_run(folder))
    record = json.loads((folder / "record.json").read_text())
    record["metrics"][name] += 5 if record["metrics"][name] < 90 else -5
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=f"its record says {name} .* and its scores give "):
        run_sets(load_run(folder))
