"""What a model trains on: images of trainval only, and unlabelled test images if transductive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslkit.dataset import Dataset, Index, Maps
from zslkit.errors import UserError
from zslkit.features.augment import Cut
from zslkit.model import Model


class InputSource(Protocol):
    """Inputs of all images of a dataset, by image index."""

    def batch(self, index: Index) -> Tensor:
        """(B, ...) float32 on the CPU."""


@dataclass(frozen=True)
class MapSource:
    """Feature maps (B, D, H, W) from a store."""

    store: Maps

    def batch(self, index: Index) -> Tensor:
        return self.store.maps(index)

    def stored(self, index: Index) -> Tensor:
        return self.store.stored_maps(index)


@dataclass(frozen=True)
class PooledSource:
    """Pooled features (B, D) from a store."""

    store: Maps

    def batch(self, index: Index) -> Tensor:
        return self.store.pooled(index)

    stored = batch


@dataclass(frozen=True)
class ArraySource:
    """Features (B, D) that came with the dataset."""

    features: NDArray[np.floating[Any]]

    def batch(self, index: Index) -> Tensor:
        return torch.from_numpy(np.asarray(self.features[index], dtype=np.float32))

    stored = batch


class Unlabelled:
    """A `zslkit.model.UnlabelledView`: both test sets in random order, without labels."""

    def __init__(self, source: InputSource, dataset: Dataset) -> None:
        both = np.sort(np.concatenate([dataset.split.test_seen, dataset.split.test_unseen]))
        self._source, self._index = source, np.random.default_rng(len(both)).permutation(both)

    def __len__(self) -> int:
        return len(self._index)

    def batch(self, index: Index) -> Tensor:
        return self._source.batch(self._index[index])

    def everything(self) -> Tensor:
        return _joined(self)


class View:
    """A TrainingView over a source. It holds no index of a test image.

    Args:
        source: Inputs by image index.
        model_class: The model class; only a transductive one gets unlabelled images.
    """

    def __init__(
        self, source: InputSource, dataset: Dataset, model_class: type[Model] = Model
    ) -> None:
        self._source = source
        self._index = dataset.split.trainval
        self._labels = dataset.labels[self._index]
        self._model_class = model_class
        self._unlabelled = (
            Unlabelled(source, dataset) if model_class.protocol == "transductive" else None
        )

    @property
    def labels(self) -> Index:
        return self._labels

    def __len__(self) -> int:
        return len(self._index)

    def batch(self, index: Index) -> Tensor:
        return self._source.batch(self._index[index])

    def stored(self, index: Index) -> Tensor | None:
        """Inputs (B, ...) in the type of their store, on the CPU; None without a store (images)."""
        stored = getattr(self._source, "stored", None)
        return None if stored is None else stored(self._index[index])

    @property
    def cuttable(self) -> bool:
        """Whether the inputs are photos, which `cut` can read at other places."""
        return hasattr(self._source, "cut")

    def cut(self, index: Index, cuts: Sequence[Cut]) -> Tensor:
        """Inputs (B, 3, h, w) of photos, each cut as `cuts` says."""
        inputs: Tensor = self._source.cut(self._index[index], cuts)  # type: ignore[attr-defined]
        return inputs

    def everything(self) -> tuple[Tensor, Tensor]:
        return _joined(self), torch.from_numpy(self._labels)

    def unlabelled(self) -> Unlabelled:
        """The test images without labels; UserError unless the model is transductive."""
        if self._unlabelled is None:
            raise UserError(
                f"{self._model_class.__name__} asks for the unlabelled test images "
                f"and declares itself {self._model_class.protocol}; "
                'only a model with protocol = "transductive" is given them, '
                "and its rows stand in tables of their own"
            )
        return self._unlabelled


def _joined(view: View | Unlabelled) -> Tensor:
    """All inputs (N, ...) of a view."""
    inputs = torch.empty(0)
    for i in range(0, len(view), 1024):
        part = view.batch(np.arange(i, min(i + 1024, len(view))))
        if not i:  # allocated once: joining parts at the end would need twice the memory
            inputs = torch.empty((len(view), *part.shape[1:]))
        inputs[i : i + len(part)] = part
    return inputs
