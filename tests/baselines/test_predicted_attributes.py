"""The attribute scores that models tell are those that their class scores are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from zslkit.config import build
from zslkit.config.merge import Layer, merge, nested
from zslkit.registry import MODELS
from zslkit.testing.tiny import tiny_dataset, tiny_inputs
from zslkit.training.fit import make_model
from zslkit.training.scoring import attribute_table

DATA = tiny_dataset()


def untrained(name: str, **settings: Any) -> Any:
    kind = MODELS.load(name)[1]
    inputs = tiny_inputs(DATA, next(i for i in kind.inputs if i != "image"))
    config = build(kind.Config, merge([Layer(nested(settings), "test")]), name)
    model = make_model(kind, config, DATA, inputs, 0, torch.device("cpu")).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (*model.parameters(), *(b for n, b in model.named_buffers() if n == "W")):
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model, inputs.source.batch(DATA.split.test_unseen)


@pytest.mark.parametrize("name", ["eszsl", "dazle", "msdn", "transzero", "dedn"])
def test_class_scores_are_linear_in_them(name: str) -> None:
    model, x = untrained(name)
    with torch.inference_mode():
        told, scores = model.predicted_attributes(x), model.scores(x)
    assert told.shape == (len(x), 12)
    assert torch.allclose(
        told @ model.attributes.T + getattr(model, "b", 0.0),
        scores,
        atol=1e-4 * float(scores.abs().max()),
    )


@pytest.mark.parametrize("experts", ["cexp", "fexp"])
def test_one_expert_alone_tells_its_own(experts: str) -> None:
    model, x = untrained("dedn", experts=experts)
    with torch.inference_mode():
        assert torch.allclose(
            model.predicted_attributes(x) @ model.attributes.T + model.b, model.scores(x), atol=1e-4
        )


def test_apn_tells_what_its_softmax_is_taken_of() -> None:
    model, x = untrained("apn", output="scores")
    with torch.inference_mode():
        assert torch.allclose(
            model.predicted_attributes(x) @ model.attributes.T, model.scores(x), atol=1e-4
        )


def test_sae_tells_the_code_that_it_compares() -> None:
    model, x = untrained("sae", direction="to_semantics")
    with torch.inference_mode():
        cosine = torch.cosine_similarity(
            model.predicted_attributes(x)[:, None], model.attributes[None], dim=2
        )
        assert torch.allclose(cosine, model.scores(x), atol=1e-4)


def test_dap_tells_a_logit_an_attribute_and_nothing_of_those_it_left_out() -> None:
    from dataclasses import replace

    from zslkit_baselines.dap import DAP, DAPConfig

    from zslkit.training.fit import make_task

    task = make_task(DATA, tiny_inputs(DATA, "pooled"), DAPConfig())
    attributes = task.attributes.copy()
    attributes[:, 4] = 1.0  # all classes have it
    model = DAP(DAPConfig(), replace(task, attributes=attributes))
    x = torch.randn(5, task.feature_shape[0])
    model.b.copy_(torch.arange(len(model.b)).float())
    told = model.predicted_attributes(x)
    assert told.isnan().all(dim=0).nonzero().flatten().tolist() == [4]
    assert told[0, [0, 3, 5, 11]].tolist() == [0.0, 3.0, 4.0, 10.0]


@pytest.mark.parametrize(
    ("name", "kept"), [("eszsl", True), ("ale", True), ("latem", False), ("conse", False)]
)
def test_a_run_keeps_them_of_every_model_that_tells_some_in_its_own_words_or_as_its_evidence(
    name: str, kept: bool
) -> None:
    model = untrained(name)[0]
    inputs = tiny_inputs(DATA, "pooled")
    told = attribute_table(model, inputs.source, DATA.split.test_seen, torch.device("cpu"))
    assert (told is not None) == kept
    if told is not None:
        with torch.inference_mode():
            assert np.allclose(
                told, model.evidence(inputs.source.batch(DATA.split.test_seen)).numpy(), atol=1e-5
            )
