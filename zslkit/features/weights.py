"""Weights of a backbone as data: files, their checks, and the offline extras' packages."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zslkit.errors import MissingWeights, UserError, listed
from zslkit.utils.files import check_permitted, need_plain


def load_package(network: nn.Module, package: str) -> None:
    """Load the weights that an installed package carries, in the order of its tensors.

    Raises:
        MissingWeights: The package carries no weights, or others than the network's.
    """
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    files = sorted(folder.rglob("*.pth"))
    if not files:
        raise MissingWeights(
            f"The package {package} is installed but carries no .pth file; reinstall it"
        )
    theirs = read_state(files[0])
    ours = network.state_dict()
    # The package uses other names for the same modules in the same order.
    pairs = list(zip(ours.items(), theirs.items(), strict=False))
    ends = ((k.split(".")[-1], t.split(".")[-1]) for k, t in zip(ours, theirs, strict=False))
    shapes = ((a.shape, b.shape) for (_, a), (_, b) in pairs)
    if len(ours) != len(theirs) or any(a != b for a, b in (*ends, *shapes)):
        raise MissingWeights(
            f"The weights in {package} do not fit timm's network; install another version of timm "
            f"or of {package}"
        )
    network.load_state_dict({ours_name: value for (ours_name, _), (_, value) in pairs})


def load_file_into(network: nn.Module, path: Path) -> None:
    """Load the weights in a file; the classifier may be missing or have another shape."""
    if not path.exists():
        raise UserError(
            f"There is no weights file {path}; --backbone-weights takes auto, hub, offline, "
            "trainval, random or a file"
        )
    state = read_state(path)
    ours = network.state_dict()
    head = getattr(network, "default_cfg", {}).get("classifier", "fc")
    heads = tuple(f"{h}." for h in ([head] if isinstance(head, str) else head))
    body = {k for k in ours if not k.startswith(heads)}
    state = _at_our_size(network, state, body)
    wrong = sorted(k for k in body if k not in state or state[k].shape != ours[k].shape)
    if wrong:
        raise UserError(
            f"{path} does not fit this backbone: {len(wrong)} of {len(body)} tensors are missing "
            f"or of another shape ({wrong[0]}, ...); its own are called "
            f"{listed(list(state), 2) or 'nothing'}"
        )
    # The weights of a deeper network may contain all tensors of this one, but give other features.
    if unexpected := sorted(k for k in state if k not in ours and not k.startswith(heads)):
        raise UserError(
            f"{path} does not fit this backbone: {len(unexpected)} of its tensors are not in it "
            f"({listed(unexpected, 3)}); are they of a deeper network? If not, save the file "
            "without them"
        )
    refuse_odd(path, {k: v for k, v in state.items() if k in body}, ours)
    fitting = {k: v for k, v in state.items() if k in ours and v.shape == ours[k].shape}
    network.load_state_dict(ours | fitting)


def _at_our_size(
    network: nn.Module, state: dict[str, Tensor], body: Collection[str]
) -> dict[str, Tensor]:
    """Weights with their tables of positions resized to the image size of the network.

    timm resizes them for its own weights; nothing but these tables may change.
    """
    ours = network.state_dict()
    odd = {k for k in body if k in state and state[k].shape != ours[k].shape}
    resize = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if not odd or resize is None or not all("pos" in k for k in odd):
        return state
    try:
        resized = resize(dict(state), network)
        kept = all(resized[k] is state[k] for k in body if k in state and k not in odd)
    except Exception:  # of timm, for weights that it does not know
        return state
    return state | {k: resized[k] for k in odd} if kept else state


def refuse_odd(path: Path, given: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> None:
    """Check that weights (name -> tensor) have the number types of the network and are finite.

    Raises:
        UserError: A tensor is integer or complex where a float is needed (or the reverse), is not a
            plain tensor, or is not finite; or all are zero.
    """
    for name, value in given.items():
        if value.is_meta or value.is_quantized or value.layout != torch.strided:
            raise UserError(
                f"{path}: {name} holds no plain numbers; save plain tensors of the network before "
                "it was packed"
            )
        real = ours[name].is_floating_point()
        if value.is_floating_point() != real or value.is_complex():
            kinds = [str(tensor.dtype).removeprefix("torch.") for tensor in (value, ours[name])]
            raise UserError(
                f"{path}: {name} holds {kinds[0]} and the network {kinds[1]}; save the file with "
                "the network's own types"
            )
        if real and not bool(torch.isfinite(value.float()).all()):
            raise UserError(f"{path}: {name} holds a number that is not finite; give other weights")
    if not any(bool(value.any()) for value in given.values() if value.ndim > 1):
        raise UserError(f"{path} holds nothing but zeros; give other weights")


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file, or a state dict saved by torch, as data; nothing in it is run.

    Raises:
        UserError: Names the file that is damaged or holds anything else.
    """
    check_permitted(path)
    try:
        need_plain(path)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as weights ({first_line(error)}); give a .safetensors or a "
            "state dict saved by torch"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            held, state = state, state[key]
            for other, value in held.items():
                if other != key and isinstance(value, dict) and _tensors(value).keys() & state:
                    raise UserError(
                        f"{path} holds two sets of weights, {key} and {other}; save the one that "
                        "you mean in a file of its own"
                    )
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no state dict (name -> tensor)")
    return _tensors(state)


def _tensors(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Tensors of a state dict, without the prefix of parallel training."""
    found = {k: v for k, v in state.items() if isinstance(k, str) and isinstance(v, Tensor)}
    plain = {k.removeprefix("module."): v for k, v in found.items()}
    return plain if len(plain) == len(found) else found


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Fingerprint of names and values, 16 hex digits."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def first_line(error: BaseException) -> str:
    text = (str(error) or type(error).__name__).strip().splitlines()[0]
    return text if len(text) <= 160 else text[:157] + "..."
