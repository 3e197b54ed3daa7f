"""What a run computes on: the device of --device, and a GPU for each of the processes that share a run."""

from __future__ import annotations

import torch

from zslkit import ranks
from zslkit.errors import UserError


def choose_device(name: str) -> torch.device:
    """The device of --device; auto: cuda, then mps, then cpu. Raises UserError if it is not here.

    Of processes that share a run each gets a GPU of its own.
    """
    if ranks.several():
        name = _device_of_one(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"There is no device {name!r} here; --device takes auto, cpu, cuda, cuda:1 or mps") from error
    return device


def _device_of_one(name: str) -> str:
    there = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not there):
        return "cpu"
    if name not in ("auto", "cuda"):
        raise UserError(f"{ranks.size()} processes cannot share {name!r}; --device takes auto, cpu or cuda then, and gives each a GPU")
    if ranks.size() > there:
        raise UserError(f"There are {there} GPUs here and {ranks.size()} processes; start one for each GPU, or give --device cpu")
    torch.cuda.set_device(ranks.local())
    return f"cuda:{ranks.local()}"
