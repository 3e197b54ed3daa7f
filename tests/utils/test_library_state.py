"""What a library does to torch for its own sake is no fault of the model that uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

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
