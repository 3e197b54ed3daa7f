"""What a library does to torch for its own sake is no fault of the model that uses it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from zslkit.errors import ModelFault
from zslkit.utils.library_state import BASE, held


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = vars(torch.nn.Module).get("smart_apply")
    yield
    for name in ("smart_apply", "wise_apply"):
        if name in vars(torch.nn.Module) and (name != "smart_apply" or before is None):
            delattr(torch.nn.Module, name)


@pytest.mark.slow
def test_a_model_may_hold_one_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    if "smart_apply" in vars(torch.nn.Module):
        delattr(torch.nn.Module, "smart_apply")
    shape = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    with held("mine"):
        transformers.BertModel(transformers.BertConfig(vocab_size=16, intermediate_size=8, **shape))
    assert "smart_apply" in vars(torch.nn.Module), "transformers marks torch no more: drop the rule"
    assert BASE.moved() == []


def test_any_other_new_name_of_a_class_of_torch_is_a_fault() -> None:
    with pytest.raises(ModelFault, match="wise_apply"), held("mine"):
        setattr(torch.nn.Module, "wise_apply", torch.nn.Module.apply)  # noqa: B010
    assert "wise_apply" not in vars(torch.nn.Module)


class _Doubled(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        return found * 2 if func is torch.sum else found


class _DoubledBelow(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        return found + found if func is torch.ops.aten.sum.default else found


LEFT: dict[str, Callable[[], object]] = {
    "modes of functions": lambda: _Doubled().__enter__(),
    "modes of dispatch": lambda: _DoubledBelow().__enter__(),
    "hooks of saved tensors": lambda: torch.autograd.graph.saved_tensors_hooks(
        torch.zeros_like, lambda x: x
    ).__enter__(),
    "an error that nobody catches": lambda: setattr(sys, "excepthook", print),
    "default device": lambda: torch.device("meta").__enter__(),
    "default type": lambda: torch.set_default_dtype(torch.float64),
}


@pytest.mark.parametrize("what", LEFT)
def test_a_door_that_a_model_leaves_open_is_a_fault_and_shut(what: str) -> None:
    caught = sys.excepthook
    with pytest.raises(ModelFault, match=what), held("mine"):
        LEFT[what]()
    ones = torch.ones(3, requires_grad=True)
    (total := torch.sum(ones**2)).backward()
    assert (total.item(), total.dtype) == (3.0, torch.float32) and sys.excepthook is caught
    assert ones.grad is not None and ones.grad.tolist() == [2.0, 2.0, 2.0]
    assert BASE.moved() == []


def test_modes_of_the_user_and_those_that_a_model_leaves_again_are_no_fault() -> None:
    inner = torch.device("meta"), _Doubled(), _DoubledBelow(), torch.autograd.graph.save_on_cpu()
    with _Doubled(), held("mine"):
        with ExitStack() as stack:
            for mode in inner:
                stack.enter_context(mode)
        assert torch.sum(torch.ones(3)).item() == 6.0
    assert BASE.moved() == []
