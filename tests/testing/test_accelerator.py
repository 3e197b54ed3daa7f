"""Models on an accelerator that is not there: where a step waits for it, and where a compiled loss
breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zslkit.config import build
from zslkit.config.merge import Layer, merge, nested
from zslkit.functional import self_calibration
from zslkit.model import GradientConfig, GradientModel, Task
from zslkit.registry import MODELS
from zslkit.testing import check_model, tiny_task
from zslkit.testing.accelerator import breaks, waits


class Plain(GradientModel):
    """A bilinear model that never waits."""

    Config = GradientConfig
    inputs = ("pooled",)
    citation = "nobody"

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.W = nn.Parameter(torch.randn(task.feature_shape[0], task.n_attributes))
        self.loose = torch.ones(())

    def scores(self, x: Tensor) -> Tensor:
        return x @ self.W @ self.attributes.T

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": nn.functional.cross_entropy(self.changed(self.scores(x)), label)}

    def changed(self, z: Tensor) -> Tensor:
        return z


class Asks(Plain):
    def changed(self, z: Tensor) -> Tensor:
        return z / z.abs().max().item()


class Decides(Plain):
    def changed(self, z: Tensor) -> Tensor:
        return 2 * z if self.seen.any() else z


class Masks(Plain):
    def changed(self, z: Tensor) -> Tensor:
        return z + z[:, self.seen].mean()


class Copies(Plain):
    def changed(self, z: Tensor) -> Tensor:
        return z * z.new_tensor(2.0)


class Mixes(Plain):
    def changed(self, z: Tensor) -> Tensor:
        return z @ torch.eye(15)


class Forgets(Plain):
    def changed(self, z: Tensor) -> Tensor:
        return z * self.loose


class Cuts(Plain):
    def changed(self, z: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return z


def made(kind: type[Any], given: str, **settings: Any) -> Any:
    config = build(kind.Config, merge([Layer(nested(settings), "test")]), "test")
    return kind(config, tiny_task(given, config))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (Asks, "asks the device for a value"),
        (Decides, "asks the device for a value"),
        (Masks, "asks the device how many values there are"),
        (Copies, "copies from cpu to cuda"),
        (Mixes, "mixes tensors of two devices"),
        (Forgets, "neither a parameter nor a buffer"),
    ],
)
def test_a_wait_is_named_with_its_place(kind: type[Plain], fault: str) -> None:
    (said,) = waits(made(kind, "pooled"), (16,))
    line = kind.changed.__code__.co_firstlineno + 1
    assert fault in said and f"test_accelerator.py, line {line}" in said and "`loss`" in said


def test_a_cut_is_named_with_its_place_and_waits_for_nothing() -> None:
    model = made(Cuts, "pooled")
    assert waits(model, (16,)) == []
    (said,) = breaks(model, (16,))
    assert "test_accelerator.py, line" in said and "`loss` breaks" in said


def test_a_model_that_never_waits_has_no_fault_and_stays_as_it_was() -> None:
    model = made(Plain, "pooled")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert waits(model, (16,)) == [] and breaks(model, (16,)) == []
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.device.type == "cpu" for p in model.parameters())


def test_check_says_it_as_a_note_and_fails_nobody() -> None:
    (passed,) = check_model(Plain, only=["accelerator"])
    (noted,) = check_model(Masks, only=["accelerator"])
    assert (passed.status, passed.message) == ("passed", "")
    assert noted.status == "passed" and "how many values there are" in noted.message


SETTINGS: dict[str, list[dict[str, Any]]] = {
    "dedn": [{"lambda_cal": 0.1}, {"experts": "cexp", "branches": "region", "rank": 4}],
    "apn": [
        {},
        {
            "equations": "released",
            "pooling": "max",
            "w_local_class": 1.0,
            "w_global_decorrelation": 0.1,
            "use_groups": False,
        },
    ],
    "dazle": [{}, {"attribute_attention": False, "normalise_V": True}],
    "msdn": [{}],
    "transzero": [{}, {"entropy_over": "seen"}],
    "gemzsl": [{}],
    "devise": [{}],
    "sje": [{}],
    "ale": [{"normalise": "standard"}],
    "latem": [{"ranking": "rank"}],
}
CASES = [
    pytest.param(name, given, number, id=f"{name}-{given}-{number}")
    for name, settings in SETTINGS.items()
    for given in MODELS.load(name)[1].inputs
    for number in range(len(settings))
]


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"])
def autocast(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Autocast of the device; `torch.autocast` itself turns off where there is no such device."""
    before = torch.get_autocast_dtype("cuda")
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", request.param)
    yield request.param
    torch.set_autocast_enabled("cuda", False)
    torch.set_autocast_dtype("cuda", before)


@pytest.mark.parametrize(("name", "given", "number"), CASES)
def test_no_gradient_model_waits_for_the_device(
    name: str, given: str, number: int, autocast: bool
) -> None:
    model = made(MODELS.load(name)[1], given, **SETTINGS[name][number])
    assert torch.is_autocast_enabled("cuda") is autocast
    assert waits(model, model.task.feature_shape) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "given", "number"), CASES)
def test_the_loss_of_every_gradient_model_is_one_graph(name: str, given: str, number: int) -> None:
    model = made(MODELS.load(name)[1], given, **SETTINGS[name][number])
    assert breaks(model, model.task.feature_shape) == []


@pytest.mark.parametrize(
    ("name", "given"),
    [
        pytest.param(name, given, marks=[] if name == "dedn" else [pytest.mark.slow])
        for name in SETTINGS
        for given in MODELS.load(name)[1].inputs
    ],
)
def test_one_graph_of_a_loss_in_bfloat16_on_the_cpu(name: str, given: str) -> None:
    model = made(MODELS.load(name)[1], given, **SETTINGS[name][0])
    x, label = torch.randn(4, *model.task.feature_shape), model.seen.nonzero().flatten()[:4]
    torch._dynamo.reset()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.compile(model.loss, fullgraph=True, backend="eager")(x, label)
    torch._dynamo.reset()


@pytest.mark.parametrize("attention", ["map", "pooled"])
def test_one_graph_of_a_model_with_and_without_attention(attention: str) -> None:
    model = made(MODELS.load("dazle" if attention == "map" else "sje")[1], attention)
    assert breaks(model, model.task.feature_shape) == []


def test_every_gradient_model_here_is_among_the_cases() -> None:
    ours = {
        name
        for name in (entry.name for entry in MODELS.entries() if entry.built_in)
        if issubclass(MODELS.load(name)[1], GradientModel)
    }
    assert ours == set(SETTINGS)


def test_self_calibration_without_unseen_classes_is_zero_with_gradients_of_zero() -> None:
    z = torch.randn(3, 4, requires_grad=True)
    loss = self_calibration(z, torch.ones(4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0 and z.grad is not None and not z.grad.any()
