"""`--deterministic`: deterministic algorithms only; and the number of threads for a while."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from zslkit.errors import UserError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED = (":4096:8", ":16:8")
"""Workspace settings with which cuBLAS is deterministic, says NVIDIA; the first costs 24 MB."""


class NotDeterministic(UserError):
    """The model uses an operation without a deterministic algorithm."""


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Allow only deterministic algorithms of torch inside the block, if `wanted`.

    Raises:
        NotDeterministic: An operation has no deterministic algorithm; the message names it.
        UserError: CUDA already runs with a workspace that cannot be changed.
    """
    if not wanted:
        yield
        return
    if os.environ.get(WORKSPACE) not in _FIXED:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            raise UserError(
                f"CUDA was started without {WORKSPACE}={_FIXED[0]}, so its sums may vary; set it "
                "before this program starts"
            )
        # CUDA reads it at its start; it is not restored, since it changes no value.
        os.environ[WORKSPACE] = _FIXED[0]
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=False)
    # The benchmark mode would choose an algorithm anew in each process.
    torch.backends.cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if (operation := _operation(error)) is None:
            raise
        raise NotDeterministic(
            f"{operation} has no deterministic form on this device; leave --deterministic out, or "
            "try another --device"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark


def _operation(error: RuntimeError) -> str | None:
    """Operation named in torch's error; None for any other error."""
    text = " ".join(str(error).split())
    if found := re.match(r"(.+?) does not have a deterministic implementation", text):
        return found[1]
    return "A product of matrices (cuBLAS)" if WORKSPACE in text else None


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with this number of threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
