"""Runs a model on an accelerator that need not be there: shapes, types and devices, no numbers.

A step that asks the device for a value, such as `bool(mask.all())` or `x[mask]`, waits until all
work on it is done, so the device idles while the next operations are prepared. torch's fake tensors
have no values, and so show where a model asks for one.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from zslkit.model import GradientModel, Model
from zslkit.testing.answers import scores_shape
from zslkit.testing.bench import Bench
from zslkit.testing.check import check

DEVICE = "cuda"
_TORCH = Path(torch.__file__).parent


@check(
    reason=(
        "A step that asks the device for a value waits for it, and a loss in several pieces gains "
        "little from train.compile."
    ),
    hint=(
        "only a remark: index with a buffer instead of a boolean mask, decide by settings and not "
        "by values of tensors, create tensors on the device of the inputs, and register others as "
        "buffers"
    ),
    after=[scores_shape],
)
def accelerator(bench: Bench) -> str | None:
    inputs = bench.inputs()
    model = bench.make(inputs=inputs)
    faults = waits(model, inputs.feature_shape)
    if not faults and isinstance(model, GradientModel):
        faults = breaks(model, inputs.feature_shape)
    return "; ".join(faults) or None


def waits(model: Model, shape: Sequence[int], batch: int = 4) -> list[str]:
    """Where a model on the CPU would wait for the device, or mix devices, in `loss` and `scores`.

    One sentence for each place; none if the model never waits. `shape` is that of one input.
    """
    parts = ("loss", "scores") if isinstance(model, GradientModel) else ("scores",)
    return [fault for part in parts for fault in _on_device(model, part, shape, batch)]


def breaks(model: GradientModel, shape: Sequence[int], batch: int = 4) -> list[str]:
    """Where `train.compile` would cut the loss into several graphs; none for one graph.

    Arguments as of `waits`; the model must not wait for the device.
    """
    import torch._dynamo

    making = {name: getattr(nn.Module, name) for name in ("__init__", "__setstate__")}
    with _quiet(), _on_fake_device(model) as moved:
        torch._dynamo.reset()
        try:
            found = torch._dynamo.explain(moved.train().loss)(*_batch(shape, batch))
            breaks = []
            for reason in found.break_reasons:
                ours = [f for f in reason.user_stack or () if not _foreign(f.filename)]
                place = _place((ours[-1].filename, ours[-1].lineno) if ours else None)
                breaks.append(f"`loss` breaks at {place}: {_first_line(str(reason.reason))}")
            return breaks
        except Exception as error:  # the compiler has errors of many kinds
            return [f"`loss` cannot be traced ({type(error).__name__}: {_first_line(str(error))})"]
        finally:
            torch._dynamo.reset()
            for name, method in making.items():  # the compiler changes them
                setattr(nn.Module, name, method)


def _on_device(model: Model, part: str, shape: Sequence[int], batch: int) -> list[str]:
    with _quiet(), _on_fake_device(model) as moved, torch.set_grad_enabled(part == "loss"):
        x, label = _batch(shape, batch)
        with _Copies() as copies:
            try:
                moved.train().loss(x, label) if part == "loss" else moved.eval().scores(x)
            except Exception as error:
                place = _place(_frame_of(error))
                return [*copies.named(part), f"`{part}` {_fault(error)} at {place}"]
    named: list[str] = copies.named(part)
    return named


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences torch's own warnings about what is reported here in a sentence."""
    with ExitStack() as afterwards:
        for name in ("torch._dynamo", "torch._subclasses"):
            logger = logging.getLogger(name)
            afterwards.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL + 1)
        yield


@contextmanager
def _on_fake_device(model: Model) -> Iterator[Any]:
    """A copy with fake parameters and buffers on the device; other tensors stay on the CPU."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    moved, new = copy.deepcopy(model), dict[int, Tensor]()
    with FakeTensorMode():
        for module in moved.modules():
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is not None:
                        table[name] = new.setdefault(id(tensor), _like(tensor))  # type: ignore[assignment]
        yield moved


def _batch(shape: Sequence[int], batch: int) -> tuple[Tensor, Tensor]:
    x = torch.empty(batch, *shape, device=DEVICE)
    return x, torch.empty(batch, dtype=torch.int64, device=DEVICE)


def _like(tensor: Tensor) -> Tensor:
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=DEVICE)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, tensor.requires_grad)
    return made


class _Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every copy between the device and the CPU, which waits for the device too."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._found: dict[str, None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and args[0].device.type != result.device.type:
            self._note(args[0].device, result.device)
        if func is torch.ops.aten.copy_.default and args[0].device.type != args[1].device.type:
            self._note(args[1].device, args[0].device)
        return result

    def _note(self, start: torch.device, end: torch.device) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and _foreign(frame.f_code.co_filename):
            frame = frame.f_back
        place = _place((frame.f_code.co_filename, frame.f_lineno) if frame else None)
        self._found[f"copies from {start.type} to {end.type} at {place}"] = None

    def named(self, part: str) -> list[str]:
        return [f"`{part}` {fault}" for fault in self._found]


def _foreign(file: str) -> bool:
    return Path(file) == Path(__file__) or Path(file).is_relative_to(_TORCH)


def _fault(error: Exception) -> str:
    from torch._subclasses import fake_tensor

    if isinstance(error, fake_tensor.DataDependentOutputException):
        return "asks the device for a value"
    if isinstance(error, fake_tensor.DynamicOutputShapeException):
        return "asks the device how many values there are"
    if "two devices" in str(error) or "two different devices" in str(error):
        return "mixes tensors of two devices"
    if "allow_non_fake_inputs" in str(error):
        return "uses a tensor that is neither a parameter nor a buffer, which stays on the CPU,"
    return f"fails ({type(error).__name__}: {_first_line(str(error))})"


def _frame_of(error: Exception) -> tuple[str, int] | None:
    """File and line of the innermost frame outside torch and this file."""
    found, trace = None, error.__traceback__
    while trace is not None:
        if not _foreign(file := trace.tb_frame.f_code.co_filename):
            found = file, trace.tb_lineno
        trace = trace.tb_next
    return found


def _place(place: tuple[str, int | None] | None) -> str:
    return "a place unknown" if place is None else f"{Path(place[0]).name}, line {place[1]}"


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0][:200] or "no message"
