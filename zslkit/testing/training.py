"""Checks of training: it repeats, resumes, survives the disk, and learns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from zslkit.config import TrainConfig
from zslkit.errors import ZslkitError, listed
from zslkit.evaluation.metrics import per_class_accuracy
from zslkit.model import GradientModel, Model, ModelConfig
from zslkit.testing.answers import scores_shape
from zslkit.testing.bench import LONG, Bench, BenchModel, difference
from zslkit.testing.check import Failed, Skipped, check
from zslkit.training import weights

MARGIN = 3.0
"""Times chance that accuracy must reach on the tiny task, on seen and on unseen classes."""
RATES = (0.003, None, 0.03, 0.0005)
"""Learning rates at which a gradient model may show that it learns; None: its own."""
PATIENCE = 5
"""Times more epochs that a model which trains itself is given if it has not learnt in the usual ones."""


@check(
    reason="A result that the same seed does not give again can be neither checked nor resumed.",
    hint="draw what is random from torch's generator in __init__ and from one of trainer.seed in fit, never from the clock",
    after=[scores_shape],
)
def same_seed_same_model(bench: Bench) -> None:
    again = bench.fit(bench.make())
    if unlike := difference(bench.trained().state, again.state):
        raise Failed(f"two trainings with seed 0 end apart: {unlike}")


@check(
    reason="A spread over seeds that do nothing is no spread.",
    hint="let the start, or whatever is random in fit, depend on the seed",
    after=[same_seed_same_model],
)
def other_seed_other_model(bench: Bench) -> None:
    if difference(bench.trained(0).state, bench.trained(1).state):
        return
    if not bench.gradient:
        raise Skipped("nothing in it is random")
    raise Failed("seeds 0 and 1 give the same model to the last bit")


@check(
    reason="A run keeps parameters and buffers alone; `explain` and every later look at the model start from them.",
    hint="keep what `scores` needs in parameters or register_buffer(...) of a shape that __init__ knows, not in plain attributes",
    after=[scores_shape],
)
def saves_and_loads(bench: Bench) -> None:
    trained = bench.trained()
    if not trained.state:
        raise Failed("it has no parameter and no buffer, so nothing of the training is kept")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        try:
            weights.save(trained.model, path)
            fresh = bench.make(seed=1)
            weights.fill(fresh, weights.read(path), path)
        except (ZslkitError, RuntimeError, ValueError) as error:
            raise Failed(f"its state cannot be written and read back: {error}") from error
    before, after = bench.scores(trained), bench.score(fresh, trained.inputs)
    if not np.array_equal(before, after):
        raise Failed(
            f"scores of the loaded model differ by up to {float(np.abs(before - after).max()):.3g}"
        )


@check(
    reason="Long trainings are interrupted; one that goes on elsewhere than it stopped gives a result of its own.",
    hint="keep no state of the training in plain attributes (counters, averages): a buffer is part of the checkpoint, and so is what a "
    "stage of one's own keeps, the generators too",
    after=[same_seed_same_model],
)
def resumes(bench: Bench) -> str | None:
    if not bench.gradient:
        return _resumes_by_stages(bench)
    config = bench.config(changes={"train.epochs": 3})
    whole = bench.fit(bench.make(config=config))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        with contextlib.suppress(_Stopped):
            bench.fit(bench.make(config=config), checkpoint=path, observer=_Interruption())
        if not path.is_file():
            raise Failed("the training went past the harness's loop, so no checkpoint was written")
        resumed = bench.fit(bench.make(config=config), checkpoint=path)
    if unlike := difference(whole.state, resumed.state):
        raise Failed(f"interrupted after epoch 1 and resumed, it ends elsewhere: {unlike}")
    return None


def _resumes_by_stages(bench: Bench) -> str:
    """Interrupt a model that trains itself in the second epoch of every attempt, so that each adds one, until it is through."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        epochs = sum("stage" in line for line in bench.trained().log)
        if not epochs:
            raise Skipped(
                "it trains itself and without stages (Trainer.stage); an interruption starts it anew"
            )
        for _ in range(epochs):
            try:
                resumed = bench.fit(bench.make(), checkpoint=path, told=_SecondEpoch())
                break
            except _Stopped:
                pass
        else:
            raise Failed(
                f"with every epoch interrupted after the one before, {epochs} attempts do not end its {epochs} epochs"
            )
    if unlike := difference(bench.trained().state, resumed.state):
        raise Failed(
            f"interrupted after every epoch of its stages and resumed, it ends elsewhere: {unlike}"
        )
    return f"interrupted after each of {epochs} epochs of its stages"


class _SecondEpoch:
    """Ends the training when the second epoch of a stage is told: the first one is kept by then."""

    def __init__(self) -> None:
        self._told = 0

    def __call__(self, line: Mapping[str, Any]) -> None:
        self._told += "stage" in line
        if self._told == 2:
            raise _Stopped


class _Stopped(Exception):
    """The training was interrupted on purpose."""


class _Interruption:
    """Ends the training in the second epoch: the checkpoint of the first is the last."""

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        if epoch == 2:
            raise _Stopped
        return False


@check(
    reason="A model that cannot learn features that are linear in the attributes has a fault, whatever its papers say.",
    hint="look at the loss, at the columns of attributes and classes, and at whether the graph reaches the parameters; if the short "
    "training does not suit the model, say what does in check_settings",
    after=[scores_shape],
)
def learns(bench: Bench) -> str:
    tried = []
    for how, config in _attempts(bench):
        try:
            trained = bench.fit(bench.make(config=config), observer=_Enough(bench))
            seen, unseen = _accuracies(bench, trained.model)
        except ZslkitError as error:  # a rate that is too high for it
            tried.append(f"{how}{error}")
            continue
        said = (
            f"{how}{seen:.0f} % on seen and {unseen:.0f} % on unseen classes, each among their own"
        )
        fell = not bench.gradient or _falls(trained)
        if fell and _enough(bench, (seen, unseen)):
            return said
        tried.append(f"{said}{'' if fell else ', the loss does not fall'}")
    least = " and ".join(f"{MARGIN * chance:.0f} %" for chance in _chances(bench))
    raise Failed(f"{'; '.join(tried)}; {MARGIN:g} times chance, {least}, is asked for")


def _attempts(bench: Bench) -> Iterator[tuple[str, ModelConfig]]:
    """Configs with which the model may show that it learns, each with words for it; none twice."""
    if bench.gradient and "train" in bench.kind.Config.model_fields:
        trials = [
            (
                "" if r is None else f"with train.lr={r:g} ",
                bench.config(LONG, {} if r is None else {"train.lr": r}),
            )
            for r in RATES
        ]
    else:
        trials = [
            ("", bench.config(LONG)),
            (f"with up to {PATIENCE * LONG} epochs ", bench.config(PATIENCE * LONG)),
        ]
    told: list[ModelConfig] = []
    for how, config in trials:
        if config not in told:
            told.append(config)
            yield how, config


class _Enough:
    """Ends the training once the accuracy is reached, which most models do long before the last epoch."""

    def __init__(self, bench: Bench) -> None:
        self.history: list[dict[str, float]] = []
        self._bench = bench

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        return epoch % 4 == 0 and _enough(self._bench, _accuracies(self._bench, model))


def _enough(bench: Bench, accuracies: tuple[float, float]) -> bool:
    return all(a >= MARGIN * chance for a, chance in zip(accuracies, _chances(bench), strict=True))


def _accuracies(bench: Bench, model: Model) -> tuple[float, float]:
    """Per-class accuracy in percent on test_seen among the seen classes, and on test_unseen among the unseen ones (T1)."""
    data = bench.dataset
    sides = ((data.split.test_seen, data.seen), (data.split.test_unseen, ~data.seen))
    seen, unseen = (
        100
        * float(
            np.nanmean(
                per_class_accuracy(
                    bench.score(model, bench.inputs(), index),
                    data.labels[index],
                    np.flatnonzero(mask),
                )
            )
        )
        for index, mask in sides
    )
    return seen, unseen


def _chances(bench: Bench) -> tuple[float, float]:
    seen = bench.dataset.seen
    return 100 / int(seen.sum()), 100 / int((~seen).sum())


def _falls(trained: BenchModel) -> bool:
    """Whether the loop's loss is lower at the end than in the first epoch."""
    losses = [_total(line) for line in trained.log if "epoch" in line and "seconds" in line]
    return len(losses) < 2 or losses[-1] < losses[0]


def _total(line: Mapping[str, Any]) -> float:
    terms = {k: v for k, v in line.items() if k not in ("phase", "epoch", "seconds")}
    return float(terms["total"] if "total" in terms else sum(terms.values()))


@check(
    reason="`--precision bfloat16` halves the memory of a training; a model that breaks in it should not be found out after hours.",
    hint="let autocast choose the types: create no tensor of a fixed type in `loss`, and take exponentials and logarithms of float32",
    after=[scores_shape],
)
def bfloat16(bench: Bench) -> None:
    if not (bench.gradient and isinstance(getattr(bench.config(), "train", None), TrainConfig)):
        raise Skipped("it trains itself, in the precision of its choice")
    try:
        bench.scores(
            bench.fit(bench.make(config=bench.config(changes={"train.precision": "bfloat16"})))
        )
    except Exception as error:
        raise Failed(f"with train.precision=bfloat16: {type(error).__name__}: {error}") from error


@check(
    reason="A parameter that no gradient reaches is never trained; it may be meant, and then it is good to know.",
    hint="only a remark: use the parameter in `loss`, or make it a buffer",
    after=[scores_shape],
)
def gradients(bench: Bench) -> str | None:
    trained = bench.trained()
    model = trained.model
    if not isinstance(model, GradientModel):
        raise Skipped("it trains itself")
    index = bench.dataset.split.trainval
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = (
            bench.make()
        )  # a copy of the model to train further, since the trained one is shared
        assert isinstance(model, GradientModel)
        model.load_state_dict(trained.state)
        terms = model.train().loss(
            trained.inputs.source.batch(index), torch.from_numpy(bench.dataset.labels[index])
        )
        (terms["total"] if "total" in terms else torch.stack(list(terms.values())).sum()).backward()  # type: ignore[no-untyped-call]
    idle = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    return f"no gradient reaches {listed(idle)}" if idle else None
