"""What pages of the docs take for granted: files of the reader, made before a page is followed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

import zslkit
from zslkit.datasets.digits import compose, draw, read_scans, semantics

ROOT = Path(__file__).parents[2]


def features_of_birds() -> None:
    """A small file in the format of the authors' caches, with the attributes of CUB."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 10)
    order, seen = np.arange(60), labels < 4
    test_seen = seen & (order % 4 == 3)
    table = rng.random((6, 312)) * 100
    with h5py.File("cub_feature_map.hdf5", "w") as file:
        file["feature_map"] = rng.random((60, 64, 7, 7), dtype=np.float32)
        file["labels"] = labels
        file["trainval_loc"] = order[seen & ~test_seen]
        file["test_seen_loc"], file["test_unseen_loc"] = order[test_seen], order[~seen]
        file["original_att"] = table
        file["att"] = table / np.linalg.norm(table, axis=1, keepdims=True)
        file["w2v_att"] = rng.random((312, 8), dtype=np.float32)


def a_number_that_is_no_class() -> None:
    """A photo of 123, and a table with the attributes of that number."""
    pixels, digits = read_scans()
    scans = np.array([[np.flatnonzero(digits == digit)[5] for digit in (1, 2, 3)]])
    Image.fromarray(draw(pixels, scans)[0]).save("photo.png")
    known = semantics(np.array([[1, 2, 3]]))
    values = ",".join(f"{value:g}" for value in known.attributes[0])
    Path("new.csv").write_text(f"class,{','.join(known.names)}\n123,{values}\n")
    assert "123" not in {"".join(map(str, n)) for n in compose(digits).numbers.tolist()}


def two_runs() -> None:
    """Finished runs of two models on the built-in dataset."""
    zslkit.compare(["eszsl", "ridge"], "digits", out="runs")


def the_plugin_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- plugin -->\n```python\n(.*?)```", text, re.S)
    assert found
    Path("mine.py").write_text(found[1], encoding="utf-8")


PREPARED: Mapping[str, Callable[[], None]] = {
    "checks.md": the_plugin_of_the_readme,
    "data.md": features_of_birds,
    "page.md": two_runs,
    "predict.md": a_number_that_is_no_class,
}
"""Name of a page -> what makes its files in the working folder."""
