"""Lets several processes share a batch and take the same step as one process would.

Process r has the loss L_r of its n_r of N images. The loss of the batch is sum_r n_r / N * L_r, so
each process backpropagates n_r / N * L_r, and one sum over processes follows the backward pass.

DistributedDataParallel does not fit: it takes the plain mean over processes (wrong for unequal
shares), wraps `forward` (models here define `loss`), and needs to know of parameters without a
gradient, as in a warm-up. The price is that communication does not overlap the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F_
from torch.overrides import TorchFunctionMode

from zslkit.dataset import Index
from zslkit.errors import UserError
from zslkit.functional import whole_sum
from zslkit.model import GradientModel, Model
from zslkit.utils import distributed


def shares_batches(model_class: type[Model]) -> bool:
    """Whether processes can train models of this class together.

    The loss must allow it, and the harness must do all of the training.
    """
    return (
        issubclass(model_class, GradientModel)
        and model_class.loss_is_mean
        and model_class.fit is GradientModel.fit
    )


def shares(batches: Iterable[Index]) -> Iterator[tuple[Index, int]]:
    """This process's part of every batch, with the size of the batch.

    Raises:
        UserError: A batch has fewer images than there are processes.
    """
    for index in batches:
        if len(index) < distributed.size():
            raise UserError(
                f"A batch has {len(index)} images and {distributed.size()} processes "
                "are to share it; start fewer, or raise train.batch_size"
            )
        yield index[distributed.share(len(index))], len(index)


@contextmanager
def share_of_batch(size: int) -> Iterator[None]:
    """Context in which whole_batch, whole_sum and batch norm see all `size` images of a batch."""
    if not distributed.several():
        yield
        return
    with distributed.sharing(size), _WholeBatchNorm():
        yield


def add_up(parameters: Iterable[nn.Parameter]) -> None:
    """Sum each gradient over processes; a gradient that no process has stays None."""
    if not distributed.several():
        return
    groups: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for p in parameters:
        if p.requires_grad:
            groups.setdefault((p.dtype, p.device), []).append(p)
    for (dtype, device), members in groups.items():
        # The last numbers count the processes with a gradient: some may skip a branch of the model.
        has = torch.tensor([float(p.grad is not None) for p in members], dtype=dtype, device=device)
        own = [
            torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in members
        ]
        *summed, held = torch.split(
            distributed.summed(torch.cat([*own, has])),
            [*(p.numel() for p in members), len(members)],
        )
        for p, g, n in zip(members, summed, held.tolist(), strict=True):
            p.grad = g.view_as(p).clone(memory_format=torch.preserve_format) if n else None


def from_first(model: nn.Module) -> None:
    """Copy the first process's parameters and buffers to all processes."""
    if distributed.several():
        for tensor in model.state_dict().values():
            distributed.spread(tensor)


class _WholeBatchNorm(TorchFunctionMode):
    """Batch normalisation by the statistics of the whole batch, anywhere in a model or backbone.

    torch's SyncBatchNorm replaces modules, does not know those of timm, and does not run on a CPU.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is F_.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,  # the name in F_.batch_norm
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """F_.batch_norm of this process's share (b, C, ...) with statistics over all processes."""
    if not training or distributed.batch() is None:
        return F_.batch_norm(
            input, running_mean, running_var, weight, bias, training, momentum, eps
        )
    x = input if input.dtype == torch.float64 else input.float()
    others = [i for i in range(x.ndim) if i != 1]
    per_channel = [-1 if i == 1 else 1 for i in range(x.ndim)]
    sums = whole_sum(torch.cat([x.sum(others), x.new_full((1,), x.numel() / x.shape[1])]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = x - mean.view(per_channel)
    variance = whole_sum(centred.square().sum(others)) / count
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
    y = centred * torch.rsqrt(variance + eps).view(per_channel)
    if weight is not None:
        y = y * weight.view(per_channel)
    if bias is not None:
        y = y + bias.view(per_channel)
    return y.to(input.dtype)
