"""What models of a process share: generators and attributes of their classes; and what a model keeps in attributes."""

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
    """By name: a copy of the data in the class and the bases that are not the harness's own."""
    state: dict[str, Any] = {}
    for owner in kind.__mro__:
        if issubclass(owner, Model) and owner.__module__ != Model.__module__:
            state |= {f"{owner.__name__}.{name}": value for name, value in _data(owner).items()}
    return state


_PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, set, np.ndarray, Tensor)
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def plain_state(model: Model) -> dict[str, Any]:
    """By name: a copy of the numbers, texts and collections that the model and its parts hold beside parameters and buffers."""
    state = {}
    for place, module in model.named_modules():
        for name, value in vars(module).items():
            if name in _OF_EVERY_MODULE or not isinstance(value, _PLAIN):
                continue
            with suppress(Exception):  # what cannot be copied is held against nobody
                kept = copy.deepcopy(value)
                if _same(kept, value):  # not so where equal means the same object
                    state[f"{place}.{name}" if place else f"self.{name}"] = kept
    return state


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The names whose values are not what they were."""
    return [
        name for name, value in now.items() if name not in before or not _same(before[name], value)
    ]


@contextmanager
def generators_kept() -> Iterator[None]:
    """Random numbers go on afterwards as if nothing had been drawn in between."""
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
        except Exception:  # what cannot be copied (a lock, a file) is compared with itself
            values[name] = value
    return values


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    try:
        return bool(np.all(one == other))
    except Exception:  # values that cannot be compared are held against nobody
        return True
