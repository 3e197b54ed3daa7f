"""Computes the gradient of one batch, even if the device cannot hold all of its images at once.

If the loss is a mean over images, the batch is split into parts, and the gradients of the parts,
weighted by their shares, add up to that of the batch. If images of a batch interact (no declared
mean, a term over the whole batch, batch normalisation, a buffer that changes with every batch),
parts would change the loss; then the batch stays whole, and saved tensors move to host memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from zslkit.errors import OutOfMemory
from zslkit.model import GradientModel
from zslkit.training.shared import figures, share_of_batch
from zslkit.utils import distributed
from zslkit.utils.memory import is_out_of_memory, release

Terms = tuple[dict[str, Tensor], Tensor]
"""Detached loss terms by name, and their total."""


class Step:
    """Fills the gradients of a model, and remembers for later batches how a batch fits.

    Args:
        model: The model.
        device: Device of the model.
        precision: "float32" or "bfloat16".
        tell: Called with a sentence whenever the method changes.
        relieve: Frees device memory used for speed alone; returns False if there is none.
    """

    def __init__(
        self,
        model: GradientModel,
        device: torch.device,
        precision: str,
        tell: Callable[[str], None],
        relieve: Callable[[], bool] = lambda: False,
    ) -> None:
        self._model, self._device, self._precision = model, device, precision
        self._tell, self._relieve = tell, relieve
        self._coupled = not model.loss_is_mean
        self.parts = 1
        """Number of parts of a batch, at most one per image."""
        self.offloads = False
        """Whether tensors saved for the backward pass are in host memory."""

    def state(self) -> dict[str, int]:
        """State for the checkpoint; the number of parts affects rounding."""
        return {"parts": self.parts, "offloads": int(self.offloads)}

    def load(self, state: Mapping[str, int]) -> None:
        """Restore the state of a checkpoint."""
        self.parts = 1 if self._coupled else int(state["parts"])
        self.offloads = bool(state["offloads"])

    def agree(self) -> None:
        """Use the method of the process with the least memory in all processes.

        A checkpoint of the first process is then right for all.
        """
        states, before = distributed.gathered(self.state), self.state()
        self.load({key: max(state[key] for state in states) for key in before})
        if self.state() != before:
            self._tell(
                "another process has no room for its share of a batch at once; "
                f"{self._way(self.parts)}"
            )

    def __call__(self, x: Tensor, label: Tensor, size: int) -> tuple[dict[str, float], float]:
        """Compute the gradients of one step.

        Args:
            x: (B, ...), this process's share of the inputs.
            label: (B,) class ids.
            size: Number of images in the whole batch.

        Returns:
            Terms and total of the loss of the whole batch.

        Raises:
            OutOfMemory: The batch does not fit in any way.
        """
        self._model.zero_grad(set_to_none=True)
        start, before = _Start(self._model, self._device), self.state()
        sums: list[Tensor] = []
        while (taken := self._attempt(x, label, size, start, sums)) is None:
            self._model.zero_grad(set_to_none=True)
            release(self._device)
            start.restore()
        if self.state() != before:
            self._tell(self._sentence(len(label), size))
        return figures(*taken, len(label) / size)

    def _attempt(
        self, x: Tensor, label: Tensor, size: int, start: _Start, sums: list[Tensor]
    ) -> Terms | None:
        """Compute gradients and terms of the share; None to try again with another method."""
        try:
            with distributed.remembering(sums):
                return (
                    self._whole(x, label, size)
                    if min(self.parts, len(label)) == 1
                    else self._in_parts(x, label, size, start)
                )
        except _Coupled:
            self._coupled, self.parts, self.offloads = True, 1, True
            return None
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler, since the traceback would keep the tensors that fill the device.
        if not self._relieve():
            self._narrow(len(label), size)
        return None

    def _narrow(self, count: int, size: int) -> None:
        if self.offloads:
            raise OutOfMemory(self._too_large(count, size))
        if self._coupled or self.parts >= count:
            self.offloads = True
        else:
            self.parts = min(2 * self.parts, count)

    def _whole(self, x: Tensor, label: Tensor, size: int) -> Terms:
        with share_of_batch(size):
            return self._backward(x, label, len(label) / size)

    def _in_parts(self, x: Tensor, label: Tensor, size: int, start: _Start) -> Terms:
        count = len(label)
        parts = min(self.parts, count)
        terms: dict[str, Tensor] = {}
        total = torch.zeros((), device=self._device)
        for number in range(parts):
            # Parts act as processes that share the batch, so a term over the whole batch asks for
            # a sum, which `_refuse` turns into _Coupled.
            with distributed.rehearsing(number, parts, count, _refuse), share_of_batch(count):
                mine = distributed.share(count)
                images = len(label[mine])
                part_terms, loss = self._backward(x[mine], label[mine], images / size)
            if start.moved():
                raise _Coupled
            total = total + images / count * loss
            for name, value in part_terms.items():
                terms[name] = terms.get(name, 0.0) + images / count * value
        return terms, total

    def _backward(self, x: Tensor, label: Tensor, weight: float) -> Terms:
        """Add the gradients of the mean loss of these images, times `weight`."""
        # Not pinned: pinning changes the layout of channels-last tensors, and so kernels and bits.
        with torch.autograd.graph.save_on_cpu() if self.offloads else nullcontext():
            with torch.autocast(
                self._device.type, dtype=torch.bfloat16, enabled=self._precision == "bfloat16"
            ):
                terms = self._model.loss(
                    x.to(self._device, non_blocking=True), label.to(self._device)
                )
            total = terms["total"] if "total" in terms else torch.stack(list(terms.values())).sum()
            # Weighted before the backward pass, since whole_sum adds gradients up in it.
            weighed = total if weight == 1 else weight * total
        weighed.backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in terms.items()}, total.detach()

    def _sentence(self, count: int, size: int) -> str:
        return (
            f"{self._device} has no room for a step over {_images(count, size)} at once; "
            f"{self._way(min(self.parts, count))}"
        )

    def _way(self, parts: int) -> str:
        ways = [
            f"they go through in {parts} parts whose gradients are added up" if parts > 1 else "",
            "what a step keeps for its backward pass waits in the host's memory"
            if self.offloads
            else "",
        ]
        return (
            f"from here on {' and '.join(filter(None, ways))}, "
            "so that each step stays that of the whole batch"
        )

    def _too_large(self, count: int, size: int) -> str:
        tried = "with what it keeps for its backward pass in the host's memory"
        where = "on a machine that has more" if self._device.type == "cpu" else "with --device cpu"
        elsewhere = f"give the same command {where}, which goes on from the last checkpoint"
        if min(self.parts, count) == count:
            return (
                f"{self._device} has no room for a training step over one image, "
                f"not even {tried}, so no train.batch_size is small enough; "
                "take a smaller backbone or a smaller features.size, "
                f"which are other runs, or {elsewhere}"
            )
        more = "start more processes, which have smaller shares, " if distributed.several() else ""
        return (
            f"{self._device} has no room for a training step over {_images(count, size)}, "
            f"not even {tried}, and a loss that looks at the "
            f"whole batch cannot be taken in parts; {more}lower train.batch_size, "
            "which is another recipe and so another run, "
            f"or {elsewhere}"
        )


def _images(count: int, size: int) -> str:
    return f"{count} images" if count == size else f"a share of {count} of {size} images"


class _Coupled(Exception):
    """A part of a batch needs the rest of the batch."""


def _refuse(tensor: Tensor) -> Tensor:
    raise _Coupled


class _Start:
    """State that a step changes besides gradients: buffers and random generators."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        # Copies: batch normalisation changes buffers without raising their version.
        self._buffers = [
            (module, name, buffer, buffer.detach().clone())
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]
        self._random = torch.get_rng_state()
        self._device, self._on_device = device, None
        if device.type in ("cuda", "xpu"):
            self._on_device = _random_of(device).get_rng_state(device)

    def restore(self) -> None:
        with torch.no_grad():
            for module, name, buffer, before in self._buffers:
                buffer.copy_(before)
                setattr(module, name, buffer)  # a loss may have replaced it
        torch.set_rng_state(self._random)
        if self._on_device is not None:
            _random_of(self._device).set_rng_state(self._on_device, self._device)

    def moved(self) -> bool:
        """Whether a buffer has changed."""
        return any(
            getattr(module, name) is not buffer or not torch.equal(buffer, before)
            for module, name, buffer, before in self._buffers
        )


def _random_of(device: torch.device) -> Any:
    return torch.get_device_module(device)
