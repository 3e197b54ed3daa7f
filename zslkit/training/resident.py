"""Keeps training inputs on the accelerator if they fit, so that steps do not wait for the disk."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslkit.model import TrainingView, UnlabelledView
from zslkit.training.ahead import sent
from zslkit.utils.progress import Reporter

SHARE = 0.5
"""Share of the accelerator's free memory for inputs; the model and its steps need the rest."""
CHUNK = 256


class Resident:
    """A TrainingView whose inputs lie on a device, in the type of the store.

    `batch` gives the same values as the original view, as float32 on the device; on the CPU if the
    device has no room for the batch.
    """

    def __init__(self, view: TrainingView, first: Tensor, device: torch.device) -> None:
        """Copy all inputs to the device; `first` (1, ...) is a stored input, for shape and type."""
        self._view, self._device = view, device
        inputs = torch.empty((len(view), *first.shape[1:]), dtype=first.dtype, device=device)
        for start in range(0, len(view), CHUNK):
            index = np.arange(start, min(start + CHUNK, len(view)))
            inputs[start : start + len(index)] = view.stored(index).to(device)  # type: ignore[attr-defined]
        self._inputs = inputs

    @property
    def labels(self) -> NDArray[np.int64]:
        return self._view.labels

    def __len__(self) -> int:
        return len(self._view)

    def batch(self, index: NDArray[np.int64]) -> Tensor:
        with suppress(torch.cuda.OutOfMemoryError):
            return self._inputs[sent(torch.from_numpy(index), self._device)].float()
        return self._view.batch(index)

    def everything(self) -> tuple[Tensor, Tensor]:
        return self._view.everything()

    def unlabelled(self) -> UnlabelledView:
        return self._view.unlabelled()


def free_memory(device: torch.device) -> int:
    """Free bytes of an accelerator; 0 for the CPU and for accelerators that share its memory."""
    if device.type not in ("cuda", "xpu"):
        return 0
    return int(torch.get_device_module(device).mem_get_info(device)[0])


def resident(
    view: TrainingView, device: torch.device, reporter: Reporter, free: int | None = None
) -> TrainingView:
    """A view with its inputs on the device, or the given view if they do not fit.

    They fit if they need at most SHARE of the `free` bytes, by default as the device reports.
    Images stay on the CPU, since they are decoded again in every epoch.
    """
    free = free_memory(device) if free is None else free
    stored = getattr(view, "stored", None)
    if free <= 0 or stored is None or len(view) == 0:
        return view
    first = stored(np.arange(1))
    if first is None:
        return view
    size = len(view) * first.nbytes
    if size > SHARE * free:
        return view
    reporter.note(f"features: {size / 1e6:,.0f} MB kept on {device}")
    return Resident(view, first, device)
