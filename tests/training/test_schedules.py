"""Settings and learning rates that change over the steps, and weights averaged over the last
epochs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pulled import Pull, PullConfig, Rows, Stops, loop, pull
from torch import Tensor, nn

from zslkit.config import Schedule, TrainConfig, build
from zslkit.config.merge import Layer, merge, parse_set
from zslkit.config.train import idle_schedule
from zslkit.errors import UserError
from zslkit.model import GradientConfig, Task
from zslkit.runs import api


@pytest.mark.parametrize(
    ("course", "values"),
    [
        ({"from": 0, "to": 0.8}, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ({"from": 0, "to": 0.8, "over": 0.5}, [0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8]),
        ({"from": 0, "over": 0.5}, [0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.5]),
        ({"to": 0.1, "over": 0.25}, [0.5, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
        ({"from": 0, "to": 2, "over": 0.5, "shape": "cosine"},
         [0, 1 - 0.5**0.5, 1, 1 + 0.5**0.5, 2, 2, 2, 2]),
        ({"from": 1, "to": 3, "over": 0.75, "shape": "step"}, [1, 1, 1, 1, 1, 1, 3, 3]),
    ],
)  # fmt: skip
def test_the_loss_reads_the_scheduled_value_of_each_step(
    course: dict[str, Any], values: list[float]
) -> None:
    model = pull(schedules={"w": course})
    loop().train(model, Rows())
    assert [w for w, _ in model.weights] == pytest.approx(values)
    assert float(model.p.detach()) == pytest.approx(sum(values)), (
        "the gradient has the weight of its step"
    )
    assert model.config.w == 0.5, "the settings are as asked for"


@pytest.mark.parametrize(
    "written", [{"inner.weight": {"from": 0}}, {"inner": {"weight": {"from": 0}}}]
)
def test_a_setting_of_a_section_has_a_dotted_key(written: dict[str, Any]) -> None:
    model = pull(schedules=written)
    loop().train(model, Rows())
    assert [w for _, w in model.weights] == pytest.approx([0.25 * k for k in range(8)])
    assert model.config.inner.weight == 2
    assert model.config.model_dump()["train"]["schedules"] == {
        "inner.weight": {"from": 0.0, "over": 1.0, "shape": "linear"}
    }


def test_the_loss_has_to_read_the_setting() -> None:
    with pytest.raises(UserError, match=r"schedules\.spare would change nothing.* Pull did not"):
        loop().train(pull(schedules={"w": {"to": 1}, "spare": {"from": 0}}), Rows())


def test_a_step_that_fails_leaves_the_settings_as_they_were() -> None:
    class Fails(Pull):
        def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
            if super().loss(x, label) and len(self.weights) == 3:
                raise KeyboardInterrupt
            return super().loss(x, label)

    model = pull(Fails, schedules={"w": {"from": 0}})
    with pytest.raises(KeyboardInterrupt):
        loop().train(model, Rows())
    assert (model.config.w, model.weights[-1][0]) == (0.5, 0.0625)
    assert "w" not in vars(PullConfig), "nothing of the watch is left on the class"


@pytest.mark.parametrize(
    ("items", "match"),
    [
        (["train.schedules.ww.to=1"], r'schedules\.ww = .*--set.*did you mean "w"'),
        (["train.schedules.inner.wieght.to=1"], 'did you mean "inner.weight"'),
        (["train.schedules.count.to=1"], "no such number to change"),
        (["train.schedules.train.lr.to=1"], "no such number to change"),
        (["train.schedules.w.to=-1"], "to is -1, and w takes number, >= 0"),
        (["train.schedules.w.form=0"], 'did you mean "train.schedules.w.from"'),
        (["train.schedules.w.over=0"], "over"),
        (["train.schedules.w.shape=cos"], "cosine"),
        (["train.schedules=3"], "schedules"),
    ],
)
def test_a_schedule_that_fits_nothing_is_refused_in_a_sentence(
    items: list[str], match: str
) -> None:
    with pytest.raises(UserError, match=match) as caught:
        build(PullConfig, merge([parse_set(items)]), "pull")
    assert caught.value.exit_code == 2


def test_a_setting_that_is_none_needs_both_ends() -> None:
    with pytest.raises(UserError, match=r"schedules\.maybe is refused.*both from and to"):
        loop().train(pull(schedules={"maybe": {"from": 1}}), Rows())


def test_null_takes_a_schedule_of_a_preset_away() -> None:
    preset = Layer({"train": {"schedules": {"w": {"from": 0}, "spare": {"from": 0}}}}, "preset")
    for item, left in (("train.schedules.w=null", {"spare"}), ("train.schedules=null", set())):
        config = build(PullConfig, merge([preset, parse_set([item])]), "pull")
        assert set(config.train.schedules) == left


def test_numbers_are_read_as_everywhere() -> None:
    config = build(PullConfig, merge([parse_set(["train.schedules.w.from=1e-3"])]), "pull")
    assert config.train.schedules["w"].start == 1e-3
    with pytest.raises(UserError, match="1_0"):
        build(PullConfig, merge([parse_set(["train.schedules.w.from=1_0"])]), "pull")


def test_defaults_are_not_written() -> None:
    later = {"lr_schedule", "lr_end", "warmup", "schedules", "average_last", "schedule_epochs"}
    assert not later & TrainConfig().model_dump().keys()


def test_the_usual_value_is_written_where_the_model_has_another_default() -> None:
    class Cosine(GradientConfig):
        train: TrainConfig = TrainConfig(lr_schedule="cosine", accumulate=2)

    config = build(Cosine, merge([parse_set(["train.lr_schedule=step"])]), "cosine")
    written = config.model_dump(mode="json")
    assert written["train"]["lr_schedule"] == "step"
    assert build(Cosine, merge([Layer(written, "record")]), "cosine") == config
    assert "schedules" not in written["train"]


@pytest.mark.parametrize(
    ("train", "moves"),
    [
        ({"lr_schedule": "cosine"}, [(1 + np.cos(np.pi * k / 8)) / 2 for k in range(8)]),
        ({"lr_schedule": "cosine", "lr_end": 0.5},
         [0.5 + (1 + np.cos(np.pi * k / 8)) / 4 for k in range(8)]),
        ({"warmup": 0.5}, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        ({"warmup": 0.25, "lr_schedule": "cosine"},
         [0.5, 1, *((1 + np.cos(np.pi * k / 6)) / 2 for k in range(6))]),
        ({"lr_factor": 0.5, "lr_every": 2}, [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]),
        ({"lr_factor": 0.5, "lr_every": 2, "lr_schedule": "constant"}, [1] * 8),
        ({"lr_schedule": "cosine", "schedule_epochs": 8},
         [(1 + np.cos(np.pi * k / 16)) / 2 for k in range(8)]),
    ],
)  # fmt: skip
def test_the_learning_rate_of_each_step(train: dict[str, Any], moves: list[float]) -> None:
    model = pull(**train)
    model.config.__dict__["w"] = 1.0
    loop().train(model, Rows())
    assert np.diff([*model.places, float(model.p.detach())]) == pytest.approx(moves)


def test_a_model_with_rates_of_its_own_has_them_times_the_factor() -> None:
    class Groups(Pull):
        def __init__(self, config: Any, task: Task) -> None:
            super().__init__(config, task)
            self.q = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
            return {"p": [self.p], "q": [self.q]}

        def learning_rate(self, epoch: int, group: str) -> float:
            return super().learning_rate(epoch, group) * {"p": 10.0, "q": float(epoch >= 2)}[group]

        def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
            assert self.q.requires_grad == (len(self.weights) >= 4)
            return {"pull": super().loss(x, label)["pull"] - 0.5 * self.q}

    model = pull(Groups, warmup=0.5)
    loop().train(model, Rows())
    assert float(model.p) == pytest.approx(10 * 0.5 * (0.25 + 0.5 + 0.75 + 5))
    assert float(model.q) == pytest.approx(0.5 * 4)


def test_the_weights_of_the_last_epochs_are_averaged() -> None:
    watch = Stops()
    model = pull(average_last=0.5)  # p is 1, 2, 3, 4 after the epochs
    loop(observer=watch).train(model, Rows())
    assert watch.places == [1, 2, 3, 3.5], "what is observed is the mean, once it begins"
    assert float(model.p) == 3.5
    assert model.places == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5], "training goes on from its own weights"


@pytest.mark.parametrize(("last", "mean"), [(0.0, 4.0), (0.01, 4.0), (0.75, 3.0), (1.0, 2.5)])
def test_the_share_of_epochs_that_count(last: float, mean: float) -> None:
    model = pull(average_last=last)
    loop().train(model, Rows())
    assert float(model.p) == mean


def test_an_early_end_has_the_mean_so_far_or_its_own_weights() -> None:
    for end, place in ((2, 2.0), (3, 3.0)):
        model = pull(average_last=0.5)
        loop(observer=Stops(end=end)).train(model, Rows())
        assert float(model.p) == place
    model = pull(average_last=0.5, epochs=3, schedule_epochs=4)
    loop().train(model, Rows())
    assert float(model.p) == 3.0


class Normed(Pull):
    """With batch normalisation, a buffer that counts calls, and dropout."""

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__(config, task)
        self.norm, self.frozen = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.frozen.eval()
        return self

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        y = self.norm(self.frozen(self.drop(x)) * self.p.float() + label[:, None])
        return {**super().loss(x, label), "norm": 0 * y.sum()}


def test_batch_normalisation_has_the_statistics_of_the_mean_weights() -> None:
    class Plain(Normed):
        def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
            self.calls += 1
            self.norm(x * self.p.float())
            return {"pull": -self.config.w * self.p}

    model = pull(Plain, average_last=0.5)
    loop().train(model, Rows())
    assert torch.equal(model.norm.running_mean, torch.full((4,), 3.5)), "all inputs are 1"
    assert torch.equal(model.frozen.running_mean, torch.zeros(4)), "frozen statistics stay"
    assert (model.norm.momentum, float(model.calls)) == (0.1, 8)


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_an_interrupted_training_goes_on_to_the_same_bits(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["zslkit.training.loop"], "CHECKPOINT_SHARE", float("inf"))
    train = {
        "optimizer": "adam",
        "lr": 0.01,
        "lr_schedule": "cosine",
        "warmup": 0.3,
        "average_last": 0.75,
        "schedules": {"w": {"from": 0, "to": 0.9, "shape": "cosine"}},
    }
    whole, observed = pull(Normed, **train), Stops()
    loop(observer=observed).train(whole, Rows())
    path, seen = tmp_path / "checkpoint.pt", []
    for at in (stop, 0):
        again, watch = pull(Normed, **train), Stops(at=at)
        try:
            loop(path, watch).train(again, Rows())
        except KeyboardInterrupt:
            watch.places.pop()
        seen += watch.places
    assert seen == observed.places
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    finished = pull(Normed, **train)
    loop(path, Stops()).train(finished, Rows())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, finished.state_dict()[name]), name


def test_a_schedule_changes_no_step_of_a_compiled_loss() -> None:
    built = []

    def graphs(graph: Any, inputs: Any) -> Any:
        built.append(graph)
        return graph.forward

    class Compiled(Pull):
        def __init__(self, config: Any, task: Task) -> None:
            super().__init__(config, task)
            self.term = torch.compile(self.weighed, backend=graphs, fullgraph=True)

        def weighed(self) -> Tensor:
            return -self.config.w * self.p

        def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
            return {"pull": self.term()}

    model = pull(Compiled, epochs=20, schedules={"w": {"from": 0, "to": 0.8}})
    loop().train(model, Rows())
    assert float(model.p) == pytest.approx(sum(0.8 * k / 40 for k in range(40)))
    assert len(built) <= 4, "not one graph for each value"


def test_values_at_the_ends_are_exact() -> None:
    course = Schedule.model_validate({"from": 0.3, "to": 0.1, "shape": "cosine"})
    assert (course.value(0, None), course.value(1, None)) == (0.3, 0.1)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("{lambda_cal: {to: .inf}}", "lambda_cal.to = inf .* finite number"),
        ("{lambda_cal: {from: .nan}}", "lambda_cal.from = nan .* finite number"),
        ("{lambda_cal: {to: 1, over: 0}}", "over = 0 .* greater than 0"),
        ("{lambda_cal: {to: 1, over: 1.5}}", "over = 1.5 .* less than or equal to 1"),
        ("{lambda_cal: {to: 1, over: .nan}}", "over = nan .* is refused"),
        ("{lambda_cal: {}}", "lambda_cal is refused: .* nothing would change"),
        ("{lambda_cal: {over: 0.5}}", "lambda_cal is refused: .* nothing would change"),
        ("{lambda_cal: {from: 0.25, to: 0.25}}", "lambda_cal is refused: .* nothing would change"),
    ],
)
def test_a_schedule_that_cannot_be_or_changes_nothing_is_told_before_the_run_has_a_folder(
    given: str, reason: str, tmp_path: Path
) -> None:
    settings = ["train.epochs=1", "lambda_cal=0.25", f"train.schedules={given}"]
    with pytest.raises(UserError, match=reason):
        api.run("dazle", "digits", settings=settings, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_schedule_of_a_setting_that_is_none_needs_both_ends_before_anything_trains() -> None:
    config = build(PullConfig, merge([]), "pull")
    assert "give both from and to" in idle_schedule(config, "maybe", Schedule(to=1.0))
    assert not idle_schedule(config, "maybe", Schedule.model_validate({"from": 0.0, "to": 1.0}))
    assert not idle_schedule(config, "inner.weight", Schedule(to=3.0))
    assert "nothing would change" in idle_schedule(config, "inner.weight", Schedule(to=2.0))
