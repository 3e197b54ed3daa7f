"""`--deterministic`: only operations that give the same bits every time, where the device has faster ones that do not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from zslkit.errors import UserError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED = (":4096:8", ":16:8")
"""Settings with which cuBLAS adds in a fixed order, as NVIDIA says; the first costs 24 MB and no time."""


class NotDeterministic(UserError):
    """An operation of the model that has no form which gives the same bits every time."""


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Within it, torch takes deterministic operations only; afterwards it is as it was. Not wanted: nothing changes.

    Raises NotDeterministic, naming the operation, in the place of torch's own error, and UserError if CUDA runs already with a
    workspace that cannot be changed any more.
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
        os.environ[WORKSPACE] = _FIXED[0]  # read when CUDA starts, and left: it changes no value
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=False)
    torch.backends.cudnn.benchmark = (
        False  # else the fastest of several is picked anew in each process
    )
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
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


def _operation(error: RuntimeError) -> str | None:
    """The operation that torch's error names; None if it is about anything else."""
    text = " ".join(str(error).split())
    if found := re.match(r"(.+?) does not have a deterministic implementation", text):
        return found[1]
    return "A product of matrices (cuBLAS)" if WORKSPACE in text else None
