"""Saves and loads a trained model: parameters and buffers in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zslkit.errors import DataError
from zslkit.model import Model
from zslkit.utils.files import check_permitted, need_plain, replacing

_RUN = "run"
"""Key of the file's metadata: the identity of the run that trained the weights."""


def save(model: Model, path: Path, run: str = "") -> None:
    """Write the model's parameters and buffers to `path`, marked with the identity of their run."""
    from safetensors.torch import save_file

    with replacing(path) as beside:
        save_file(
            {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()},
            beside,
            metadata={_RUN: run} if run else None,
        )


def read(path: Path, run: str = "") -> dict[str, Tensor]:
    """Read the weights of a run folder.

    Raises:
        DataError: The file is missing, damaged, or marked with another run than `run`.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    check_permitted(path)
    try:
        need_plain(path)
        state: dict[str, Tensor] = load_file(path)
        with safe_open(path, framework="pt") as file:
            made_by = (file.metadata() or {}).get(_RUN, run)
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing; move the folder {path.parent} away and run again"
        ) from error
    except Exception as error:  # safetensors raises many types for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} is cut off or damaged ({reason}); "
            f"move the folder {path.parent} away and run again"
        ) from error
    if run and made_by != run:
        raise DataError(
            f"{path} holds the weights of the run {made_by}, and its record is of {run}; put back "
            f"its own, or move the folder {path.parent} away and run again"
        )
    return state


def fill(model: Model, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights by name into the model; `path` is their file, for messages.

    Raises:
        DataError: Names, shapes or types differ from the model's.
    """
    ours: dict[str, Any] = model.state_dict()
    wrong = sorted(
        k
        for k in ours.keys() | weights.keys()
        if k not in ours or k not in weights or ours[k].shape != weights[k].shape
    )
    if wrong:
        raise DataError(
            f"{path} does not fit {type(model).__name__} as it is installed: "
            f"{len(wrong)} of {len(ours)} tensors are missing, too many or "
            f"of another shape ({wrong[0]}{', ...' if len(wrong) > 1 else ''}); "
            "install the version that made the run, or run again"
        )
    if odd := sorted(
        k for k, v in weights.items() if _real_or_complex(v) != _real_or_complex(ours[k])
    ):
        raise DataError(
            f"{path} does not fit {type(model).__name__}: "
            f"{odd[0]} holds {_dtype(weights[odd[0]])} where {_dtype(ours[odd[0]])} belongs; "
            f"move the folder {path.parent} away and run again"
        )
    model.load_state_dict(dict(weights))


def _real_or_complex(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
