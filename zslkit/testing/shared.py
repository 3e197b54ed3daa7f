"""State that models of a process share, and state that a model keeps in plain attributes."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zslkit.model import Model


def shared_state(kind: type[Model]) -> dict[str, Any]:
    """Copy of the data in the model class and its bases outside zslkit, by name."""
    state: dict[str, Any] = {}
    for owner in kind.__mro__:
        if issubclass(owner, Model) and owner.__module__ != Model.__module__:
            state |= {f"{owner.__name__}.{name}": value for name, value in _data(owner).items()}
    return state


_PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, set, np.ndarray, Tensor)
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def plain_state(model: Model) -> dict[str, Any]:
    """Copy of numbers, texts and collections in plain attributes of the model's modules."""
    state = {}
    for place, module in model.named_modules():
        for name, value in vars(module).items():
            if name in _OF_EVERY_MODULE or not isinstance(value, _PLAIN):
                continue
            with suppress(Exception):  # ignore what cannot be copied
                kept = copy.deepcopy(value)
                if _same(kept, value):  # ignore types that compare by identity
                    state[f"{place}.{name}" if place else f"self.{name}"] = kept
    return state


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names whose values differ."""
    return [
        name for name, value in now.items() if name not in before or not _same(before[name], value)
    ]


@contextmanager
def generators_kept() -> Iterator[None]:
    """Restore the global random generators after the block."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def _data(owner: type) -> dict[str, Any]:
    values = {}
    for name, value in vars(owner).items():
        if (
            name.startswith("__")
            or callable(value)
            or isinstance(value, (property, classmethod, staticmethod))
        ):
            continue
        try:
            values[name] = copy.deepcopy(value)
        except Exception:  # what cannot be copied (a lock, a file) counts as equal to itself
            values[name] = value
    return values


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    try:
        return bool(np.all(one == other))
    except Exception:  # ignore values that cannot be compared
        return True
