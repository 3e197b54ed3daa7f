"""The gradient of one batch, also where the device has no room for all of its images at once.

A model whose loss is a mean over images takes them in parts, and the gradients of the parts, each weighed by its share of the images,
add up to that of the whole batch. Where the images of a batch know of each other (a model that declares no mean, a term over the whole
batch, batch normalisation, a buffer that moves with every batch), parts would make another loss; there the batch stays whole, and what
the forward pass keeps for the backward pass waits in the host's memory.
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
"""Detached terms of a loss by name, and their total."""


class Step:
    """Fills the gradients of a model. How a batch was found to fit is kept for the batches that follow.

    tell: gets a sentence whenever that changes. relieve: gives back what lies on the device for speed alone; False if nothing does.
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
        """Parts that a batch is taken in, no more than it has images."""
        self.offloads = False
        """Whether what is kept for the backward pass waits in the host's memory."""

    def state(self) -> dict[str, int]:
        """What a checkpoint keeps: the number of parts decides the bits."""
        return {"parts": self.parts, "offloads": int(self.offloads)}

    def load(self, state: Mapping[str, int]) -> None:
        self.parts = 1 if self._coupled else int(state["parts"])
        self.offloads = bool(state["offloads"])

    def agree(self) -> None:
        """Take the way of the process that has the least room, so that a checkpoint of the first one is right for all."""
        states, before = distributed.gathered(self.state), self.state()
        self.load({key: max(state[key] for state in states) for key in before})
        if self.state() != before:
            self._tell(
                f"another process has no room for its share of a batch at once; {self._way(self.parts)}"
            )

    def __call__(self, x: Tensor, label: Tensor, size: int) -> tuple[dict[str, float], float]:
        """Terms and total of the loss of the whole batch.

        x (B, ...) and label (B,): this process's share of a batch of `size` images. Raises OutOfMemory if no way of taking it fits.
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
        """Gradients, and the terms of the share; None if they are to be tried again, in another way."""
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
        # Out here, since the error's traceback would keep alive what fills the device.
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
            # As if parts were processes that share the batch: then everything that looks at more images than its own asks for a sum.
            with distributed.rehearsing(number, parts, count, _refuse), share_of_batch(count):
                mine = distributed.share(count)
                images = len(label[mine])
                told, loss = self._backward(x[mine], label[mine], images / size)
            if start.moved():
                raise _Coupled
            total = total + images / count * loss
            for name, value in told.items():
                terms[name] = terms.get(name, 0.0) + images / count * value
        return terms, total

    def _backward(self, x: Tensor, label: Tensor, weight: float) -> Terms:
        """Add the gradients of the mean loss of these images, times the weight, to those of the model."""
        # Not pinned, which would lay a channels-last tensor out anew, and another layout may take another kernel and other bits.
        with torch.autograd.graph.save_on_cpu() if self.offloads else nullcontext():
            with torch.autocast(
                self._device.type, dtype=torch.bfloat16, enabled=self._precision == "bfloat16"
            ):
                terms = self._model.loss(
                    x.to(self._device, non_blocking=True), label.to(self._device)
                )
            total = terms["total"] if "total" in terms else torch.stack(list(terms.values())).sum()
            # Weighed before, since gradients through whole_sum are added up on the way.
            weighed = total if weight == 1 else weight * total
        weighed.backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in terms.items()}, total.detach()

    def _sentence(self, count: int, size: int) -> str:
        return f"{self._device} has no room for a step over {_images(count, size)} at once; {self._way(min(self.parts, count))}"

    def _way(self, parts: int) -> str:
        ways = [
            f"they go through in {parts} parts whose gradients are added up" if parts > 1 else "",
            "what a step keeps for its backward pass waits in the host's memory"
            if self.offloads
            else "",
        ]
        return f"from here on {' and '.join(filter(None, ways))}, so that each step stays that of the whole batch"

    def _too_large(self, count: int, size: int) -> str:
        tried = "with what it keeps for its backward pass in the host's memory"
        where = "on a machine that has more" if self._device.type == "cpu" else "with --device cpu"
        elsewhere = f"give the same command {where}, which goes on from the last checkpoint"
        if min(self.parts, count) == count:
            return (
                f"{self._device} has no room for a training step over one image, not even {tried}, so no train.batch_size is small enough; "
                f"take a smaller backbone or a smaller features.size, which are other runs, or {elsewhere}"
            )
        more = "start more processes, which have smaller shares, " if distributed.several() else ""
        return (
            f"{self._device} has no room for a training step over {_images(count, size)}, not even {tried}, and a loss that looks at the "
            f"whole batch cannot be taken in parts; {more}lower train.batch_size, which is another recipe and so another run, "
            f"or {elsewhere}"
        )


def _images(count: int, size: int) -> str:
    return f"{count} images" if count == size else f"a share of {count} of {size} images"


class _Coupled(Exception):
    """A part of a batch asks for the rest of it."""


def _refuse(tensor: Tensor) -> Tensor:
    raise _Coupled


class _Start:
    """What a step changes besides gradients, as it was: buffers and the state of random numbers."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        # Copies, since a buffer's version says nothing: batch normalisation moves its statistics past it.
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
                setattr(module, name, buffer)  # a loss may have put another in its place
        torch.set_rng_state(self._random)
        if self._on_device is not None:
            _random_of(self._device).set_rng_state(self._on_device, self._device)

    def moved(self) -> bool:
        """Whether a buffer is not what it was."""
        return any(
            getattr(module, name) is not buffer or not torch.equal(buffer, before)
            for module, name, buffer, before in self._buffers
        )


def _random_of(device: torch.device) -> Any:
    return torch.get_device_module(device)
