"""Detects and undoes changes that a plugin makes to state shared by all models of a process.

Shared state is settings of torch, NumPy and Python (`zslkit.utils.library_settings`), and their
functions. A changed setting would change the results of other models. `BASE` is recorded when
zslkit is imported, before any plugin; a change is reported with the name of the plugin and undone.
"""

from __future__ import annotations

import builtins
import copy
import gc
import hashlib
import json
import math
import os
import random
import struct
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from zslkit.errors import ModelFault
from zslkit.utils.library_settings import OF_THE_USER, SETTINGS, settings

_MODULES: tuple[ModuleType, ...] = (
    torch,
    torch.nn.functional,
    torch.nn.init,
    torch.linalg,
    torch.random,
    torch.cuda,
    torch.autograd,
)
_MODULES += (np, np.random, np.linalg, np.lib.format, random, math, builtins)
_MODULES += (gc, hashlib, json, os, os.path, struct, tempfile, zipfile, zlib)
_CLASSES: tuple[type, ...] = (
    torch.Tensor,
    nn.Module,
    nn.Linear,
    nn.Parameter,
    torch.Generator,
    torch.optim.Optimizer,
    np.memmap,
    zipfile.ZipFile,
    Path,
)


@dataclass(frozen=True)
class Held:
    """Content of one name of a module or class: a constant, or a function with its code."""

    holder: Any
    name: str
    value: Any
    code: tuple[Any, Any] | None

    @property
    def where(self) -> str:
        of = self.holder
        module = isinstance(of, ModuleType)
        return f"{of.__name__ if module else f'{of.__module__}.{of.__qualname__}'}.{self.name}"

    def moved(self) -> bool:
        now = vars(self.holder).get(self.name)
        if now is not self.value:
            # Either of the two may have been noted first.
            return not (_wrapped_by_torch(now, self.value) or _wrapped_by_torch(self.value, now))
        return self.code is not None and _code(self.value) != self.code

    def restore(self) -> None:
        setattr(self.holder, self.name, self.value)
        if self.code is not None:
            function = _plain(self.value)
            function.__code__, function.__defaults__ = self.code


def _wrapped_by_torch(now: Any, before: Any) -> bool:
    # torch wraps its own manual_seed when the first optimiser is made.
    ours = isinstance(now, FunctionType) and now.__code__.co_filename.startswith(_TORCH)
    return ours and getattr(now, "__wrapped__", None) is before


def _plain(value: Any) -> Any:
    """The function inside a method."""
    if isinstance(value, (staticmethod, classmethod)):
        return value.__func__
    return value.fget if isinstance(value, property) else value


def _code(value: Any) -> tuple[Any, Any] | None:
    function = _plain(value)
    return (
        (function.__code__, function.__defaults__) if isinstance(function, FunctionType) else None
    )


def _holds(holders: Iterable[Any], constants: bool) -> list[Held]:
    types = _CONSTANTS if constants else ()
    return [
        Held(holder, name, value, _code(value))
        for holder in holders
        for name, value in list(vars(holder).items())
        if callable(_plain(value)) or (isinstance(value, types) and not name.startswith("__"))
        if (holder, name) not in _OTHERWISE
    ]


_TORCH = os.path.dirname(torch.__file__) + os.sep
# The first depends on the default dtype, the second is `zslkit.utils.stops.no_way_out`'s, and
# transformers adds the third when it makes its first model.
_OTHERWISE = ((torch, "Storage"), (os, "_exit"), (torch.nn.Module, "smart_apply"))
_CONSTANTS = (bool, int, float, str, bytes, tuple, frozenset)


def _own() -> list[Any]:
    """Imported modules of zslkit and their classes."""
    holders: list[Any] = []
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "zslkit" and isinstance(module, ModuleType):
            classes = [
                v for v in vars(module).values() if isinstance(v, type) and v.__module__ == name
            ]
            holders += [module, *classes]
    return holders


class State:
    """Settings and functions at one moment.

    Those of zslkit are among them (`own`), so that a plugin cannot change the code that measures
    it.
    """

    def __init__(self, own: bool = True) -> None:
        self.settings = settings()
        mine = _own() if own else []
        self._held = [
            *_holds((*_MODULES, *_CLASSES), constants=False),
            *_holds(mine, constants=True),
        ]
        # New names here would hide a base class's or a built-in; other modules may gain names.
        self._names = [(holder, frozenset(vars(holder))) for holder in (*_CLASSES, *mine)]

    def with_settings(self) -> State:
        """Copy with the current settings."""
        other = copy.copy(self)
        other.settings = settings()
        return other

    def moved(self) -> list[str]:
        """Names of everything that has changed."""
        now = settings()
        unlike = [
            words for words, value in self.settings.items() if words in now and now[words] != value
        ]
        return [
            *unlike,
            *(held.where for held in self._held if held.moved()),
            *(new.where for new in self._added()),
        ]

    def _added(self) -> list[Held]:
        return [
            Held(holder, name, value, None)
            for holder, names in self._names
            for name, value in list(vars(holder).items())
            if name not in names and callable(_plain(value))
            if (holder, name) not in _OTHERWISE
        ]

    def restore(self) -> None:
        """Undo all changes."""
        self.put_settings()
        for held in self._held:
            if held.moved():
                held.restore()
        for new in self._added():
            delattr(new.holder, new.name)

    def put_settings(self, leave: Collection[str] = ()) -> None:
        """Restore the settings, except those in `leave`."""
        now = settings()
        for setting in SETTINGS:
            words = setting.words
            kept = words in leave or words not in self.settings
            if not kept and now.get(words) != self.settings[words]:
                setting.put(self.settings[words])


BASE = State(own=False)
"""State when this module was imported, before any model."""


_latest: list[tuple[int, State]] = []


def _now() -> State:
    """Current state; the last one if nothing has changed, since comparing is faster."""
    count = sum(name.startswith("zslkit") for name in list(sys.modules))
    if _latest and _latest[0][0] == count and not _latest[0][1].moved():
        return _latest[0][1]
    _latest[:] = [(count, State())]
    return _latest[0][1]


@contextmanager
def held(who: str) -> Iterator[None]:
    """Run code of the model `who` in the block, with the settings of BASE; restore all state after.

    Raises:
        ModelFault: The model left something changed.
    """
    before = _now()
    BASE.put_settings(leave=OF_THE_USER)
    start = before.with_settings()
    try:
        yield
    except Exception as error:
        if (moved := start.moved()) and not isinstance(error, ModelFault):
            raise ModelFault(who, complaint(moved)) from error
        raise
    else:
        if moved := start.moved():
            raise ModelFault(who, complaint(moved))
    finally:
        before.restore()


def complaint(moved: Sequence[str], what: str = "it") -> str:
    """Reason for ModelFault; `what` names what made the change."""
    more = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
    advice = "let it put back what it changes, as a context manager does"
    return f"{what} changes {moved[0]}{more}, which all models of the process share; {advice}"


def lasting_thread(before: Collection[threading.Thread], files: Collection[str]) -> str:
    """Name of a thread that the code in these files started and that still runs; "" if none does.

    Threads of libraries, such as those that show progress, run none of that code.

    Args:
        before: The threads that were there before.
        files: Files of the model's source.
    """
    frames = sys._current_frames()
    theirs = {*files, "<string>"}
    for thread in threading.enumerate():
        if thread in before or thread is threading.current_thread():
            continue
        frame = frames.get(thread.ident or 0)
        ran = {_file_of(getattr(thread, name, None)) for name in ("_target", "function")}
        while frame is not None:
            ran.add(frame.f_code.co_filename)
            frame = frame.f_back
        if ran & theirs:
            return thread.name
    return ""


def _file_of(function: Any) -> str:
    """File of a function, method or partial; "" if it has none."""
    while (
        inner := getattr(function, "func", None) or getattr(function, "__func__", None)
    ) is not None:
        function = inner
    return str(getattr(getattr(function, "__code__", None), "co_filename", ""))
