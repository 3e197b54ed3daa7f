"""Training inputs kept whole on the accelerator where they fit, so that no step waits for the disk or the bus."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslkit.model import TrainingView, UnlabelledView
from zslkit.utils.progress import Reporter

SHARE = 0.5
"""Of the accelerator's free memory, what the inputs may take: the model, its gradients and a step's temporaries need the rest."""
CHUNK = 256


class Resident:
    """A TrainingView whose inputs lie on a device in the type that the store keeps, half the size of float32 for maps.

    batch gives the same values as the view it was made of, as float32 on that device; on the CPU where the device has no room for it.
    """

    def __init__(self, view: TrainingView, first: Tensor, device: torch.device) -> None:
        """first: the stored input of one image, (1, ...), for its shape and type."""
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
            return self._inputs[torch.from_numpy(index).to(self._device)].float()
        return self._view.batch(index)

    def everything(self) -> tuple[Tensor, Tensor]:
        return self._view.everything()

    def unlabelled(self) -> UnlabelledView:
        return self._view.unlabelled()


def free_memory(device: torch.device) -> int:
    """Free bytes of an accelerator with memory of its own; 0 for the CPU and for accelerators that share its memory."""
    if device.type not in ("cuda", "xpu"):
        return 0
    return int(torch.get_device_module(device).mem_get_info(device)[0])


def resident(
    view: TrainingView, device: torch.device, reporter: Reporter, free: int | None = None
) -> TrainingView:
    """The view with its inputs on `device`, if they take at most SHARE of its free memory; else the view itself.

    free: bytes, by default what the device says. Images stay where they are: they are decoded anew for every step.
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
