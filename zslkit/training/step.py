"""Computes the gradient of one batch, whole or in the parts of `train.accumulate`.

If the loss is a mean over images, the gradients of the parts, weighted by their shares, add up to
that of the batch. If images of a batch interact (no declared mean, a term over the whole batch,
batch normalisation, a buffer that changes with every batch), parts would change the loss, and are
refused.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from zslkit.errors import OutOfMemory
from zslkit.model import GradientModel
from zslkit.training.compiled import Loss
from zslkit.training.shared import share_of_batch
from zslkit.training.unread import coupled
from zslkit.utils import distributed
from zslkit.utils.memory import is_out_of_memory


class Taken(NamedTuple):
    """Result of one step of this process, on the device.

    Attributes:
        terms: Detached loss terms by name.
        total: Their total.
        coupled: Whether images of a batch in parts turned out to be coupled; None if it was whole.
    """

    terms: dict[str, Tensor]
    total: Tensor
    coupled: Tensor | None = None


def check_parts(model: GradientModel) -> None:
    """Check `train.accumulate` against the loss.

    Raises:
        UserError: The setting asks for parts of a batch, and the loss is not a mean over images.
    """
    if model.config.train.accumulate > 1 and not model.loss_is_mean:
        raise coupled()


def take_step(
    model: GradientModel, loss: Loss, x: Tensor, label: Tensor, size: int, device: torch.device
) -> Taken:
    """Compute the gradients of one step from this process's share of the batch of `size` images.

    Inputs x (B, ...), class ids (B,). The loss may be compiled; `model.config.train` gives the
    number of parts and the precision.

    Raises:
        OutOfMemory: The step does not fit on the device.
        UserError: The batch cannot be taken in parts.
    """
    model.zero_grad(set_to_none=True)
    count = len(label)
    parts = min(model.config.train.accumulate, count)
    try:
        if parts > 1:
            return _in_parts(model, loss, x, label, size, device, parts)
        with share_of_batch(size):
            return _backward(model, loss, x, label, count / size, device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(_no_room(model, device, count, size, parts)) from error


def pass_through(
    model: GradientModel, x: Tensor, label: Tensor, size: int, device: torch.device
) -> None:
    """Pass a batch through the loss as a step does, without gradients and without parts."""
    with share_of_batch(size):
        _forward(model, model.loss, x, label, device)


def _in_parts(
    model: GradientModel,
    loss: Loss,
    x: Tensor,
    label: Tensor,
    size: int,
    device: torch.device,
    parts: int,
) -> Taken:
    count = len(label)
    terms: dict[str, Tensor] = {}
    total = torch.zeros((), device=device)
    moved = torch.zeros((), dtype=torch.bool, device=device)
    # Copies, since some ways to write into a buffer do not raise its version.
    buffers = [(name, b, b.detach().clone()) for name, b in model.named_buffers()]
    for number in range(parts):
        # Parts act as processes that share the batch, so a term over the whole batch asks for a
        # sum, which `_refuse` turns into an error.
        with distributed.rehearsing(number, parts, count, _refuse), share_of_batch(count):
            mine = distributed.share(count)
            images = len(label[mine])
            part = _backward(model, loss, x[mine], label[mine], images / size, device)
        now = dict(model.named_buffers())
        if any(now.get(n) is not b for n, b, _ in buffers):
            raise coupled()
        for _, b, before in buffers:  # compared on the device, which is not waited for
            moved |= (b != before).any()
        total = total + images / count * part.total
        for name, value in part.terms.items():
            terms[name] = terms.get(name, 0.0) + images / count * value
    return Taken(terms, total, moved)


def _backward(
    model: GradientModel,
    loss: Loss,
    x: Tensor,
    label: Tensor,
    weight: float,
    device: torch.device,
) -> Taken:
    """Add the gradients of the mean loss of these images, times `weight`."""
    config = model.config.train
    # Not pinned: pinning changes the layout of channels-last tensors, and so kernels and bits.
    with torch.autograd.graph.save_on_cpu() if config.offload else nullcontext():
        terms = _forward(model, loss, x, label, device)
        total = terms["total"] if "total" in terms else torch.stack(list(terms.values())).sum()
        # Weighted before the backward pass, since whole_sum adds gradients up in it.
        weighed = total if weight == 1 else weight * total
    weighed.backward()  # type: ignore[no-untyped-call]
    return Taken({name: value.detach() for name, value in terms.items()}, total.detach())


def _forward(
    model: GradientModel, loss: Loss, x: Tensor, label: Tensor, device: torch.device
) -> dict[str, Tensor]:
    precision = model.config.train.precision
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        return loss(x.to(device, non_blocking=True), label.to(device))


def _refuse(tensor: Tensor) -> Tensor:
    raise coupled()


def _no_room(model: GradientModel, device: torch.device, count: int, size: int, parts: int) -> str:
    config = model.config.train
    images = f"{count} images" if count == size else f"a share of {count} of {size} images"
    smaller = f"set train.accumulate={2 * parts}, which is the same step in smaller parts"
    ways = {
        smaller: model.loss_is_mean and parts < count,
        "set train.offload=true, the same step with the host's memory": not config.offload,
        "start more processes, which have smaller shares": distributed.several(),
        "lower train.batch_size, which is another recipe": parts < count,
        "take a smaller backbone or features.size, which are other runs": parts >= count,
        "go on from the last checkpoint with --device cpu": device.type != "cpu",
    }
    way = ", or ".join(way for way, open_here in ways.items() if open_here)
    return f"{device} has no room for a training step over {images}; {way}"
