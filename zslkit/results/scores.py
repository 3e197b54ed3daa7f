"""The scores of both test sets, kept with the run so that a new metric needs no retraining."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError

Table = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scores:
    """Uncalibrated scores of one model on both test sets.

    test_seen_scores (Ns, C), test_unseen_scores (Nu, C) float32; test_seen_labels (Ns,), test_unseen_labels (Nu,)
    class ids; seen (C,) bool; classes: C names.
    """

    test_seen_scores: Table
    test_seen_labels: Labels
    test_unseen_scores: Table
    test_unseen_labels: Labels
    seen: NDArray[np.bool_]
    classes: tuple[str, ...]

    def sets(self) -> tuple[Table, Labels, Table, Labels, NDArray[np.bool_]]:
        """What the evaluator takes, in its order."""
        return self.test_seen_scores, self.test_seen_labels, self.test_unseen_scores, self.test_unseen_labels, self.seen

    def write(self, file: IO[bytes]) -> None:
        np.savez(
            file,
            test_seen_scores=self.test_seen_scores.astype(np.float32, copy=False),
            test_seen_labels=self.test_seen_labels.astype(np.int64, copy=False),
            test_unseen_scores=self.test_unseen_scores.astype(np.float32, copy=False),
            test_unseen_labels=self.test_unseen_labels.astype(np.int64, copy=False),
            seen=self.seen,
            classes=np.array(self.classes, dtype=np.str_),
        )


_UNREADABLE = (OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_scores(path: Path) -> Scores:
    """The scores in a `scores.npz`. Raises DataError that names the file, what is wrong with it and the next step."""
    mend = f"move the folder {path.parent} away and run again"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in Scores.__dataclass_fields__}
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; {mend}") from error
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}; {mend}") from error
    except _UNREADABLE as error:
        raise DataError(f"{path} is cut off or damaged ({error}); {mend}") from error
    if fault := _fault(arrays):
        raise DataError(f"{path}: {fault}; {mend}")
    return Scores(**{**arrays, "classes": tuple(arrays["classes"].tolist())})


_TYPES: dict[str, tuple[Any, int]] = {
    "test_seen_scores": (np.float32, 2),
    "test_seen_labels": (np.int64, 1),
    "test_unseen_scores": (np.float32, 2),
    "test_unseen_labels": (np.int64, 1),
    "seen": (np.bool_, 1),
    "classes": (np.str_, 1),
}


def _fault(arrays: dict[str, NDArray[Any]]) -> str:
    """What is wrong with types and shapes, or ''."""
    for name, (kind, dimensions) in _TYPES.items():
        array = arrays[name]
        if not np.issubdtype(array.dtype, kind) or array.ndim != dimensions:
            return f"{name} is {array.dtype} of shape {array.shape}"
    count = len(arrays["classes"])
    for part in ("test_seen", "test_unseen"):
        wanted = (len(arrays[f"{part}_labels"]), count)
        if arrays[f"{part}_scores"].shape != wanted:
            return f"{part}_scores has shape {arrays[f'{part}_scores'].shape} where {wanted} belongs"
    return "" if len(arrays["seen"]) == count else f"seen has {len(arrays['seen'])} entries for {count} classes"
