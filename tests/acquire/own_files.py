"""Small files of features of one's own, and tables beside them, in every format that is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat
from spoilt import LABELS, PARTS, D, arrays

from zslkit.dataset import Dataset
from zslkit.datasets.catalog import load_dataset

N = len(LABELS)
NAMES = ("auk", "crow", "wren")
Go = Callable[..., tuple[int, str]]


def opened(card: str = "made/card.yaml") -> Dataset:
    return load_dataset(card)


def held(**what: Any) -> dict[str, Any]:
    """Pooled features of 8 images of 3 classes with 4 attributes; None takes an array out."""
    made = {**arrays(N, 6), "w2v_att": None, "att": None, **what}
    return {name: values for name, values in made.items() if values is not None}


def with_maps(**what: Any) -> dict[str, Any]:
    """Feature maps of 8 images with everything else a cache may hold; None takes an array out."""
    made = {**arrays(N, D, 2, 2), **what}
    return {name: values for name, values in made.items() if values is not None}


def hdf5(path: Path, values: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in values.items():
            file[name] = array
    return path


def h5(values: dict[str, Any], name: str = "x.h5") -> str:
    return str(hdf5(Path(name), values))


def npz(values: dict[str, Any], name: str = "x.npz") -> str:
    np.savez(name, **{key: np.asarray(array) for key, array in values.items()})
    return name


def mat(values: dict[str, Any], name: str = "x.mat") -> str:
    """As xlsa17 writes them, without names: images and classes are columns, and numbers count from
    1."""
    made = {
        "features": np.asarray(values["feature_map"], float).T,
        "labels": values["labels"][:, None] + 1.0,
    }
    made |= {part: (values[part][:, None] + 1).astype(np.uint16) for part in PARTS}
    savemat(name, made | {key: values[key].T for key in ("att", "original_att") if key in values})
    return name


WRITERS = (h5, npz, mat)


def csv(rows: dict[str, list[float]], head: str = "class,big,red,wet,old") -> str:
    Path("t.csv").write_text(
        "\n".join([head, *(f"{name}," + ",".join(map(str, row)) for name, row in rows.items())])
    )
    return "t.csv"


def rows_of(order: str, table: Any = None) -> dict[str, list[float]]:
    table = held()["original_att"] if table is None else table
    return {name: table[NAMES.index(name)].tolist() for name in order.split()}
