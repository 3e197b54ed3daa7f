"""Loss terms of the last steps, kept on the device: reading a number waits for all work there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from zslkit.errors import TrainingError, UserError
from zslkit.utils import distributed

READ_EVERY = 50
"""Steps between two reads on an accelerator. On the CPU every step is read, which costs nothing."""

TOTAL = ""
"""Name of the total of a step; no term has it."""


class _Step(NamedTuple):
    names: tuple[str, ...]
    values: Tensor
    weight: float | None


class Unread:
    """Terms of steps that nobody has read yet; `steps` counts those of this epoch, read or not."""

    def __init__(self) -> None:
        self.steps = 0
        self._waiting: list[_Step] = []
        self._coupled: list[Tensor] = []

    def add(
        self,
        terms: Mapping[str, float | Tensor],
        total: Tensor | None = None,
        *,
        weight: float | None = None,
        coupled: Tensor | None = None,
    ) -> bool:
        """Keep the terms of one step.

        Args:
            terms: Scalars by name.
            total: Total of the step, read under the name TOTAL.
            weight: This process's share of the images, 0 to 1, where processes share the batch.
            coupled: Whether images of the batch turned out to be coupled, a scalar.

        Returns:
            Whether it is time to read.
        """
        self.steps += 1
        named = dict(terms) if total is None else {**terms, TOTAL: total}
        device = next((v.device for v in named.values() if isinstance(v, Tensor)), None)
        if coupled is not None:
            self._coupled.append(coupled)
        if named:
            # A copy, since a model may go on writing into a tensor that it returned.
            scalars = [_scalar(value, device) for value in named.values()]
            self._waiting.append(_Step(tuple(named), torch.stack(scalars), weight))
        return not _asynchronous(device) or len(self._waiting) >= READ_EVERY

    def read(self, place: str, mend: str) -> list[dict[str, float]]:
        """Terms of each step since the last read, in order.

        `place` says where the steps are, as in "of the stage net"; `mend`, what to do if a term is
        not finite.

        Raises:
            TrainingError: A term is not finite; names the term and its step.
            UserError: A batch taken in parts has coupled images.
        """
        if self._coupled and bool(torch.stack(self._coupled).any()):
            raise coupled()
        self._coupled.clear()
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        numbers = iter(_numbers(waiting))
        rows = [{name: next(numbers) for name in step.names} for step in waiting]
        for number, row in enumerate(rows, start=self.steps - len(rows) + 1):
            for name, value in row.items():
                if name != TOTAL and not math.isfinite(value):
                    raise TrainingError(
                        f"The loss term {name} is {value} {place.format(step=number)}; {mend}"
                    )
        return rows


def coupled() -> UserError:
    """The error for a loss that cannot be taken in parts."""
    return UserError(
        "train.accumulate takes a batch in parts, and this loss looks at the whole batch, so parts "
        "would be another loss; leave it at 1, and where memory is short set train.offload=true"
    )


def _asynchronous(device: torch.device | None) -> bool:
    return device is not None and device.type != "cpu"


def _scalar(value: float | Tensor, device: torch.device | None) -> Tensor:
    if not isinstance(value, Tensor):
        return torch.full((), value, dtype=torch.float64, device=device)
    return value.detach().reshape(()).to(device, non_blocking=True)


def _numbers(waiting: list[_Step]) -> list[float]:
    """All values of the steps, added up over processes where these share the batch."""
    if distributed.several() and waiting[0].weight is not None:
        mine = [step.weight * step.values.double() for step in waiting if step.weight is not None]
        return list(distributed.summed(torch.cat(mine).cpu()).tolist())
    return list(torch.cat([step.values for step in waiting]).tolist())
