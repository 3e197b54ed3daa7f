"""One run over several processes, as torchrun starts them: who this process is, and what all of them do together.

Every process goes through the same steps; what they must agree on is told by the first one, which alone writes to the disk. In one
process every function here is a plain return, and torch.distributed is never imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from zslkit.errors import UserError, ZslkitError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

LAUNCHED_BY = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun gives to each of its processes."""

PATIENCE = timedelta(days=7)
"""How long a process waits for the others: one of them may train alone for days. That one of them is dead, torchrun sees at once."""


class LostProcess(ZslkitError):
    """Another process of the run is gone; it has said why, or torchrun says what ended it."""


@dataclass
class _Place:
    number: int = 0
    size: int = 1
    joined: bool = False
    batch: int | None = None
    rehearsal: Callable[[Tensor], Tensor] | None = None


_here = _Place()


def launched() -> bool:
    """Whether torchrun, or what gives its variables, has started this process as one of several."""
    return all(name in os.environ for name in LAUNCHED_BY) and os.environ["WORLD_SIZE"] != "1"


def bystander() -> bool:
    """Whether this process is one of several and not the first: it says nothing and leaves no file of its own."""
    return launched() and os.environ["RANK"] != "0"


def joined() -> bool:
    return _here.joined


def join() -> None:
    """Meet the other processes, if there are any. Raises UserError if they are on several machines."""
    if _here.joined or not launched():
        return
    import torch
    import torch.distributed as dist

    if os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]) != os.environ["WORLD_SIZE"]:
        raise UserError(
            "One run is shared by the processes of one machine; start torchrun with --standalone, and other runs on other machines"
        )
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", timeout=PATIENCE)
    _here.number, _here.size, _here.joined = dist.get_rank(), dist.get_world_size(), True


def leave() -> None:
    """Part from the others after the work is done."""
    if _here.joined:
        import torch.distributed as dist

        dist.destroy_process_group()
        _here.number, _here.size, _here.joined = 0, 1, False


def size() -> int:
    """How many processes share the work at hand."""
    return _here.size


def several() -> bool:
    return _here.size > 1


def first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return _here.number == 0


def local() -> int:
    """Number of this process on its machine, and so of its GPU."""
    return int(os.environ["LOCAL_RANK"]) if several() else 0


def share(count: int) -> slice:
    """This process's part of `count` things: contiguous, and no two parts differ by more than one."""
    return slice(count * _here.number // _here.size, count * (_here.number + 1) // _here.size)


def apart() -> tuple[int, ...]:
    """What to add to a seed so that each process draws its own numbers, and the first one those of a process alone."""
    return () if first() else (_here.number,)


def wait() -> None:
    """Go on when all processes are here."""
    if several():
        import torch

        summed(torch.zeros(1))


def agreed(value: T) -> T:
    """The value that the first process has."""
    if not several():
        return value
    import torch
    import torch.distributed as dist

    told = [value if first() else None]
    with _together():
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
    return told[0]  # type: ignore[return-value]


def gathered(work: Callable[[], T]) -> list[T]:
    """What each process makes of `work`, in their order. An error of ours in one of them is raised in all, so that all go on alike."""
    if not several():
        return [work()]
    import torch.distributed as dist

    made: T | None = None
    failed: ZslkitError | None = None
    try:
        made = work()
    except ZslkitError as error:
        failed = error
    told: list[tuple[T | None, ZslkitError | None]] = [(None, None)] * _here.size
    with _together():
        dist.all_gather_object(told, (made, failed))
    for _, fault in told:
        if fault is not None:
            raise fault
    return [value for value, _ in told]  # type: ignore[misc]


def summed(tensor: Tensor) -> Tensor:
    """The tensor, contiguous and changed in place to the sum over all processes."""
    return (_here.rehearsal or _exchanged)(tensor)


def _exchanged(tensor: Tensor) -> Tensor:
    if several():
        import torch.distributed as dist

        with _together():
            dist.all_reduce(tensor)
    return tensor


@contextmanager
def _together() -> Iterator[None]:
    """Within this part processes talk to each other. Raises LostProcess if one of them is gone."""
    try:
        yield
    except RuntimeError as error:
        # Told by its words, since what carries the sums has no class for it.
        if any(
            word in str(error)
            for word in (
                "onnection closed",
                "onnection reset",
                "roken pipe",
                "remote process",
                "ncclRemoteError",
            )
        ):
            raise LostProcess(
                "Another process of this run has ended, so this one does too; the same command goes on from the last checkpoint"
            ) from error
        raise


def spread(tensor: Tensor) -> None:
    """Fill the tensor with what the first process has in it."""
    if several():
        import torch.distributed as dist

        values = tensor.detach().contiguous()
        with _together():
            dist.broadcast(values, src=0)
        tensor.detach().copy_(values)


@contextmanager
def in_turn() -> Iterator[None]:
    """The first process goes through this part first: what it leaves on the disk, the others find; what it fails at, it alone tells."""
    if not first():
        wait()
    yield
    if first():
        wait()


@contextmanager
def alone() -> Iterator[None]:
    """Within this part the process works as if there were no other."""
    before = _here.number, _here.size
    _here.number, _here.size = 0, 1
    try:
        yield
    finally:
        _here.number, _here.size = before


@contextmanager
def sharing(batch: int) -> Iterator[None]:
    """Within this part the processes work on their shares of a batch of so many images."""
    before, _here.batch = _here.batch, batch
    try:
        yield
    finally:
        _here.batch = before


def batch() -> int | None:
    """Images of the whole batch if several processes share it, else None."""
    return _here.batch


@contextmanager
def rehearsing(
    number: int, size: int, batch: int, summed: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Within this part the process acts as one of several that share a batch. summed: the sum of a tensor with those of the others."""
    before = _here.number, _here.size, _here.batch, _here.rehearsal
    _here.number, _here.size, _here.batch, _here.rehearsal = number, size, batch, summed
    try:
        yield
    finally:
        _here.number, _here.size, _here.batch, _here.rehearsal = before
