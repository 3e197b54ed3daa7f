"""What a model is trained on: the images of seen classes in trainval, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslkit.dataset import Dataset, Maps

Index = NDArray[np.int64]


class Source(Protocol):
    """Inputs of all images of a dataset, by image index."""

    def batch(self, index: Index) -> Tensor:
        """(B, ...) float32 on the CPU."""
        ...


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


class View:
    """A TrainingView over a source. It holds no index of a test image, so none can be asked for."""

    def __init__(self, source: Source, dataset: Dataset) -> None:
        self._source = source
        self._index = dataset.split.trainval
        self._labels = dataset.labels[self._index]

    @property
    def labels(self) -> Index:
        return self._labels

    def __len__(self) -> int:
        return len(self._index)

    def batch(self, index: Index) -> Tensor:
        return self._source.batch(self._index[index])

    def stored(self, index: Index) -> Tensor | None:
        """Inputs (B, ...) in the type that their store keeps, on the CPU; None if they are in no store, as images are."""
        stored = getattr(self._source, "stored", None)
        return None if stored is None else stored(self._index[index])

    def everything(self) -> tuple[Tensor, Tensor]:
        inputs = torch.empty(0)
        for i in range(0, len(self), 1024):
            part = self.batch(np.arange(i, min(i + 1024, len(self))))
            if not i:  # made whole at once: parts that are joined at the end take the room twice
                inputs = torch.empty((len(self), *part.shape[1:]))
            inputs[i : i + len(part)] = part
        return inputs, torch.from_numpy(self._labels)
