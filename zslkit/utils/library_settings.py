"""The settings of torch, NumPy and Python that all models of a process share: how each is read, and
how it is put back."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _python_dispatch
from torch.utils._device import DeviceContext


@dataclass(frozen=True)
class Setting:
    """One shared setting, by its name in messages."""

    words: str
    get: Callable[[], Any]
    put: Callable[[Any], object]


def _attribute(words: str, holder: Any, name: str) -> Setting:
    return Setting(words, lambda: getattr(holder, name), lambda value: setattr(holder, name, value))


def _of_autocast(device: str) -> list[Setting]:
    return [
        Setting(
            f"autocast of {device}",
            lambda: torch.is_autocast_enabled(device),
            lambda on: torch.set_autocast_enabled(device, on),
        ),
        Setting(
            f"the type of autocast of {device}",
            lambda: torch.get_autocast_dtype(device),
            lambda dtype: torch.set_autocast_dtype(device, dtype),
        ),
    ]


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _error_filters() -> tuple[Any, ...]:
    # Only these change results; many libraries add filters that hide warnings on first use.
    return tuple(entry for entry in warnings.filters if entry[0] == "error")


def _put_error_filters(kept: tuple[Any, ...]) -> None:
    others = [entry for entry in warnings.filters if entry[0] != "error" or entry in kept]
    warnings.filters[:] = others  # type: ignore[index]


def _hooks() -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(hooks) for hooks in _HOOKS)


def _put_hooks(kept: tuple[tuple[int, ...], ...]) -> None:
    for hooks, keys in zip(_HOOKS, kept, strict=True):
        for key in set(hooks) - set(keys):
            del hooks[key]


def _flushes() -> bool:
    """Whether denormal numbers count as zero; torch has no getter for it."""
    return float(torch.tensor(sys.float_info.min, dtype=torch.float64) / 2) == 0.0


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _put_handlers(kept: dict[int, Any]) -> None:
    now = _handlers()
    for number, handler in kept.items():
        if handler is not None and handler != now.get(number):
            with contextlib.suppress(ValueError):  # only the main thread may
                signal.signal(number, handler)


def _timers() -> tuple[bool, ...]:
    return tuple(signal.getitimer(which)[0] > 0 for which in _CLOCKS)


def _put_timers(kept: tuple[bool, ...]) -> None:
    for which, runs in zip(_CLOCKS, kept, strict=True):
        if not runs:
            signal.setitimer(which, 0)


def _function_modes() -> tuple[Any, ...]:
    # The default device is a mode too, and a setting of its own.
    return tuple(mode for mode in _overrides._get_current_function_mode_stack() if _lasts(mode))


def _put_function_modes(kept: tuple[Any, ...]) -> None:
    devices = [m for m in _overrides._get_current_function_mode_stack() if not _lasts(m)]
    _put_stack((*devices, *kept))


def _put_stack(modes: tuple[Any, ...]) -> None:
    while _overrides._len_torch_function_stack():
        _overrides._pop_mode()
    for mode in modes:
        _overrides._push_mode(mode)


def _lasts(mode: Any) -> bool:
    return not isinstance(mode, DeviceContext)


def _put_default_device(device: torch.device) -> None:
    torch.set_default_device(None)
    _put_stack(_function_modes())  # without a device that was entered and not left
    if device != torch.device("cpu"):
        torch.set_default_device(device)


def _dispatch_modes() -> tuple[Any, ...]:
    return tuple(_dispatch._get_current_dispatch_mode_stack())


def _put_dispatch_modes(kept: tuple[Any, ...]) -> None:
    while len(_dispatch._get_current_dispatch_mode_stack()) > len(kept):
        _dispatch._pop_mode()


def _saved_hooks() -> Any:
    # torch before 2.5 cannot be asked.
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top(True) if top else None


def _put_saved_hooks(kept: Any) -> None:
    while (top := _saved_hooks()) is not None and top != kept:
        torch._C._autograd._pop_saved_tensors_default_hooks()


_overrides: Any = torch.overrides
_dispatch: Any = _python_dispatch
_CLOCKS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_CUDA, _CUDNN = torch.backends.cuda, torch.backends.cudnn
_HOOKS: list[dict[int, Any]] = [
    value
    for name, value in vars(nn.modules.module).items()
    if name.startswith("_global") and name.endswith("hooks") and isinstance(value, dict)
]

SETTINGS: tuple[Setting, ...] = (
    Setting("torch's default type", torch.get_default_dtype, torch.set_default_dtype),
    Setting("torch's default device", torch.get_default_device, _put_default_device),
    Setting("torch's hooks of all modules", _hooks, _put_hooks),
    Setting("torch's modes of functions", _function_modes, _put_function_modes),
    Setting("torch's modes of dispatch", _dispatch_modes, _put_dispatch_modes),
    Setting("torch's hooks of saved tensors", _saved_hooks, _put_saved_hooks),
    Setting("whether torch records gradients", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "whether torch is deterministic",
        _deterministic,
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    Setting(
        "the precision of torch's products of matrices",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    Setting("whether torch takes denormal numbers for zero", _flushes, torch.set_flush_denormal),
    Setting(
        "torch's search for anomalies", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly
    ),
    *_of_autocast("cpu"),
    *_of_autocast("cuda"),
    _attribute("whether cuDNN is used", _CUDNN, "enabled"),
    _attribute("cuDNN's benchmark", _CUDNN, "benchmark"),
    _attribute("whether cuDNN is deterministic", _CUDNN, "deterministic"),
    _attribute("TF32 of cuDNN", _CUDNN, "allow_tf32"),
    _attribute("TF32 of CUDA's products of matrices", _CUDA.matmul, "allow_tf32"),
    _attribute(
        "reduced precision of float16 sums", _CUDA.matmul, "allow_fp16_reduced_precision_reduction"
    ),
    _attribute(
        "reduced precision of bfloat16 sums", _CUDA.matmul, "allow_bf16_reduced_precision_reduction"
    ),
    Setting("the fast attention of CUDA", _CUDA.flash_sdp_enabled, _CUDA.enable_flash_sdp),
    Setting(
        "the lean attention of CUDA",
        _CUDA.mem_efficient_sdp_enabled,
        _CUDA.enable_mem_efficient_sdp,
    ),
    Setting("the plain attention of CUDA", _CUDA.math_sdp_enabled, _CUDA.enable_math_sdp),
    Setting("NumPy's error handling", np.geterr, lambda value: np.seterr(**value)),
    Setting("warnings that are raised as errors", _error_filters, _put_error_filters),
    Setting(
        "the level that logging is silenced to",
        lambda: logging.root.manager.disable,
        logging.disable,
    ),
    Setting("the level of the root logger", lambda: logging.root.level, logging.root.setLevel),
    Setting("the working folder", os.getcwd, os.chdir),
    Setting(
        "Python's garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()
    ),
    Setting("Python's limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("what traces Python", sys.gettrace, sys.settrace),
    Setting("what profiles Python", sys.getprofile, sys.setprofile),
    _attribute("what is called for an error that nobody catches", sys, "excepthook"),
    Setting("what signals call", _handlers, _put_handlers),
    Setting("timers that send signals", _timers, _put_timers),
)

OF_THE_USER = frozenset(
    (
        "torch's modes of functions",
        "torch's modes of dispatch",
        "torch's hooks of saved tensors",
        "torch's number of threads",
        "whether torch is deterministic",
        "cuDNN's benchmark",
        "warnings that are raised as errors",
        "the level that logging is silenced to",
        "the level of the root logger",
        "the working folder",
        "Python's garbage collection",
        "Python's limit of recursion",
        "what traces Python",
        "what profiles Python",
        "what is called for an error that nobody catches",
        "what signals call",
        "timers that send signals",
    )
)
"""Settings of the user that a run keeps; the record contains those that change results."""


def settings() -> dict[str, Any]:
    """Value of every setting by its `words`, without settings that this version of torch lacks."""
    values = {}
    for setting in SETTINGS:
        try:
            values[setting.words] = setting.get()
        except (AttributeError, RuntimeError, OSError):
            continue
    return values
