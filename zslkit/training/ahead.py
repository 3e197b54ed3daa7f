"""Reads the batches of a training ahead, and copies them to a GPU beside the present step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zslkit.dataset import Index


def ahead(
    read: Callable[[Index], Tensor],
    of_images: Index,
    indices: Iterable[tuple[Index, int]],
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Batches in order; the next one is read, and on CUDA copied, during the present step.

    Args:
        read: Gives the inputs (B, ...) of indices (B,).
        of_images: (N,) class ids.
        indices: Indices and size of the whole batch, of each step.

    Yields:
        Inputs (B, ...), class ids (B,) and the size of the whole batch. On CUDA both tensors are on
        the device, or on the CPU if it has no room for them; else they are where they were read.
    """
    labels = torch.from_numpy(np.ascontiguousarray(of_images))
    copies = Copies(device) if device.type == "cuda" else None

    def prepared(index: Index) -> Callable[[], tuple[Tensor, ...]]:
        both = read(index), labels[torch.from_numpy(index)]
        return (lambda: both) if copies is None else copies.begin(*both)

    with ThreadPoolExecutor(max_workers=1) as reader:
        pending = None
        for index, size in indices:
            coming = reader.submit(prepared, index), size
            if pending is not None:
                x, label = pending[0].result()()
                yield x, label, pending[1]
            pending = coming
        if pending is not None:
            x, label = pending[0].result()()
            yield x, label, pending[1]


class Copies:
    """Copies to a CUDA device on a stream of their own, through pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def begin(self, *tensors: Tensor) -> Callable[[], Any]:
        """Begin to copy; the result hands the copies to the present stream without waiting."""
        try:
            with torch.cuda.stream(self._stream):
                moved = tuple(sent(t, self._device) for t in tensors)
        except torch.cuda.OutOfMemoryError:
            return lambda: tensors  # the step copies them when it has room
        done = self._stream.record_event()

        def arrived() -> tuple[Tensor, ...]:
            present = torch.cuda.current_stream(self._device)
            present.wait_event(done)
            for copied, tensor in zip(moved, tensors, strict=True):
                if copied is not tensor:  # else its memory could be reused too early
                    copied.record_stream(present)
            return moved

        return arrived


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, through pinned memory if that is a CUDA device, without waiting."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
