"""Withholds the test images from a model's code: their labels, indices, features and names.

During training, objects of the harness hold the images of trainval only; the truth about the others
is in a file without a name. Python has no walls, so this stops mistakes and simple leaks;
docs/checks.md says what it does not stop.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from zslkit.dataset import Dataset, Index, Split
from zslkit.errors import ModelFault

NOWHERE = np.empty(0, dtype=np.int64)


class Withheld:
    """The images of a dataset that a model's code cannot reach.

    Args:
        who: Name of the model, for messages.
        dataset: The dataset; everything but trainval is withheld.
        holders: Other objects that hold inputs of the images, such as sources and validation folds.
        unlabelled: Allow the test images without labels and in random order (transductive models).
    """

    def __init__(
        self, who: str, dataset: Dataset, holders: Iterable[object], unlabelled: bool
    ) -> None:
        split, count = dataset.split, len(dataset.labels)
        self._who, self._dataset = who, dataset
        both = np.sort(np.concatenate([split.test_seen, split.test_unseen]))
        self._mask = np.zeros(count, dtype=bool)
        self._mask[split.trainval] = True
        self._mask[both] = unlabelled
        self._asked = 0
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        for array in (dataset.labels, split.test_seen, split.test_unseen):
            np.save(self.file, array)
        self._labels = np.full_like(dataset.labels, -1)
        self._labels[split.trainval] = dataset.labels[split.trainval]
        self._split = Split(split.trainval, both if unlabelled else NOWHERE, NOWHERE)
        found = _held([dataset, *holders], count)
        self._inputs = [(holder, name, self._gated(value)) for holder, name, value in found]
        self._away: list[Callable[[], Any]] = []

    def _gated(self, values: Any) -> Any:
        count = len(values)
        numbers = np.arange(count)

        def take(index: Any) -> Any:
            rows = numbers[index[0] if isinstance(index, tuple) else index]
            if refused := int(np.count_nonzero(~self._mask[rows])):
                self._asked += refused
                raise ModelFault(self._who, self.complaint)
            return values[index]

        return GatedArray(take, values) if hasattr(values, "shape") else GatedNames(take, count)

    @property
    def complaint(self) -> str:
        """What the model did, as the rest of a sentence about it; "" if it did nothing."""
        if not self._asked:
            return ""
        return (
            "training asked for images that are not in its training set; "
            "it may take inputs from the view's methods alone"
        )

    def close(self) -> None:
        """Withhold everything."""
        for holder, name, instead in self._inputs:
            # Held by closures and not in a list of objects, which is easily searched.
            self._away.append(_keeper(getattr(holder, name)))
            object.__setattr__(holder, name, instead)
        self._set_truth(self._labels, self._split)

    def open(self) -> None:
        """Restore everything."""
        for (holder, name, _), keeper in zip(self._inputs, self._away, strict=True):
            object.__setattr__(holder, name, keeper())
        self._away.clear()
        self._set_truth(*self.truth())

    def _set_truth(self, labels: Index, split: Split) -> None:
        object.__setattr__(self._dataset, "labels", labels)
        object.__setattr__(self._dataset, "split", split)

    def truth(self) -> tuple[Index, Split]:
        """True labels (N,) and split, for the harness while no code of the model runs."""
        self.file.seek(0)
        labels, seen, unseen = (np.load(self.file, allow_pickle=False) for _ in range(3))
        return labels, Split(self._split.trainval, seen, unseen)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Context in which the harness has access to everything, as between two epochs."""
        self.open()
        try:
            yield
        finally:
            self.close()

    @contextmanager
    def scoring(self) -> Iterator[Index]:
        """Context in which every image may be scored; labels and split stay withheld.

        Yields the indices of the test images (N,), ascending.
        """
        before = self._mask.copy()
        self._mask[:] = True
        try:
            yield self._test_images()
        finally:
            self._mask[:] = before

    def _test_images(self) -> Index:
        # A separate function: a local variable of `scoring` would be in reach of the model.
        _, split = self.truth()
        return np.sort(np.concatenate([split.test_seen, split.test_unseen]))


class GatedArray:
    """An array that gives only the rows that are allowed."""

    __slots__ = ("_take", "dtype", "ndim", "shape")

    def __init__(self, take: Callable[[Any], Any], like: Any) -> None:
        self._take, self.shape, self.dtype = take, like.shape, like.dtype
        self.ndim = len(like.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: Any) -> NDArray[Any]:
        rows: NDArray[Any] = self._take(index)
        return rows


class GatedNames(Sequence[Any]):
    """A list that gives only the entries that are allowed."""

    __slots__ = ("_count", "_take")

    def __init__(self, take: Callable[[Any], Any], count: int) -> None:
        self._take, self._count = take, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._take(index)


@contextmanager
def withheld(
    who: str, dataset: Dataset, holders: Iterable[object] = (), *, unlabelled: bool = False
) -> Iterator[Withheld]:
    """Context in which a model's code may run; parameters as in `Withheld`.

    Raises:
        ModelFault: The model asked for a withheld image, even if it caught the error.
    """
    held = Withheld(who, dataset, holders, unlabelled)
    held.close()
    try:
        yield held
    except Exception as error:
        if held.complaint and not isinstance(error, ModelFault):
            raise ModelFault(who, held.complaint) from error
        raise
    finally:
        held.open()
        held.file.close()
    if held.complaint:
        raise ModelFault(who, held.complaint)


def _keeper(value: Any) -> Callable[[], Any]:
    return lambda: value


_OF_A_DATASET = ("images", "features", "maps", "image_attributes")
_NO_HOLDERS = (type, ModuleType, FunctionType, MethodType, nn.Module, np.ndarray)


def _held(roots: Iterable[object], count: int) -> Iterator[tuple[object, str, Any]]:
    """Every attribute, in these objects and their parts, that holds a value for each image."""
    waiting, met = list(roots), set[int]()
    while waiting:
        holder = waiting.pop()
        if id(holder) in met or isinstance(holder, _NO_HOLDERS) or not hasattr(holder, "__dict__"):
            continue
        met.add(id(holder))
        for name, value in list(vars(holder).items()):
            if isinstance(holder, Dataset) and name not in _OF_A_DATASET:
                continue
            if isinstance(value, (np.ndarray, Tensor, GatedArray, GatedNames, tuple, list)):
                if len(getattr(value, "shape", "x")) and len(value) == count:
                    yield holder, name, value
            else:
                waiting.append(value)
