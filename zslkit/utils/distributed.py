"""One run in several processes, as torchrun starts them: rank, size and communication.

Every process executes the same steps. The first process decides values that must agree, and is the
only one to write files. In a single process every function returns at once, and torch.distributed
is never imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from zslkit.errors import UserError, ZslkitError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

LAUNCHED_BY = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets for each process."""

PATIENCE = timedelta(days=7)
"""Timeout for waiting on other processes, since one may train alone for days.

torchrun notices a dead process at once."""


class LostProcess(ZslkitError):
    """Another process of the run has ended; it or torchrun reports the reason."""


@dataclass
class _Place:
    number: int = 0
    size: int = 1
    joined: bool = False
    batch: int | None = None
    rehearsal: Callable[[Tensor], Tensor] | None = None


_here = _Place()


def launched() -> bool:
    """Whether this process is one of several started by torchrun or by equal variables."""
    return all(name in os.environ for name in LAUNCHED_BY) and os.environ["WORLD_SIZE"] != "1"


def bystander() -> bool:
    """Whether this process is one of several but not the first.

    It then prints nothing and writes no files.
    """
    return launched() and os.environ["RANK"] != "0"


def joined() -> bool:
    return _here.joined


def join() -> None:
    """Connect to the other processes, if any; raises UserError if they are on several machines."""
    if _here.joined or not launched():
        return
    import torch
    import torch.distributed as dist

    if os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]) != os.environ["WORLD_SIZE"]:
        raise UserError(
            "One run is shared by the processes of one machine; start torchrun with --standalone, "
            "and other runs on other machines"
        )
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", timeout=PATIENCE)
    _here.number, _here.size, _here.joined = dist.get_rank(), dist.get_world_size(), True


def leave() -> None:
    """Disconnect after the work is done."""
    if _here.joined:
        import torch.distributed as dist

        dist.destroy_process_group()
        _here.number, _here.size, _here.joined = 0, 1, False


def size() -> int:
    """Number of processes that share the current work."""
    return _here.size


def several() -> bool:
    return _here.size > 1


def first() -> bool:
    """Whether this process writes files and prints."""
    return _here.number == 0


def local() -> int:
    """Number of this process on its machine, which is also the number of its GPU."""
    return int(os.environ["LOCAL_RANK"]) if several() else 0


def share(count: int) -> slice:
    """Slice of `count` items for this process; contiguous, and sizes differ by at most one."""
    return slice(count * _here.number // _here.size, count * (_here.number + 1) // _here.size)


def apart() -> tuple[int, ...]:
    """Suffix for a seed, different for each process and empty for the first."""
    return () if first() else (_here.number,)


def wait() -> None:
    """Wait until all processes are here."""
    if several():
        import torch

        summed(torch.zeros(1))


def agreed(value: T) -> T:
    """Value of the first process."""
    if not several():
        return value
    import torch
    import torch.distributed as dist

    values = [value if first() else None]
    with _communicating():
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]  # type: ignore[return-value]


def gathered(work: Callable[[], T]) -> list[T]:
    """Results of `work` in all processes, in their order.

    Raises:
        ZslkitError: `work` failed in a process; every process raises the same error.
    """
    if not several():
        return [work()]
    import torch.distributed as dist

    made: T | None = None
    failed: ZslkitError | None = None
    try:
        made = work()
    except ZslkitError as error:
        failed = error
    results: list[tuple[T | None, ZslkitError | None]] = [(None, None)] * _here.size
    with _communicating():
        dist.all_gather_object(results, (made, failed))
    for _, fault in results:
        if fault is not None:
            raise fault
    return [value for value, _ in results]  # type: ignore[misc]


def summed(tensor: Tensor) -> Tensor:
    """Sum of the tensor over all processes; contiguous and changed in place."""
    return (_here.rehearsal or _exchanged)(tensor)


def _exchanged(tensor: Tensor) -> Tensor:
    if several():
        import torch.distributed as dist

        with _communicating():
            dist.all_reduce(tensor)
    return tensor


_ENDED = ("onnection closed", "onnection reset", "roken pipe", "remote process", "ncclRemoteError")


@contextmanager
def _communicating() -> Iterator[None]:
    """Around communication between processes. Raises LostProcess if one of them has ended."""
    try:
        yield
    except RuntimeError as error:
        # Recognised by its text, since gloo and NCCL have no class for it.
        if any(word in str(error) for word in _ENDED):
            raise LostProcess(
                "Another process of this run has ended, so this one does too; the same command "
                "goes on from the last checkpoint"
            ) from error
        raise


def spread(tensor: Tensor) -> None:
    """Copy the values of the first process into the tensor."""
    if several():
        import torch.distributed as dist

        values = tensor.detach().contiguous()
        with _communicating():
            dist.broadcast(values, src=0)
        tensor.detach().copy_(values)


@contextmanager
def in_turn() -> Iterator[None]:
    """Run the block in the first process first; the others then find the files it wrote.

    If it fails, only the first process reports the error.
    """
    if not first():
        wait()
    yield
    if first():
        wait()


@contextmanager
def alone() -> Iterator[None]:
    """Inside the block the process works as if it were the only one."""
    with _as(number=0, size=1):
        yield


@contextmanager
def _as(**facts: Any) -> Iterator[None]:
    """Inside the block, these facts of the place hold."""
    before = {name: getattr(_here, name) for name in facts}
    vars(_here).update(facts)
    try:
        yield
    finally:
        vars(_here).update(before)


@contextmanager
def sharing(batch: int) -> Iterator[None]:
    """Inside the block the processes share a batch of `batch` images."""
    with _as(batch=batch):
        yield


def batch() -> int | None:
    """Size of the whole batch if several processes share it, else None."""
    return _here.batch


@contextmanager
def rehearsing(
    number: int, size: int, batch: int, summed: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Inside the block, act as one of several processes that share a batch of `batch` images.

    `summed` adds the tensors of the other processes to a tensor.
    """
    with _as(number=number, size=size, batch=batch, rehearsal=summed):
        yield
