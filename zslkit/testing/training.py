"""Checks of training: it is repeatable, resumes, saves its state, and learns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from zslkit.config import TrainConfig
from zslkit.errors import ZslkitError, listed
from zslkit.evaluation.metrics import Index, Mask, per_class_accuracy
from zslkit.model import GradientModel, Model, ModelConfig
from zslkit.testing.answers import scores_shape
from zslkit.testing.bench import LONG, Bench, BenchModel, difference
from zslkit.testing.check import check
from zslkit.testing.outcome import Failed, Skipped
from zslkit.training import weights

MARGIN = 3.0
"""Factor over chance that accuracy must reach on the tiny dataset, on seen and unseen classes."""
RATES = (0.003, None, 0.03, 0.0005)
"""Learning rates to try until a gradient model learns; None is its own."""
PATIENCE = 5
"""Factor on the epochs of a model that trains itself, if it has not learnt in the usual number."""


@check(
    reason="A result that the same seed does not reproduce can be neither verified nor resumed.",
    hint=(
        "draw random numbers from torch's generator in __init__, and in fit from a generator "
        "seeded with trainer.seed, never from the clock"
    ),
    after=[scores_shape],
)
def same_seed_same_model(bench: Bench) -> None:
    again = bench.fit(bench.make())
    if unlike := difference(bench.trained().state, again.state):
        raise Failed(f"two trainings with seed 0 end apart: {unlike}")


@check(
    reason="A standard deviation over seeds means nothing if the seed has no effect.",
    hint="let the initialisation, or the random numbers in fit, depend on the seed",
    after=[same_seed_same_model],
)
def other_seed_other_model(bench: Bench) -> None:
    if difference(bench.trained(0).state, bench.trained(1).state):
        return
    if not bench.gradient:
        raise Skipped("nothing in it is random")
    raise Failed("seeds 0 and 1 give the same model to the last bit")


@check(
    reason=("A run stores only parameters and buffers; `explain` and `evaluate` start from them."),
    hint=(
        "keep what `scores` needs in parameters or register_buffer(...) with a shape known in "
        "__init__, not in plain attributes"
    ),
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
    reason=(
        "Long trainings are interrupted; resuming must give the same result as an "
        "uninterrupted training."
    ),
    hint=(
        "keep no training state in plain attributes (counters, averages): checkpoints contain "
        "buffers and what a stage `keeps`, so pass generators to it too"
    ),
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
            bench.fit(bench.make(config=config), checkpoint=path, on_log=_second("epoch"))
        if not path.is_file():
            raise Failed("the training went past the harness's loop, so no checkpoint was written")
        resumed = bench.fit(bench.make(config=config), checkpoint=path)
    if unlike := difference(whole.state, resumed.state):
        raise Failed(f"interrupted after epoch 1 and resumed, it ends elsewhere: {unlike}")
    return None


def _resumes_by_stages(bench: Bench) -> str:
    """Interrupt a model that trains itself in the second epoch of every attempt."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        epochs = sum("stage" in line for line in bench.trained().log)
        if not epochs:
            raise Skipped(
                "it trains itself and without stages (Trainer.stage); an interruption starts it "
                "anew"
            )
        for _ in range(epochs):
            try:
                resumed = bench.fit(bench.make(), checkpoint=path, on_log=_second("stage"))
                break
            except _Stopped:
                pass
        else:
            raise Failed(
                f"with every epoch interrupted after the one before, {epochs} attempts do not end "
                f"its {epochs} epochs"
            )
    if unlike := difference(bench.trained().state, resumed.state):
        raise Failed(
            f"interrupted after every epoch of its stages and resumed, it ends elsewhere: {unlike}"
        )
    return f"interrupted after each of {epochs} epochs of its stages"


def _second(key: str) -> Callable[[Mapping[str, Any]], None]:
    """Ends the training at the second log line with the key, when epoch 1 has a checkpoint."""
    epochs = count(1)

    def hear(line: Mapping[str, Any]) -> None:
        if key in line and next(epochs) == 2:
            raise _Stopped

    return hear


class _Stopped(Exception):
    """The check interrupted the training."""


@check(
    reason=(
        "The features are linear in the attributes, so a model that does not learn them has a "
        "fault."
    ),
    hint=(
        "look at the loss, at the columns of attributes and classes, and at whether gradients "
        "reach the parameters; if the short training does not fit the model, set another in "
        "check_settings"
    ),
    after=[scores_shape],
)
def learns(bench: Bench) -> str:
    tried = []
    for how, config in _attempts(bench):
        try:
            trained = bench.fit(bench.make(config=config), observer=_Enough(bench))
            seen, unseen = _accuracies(bench, trained.model)
        except ZslkitError as error:  # such as a learning rate that is too high
            tried.append(f"{how}{error}")
            continue
        accuracy = (
            f"{how}{seen:.0f} % on seen and {unseen:.0f} % on unseen classes, each among their own"
        )
        fell = not bench.gradient or _falls(trained)
        if fell and _enough(bench, (seen, unseen)):
            return accuracy
        tried.append(f"{accuracy}{'' if fell else ', the loss does not fall'}")
    least = " and ".join(f"{MARGIN * chance:.0f} %" for chance in _chances(bench))
    raise Failed(f"{'; '.join(tried)}; {MARGIN:g} times chance, {least}, is asked for")


def _attempts(bench: Bench) -> Iterator[tuple[str, ModelConfig]]:
    """Configs to try, each with a description; none twice."""
    if bench.gradient and "train" in bench.kind.Config.model_fields:
        rates = [(f"with train.lr={r:g} ", {"train.lr": r}) if r else ("", {}) for r in RATES]
        trials = [(how, bench.config(LONG, changes)) for how, changes in rates]
    else:
        most = PATIENCE * LONG
        trials = [("", bench.config(LONG)), (f"with up to {most} epochs ", bench.config(most))]
    yield from (
        (how, c) for i, (how, c) in enumerate(trials) if c not in [t for _, t in trials[:i]]
    )


class _Enough:
    """Ends the training when the accuracy suffices, which is mostly long before the last epoch."""

    def __init__(self, bench: Bench) -> None:
        self.history: list[dict[str, float]] = []
        self._bench = bench

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        return epoch % 4 == 0 and _enough(self._bench, _accuracies(self._bench, model))


def _enough(bench: Bench, accuracies: tuple[float, float]) -> bool:
    return all(a >= MARGIN * chance for a, chance in zip(accuracies, _chances(bench), strict=True))


def _accuracies(bench: Bench, model: Model) -> tuple[float, float]:
    """Per-class accuracy in percent of test_seen among seen, test_unseen among unseen classes."""
    data = bench.dataset
    sides = ((data.split.test_seen, data.seen), (data.split.test_unseen, ~data.seen))

    def accuracy(index: Index, mask: Mask) -> float:
        scores, among = bench.score(model, bench.inputs(), index), np.flatnonzero(mask)
        return 100 * float(np.nanmean(per_class_accuracy(scores, data.labels[index], among)))

    seen, unseen = (accuracy(*side) for side in sides)
    return seen, unseen


def _chances(bench: Bench) -> tuple[float, float]:
    seen = bench.dataset.seen
    return 100 / int(seen.sum()), 100 / int((~seen).sum())


def _falls(trained: BenchModel) -> bool:
    """Whether the loss of the last epoch is below that of the first."""
    losses = [_total(line) for line in trained.log if "epoch" in line and "seconds" in line]
    return len(losses) < 2 or losses[-1] < losses[0]


def _total(line: Mapping[str, Any]) -> float:
    terms = {k: v for k, v in line.items() if k not in ("phase", "epoch", "seconds")}
    return float(terms["total"] if "total" in terms else sum(terms.values()))


@check(
    reason=(
        "`--precision bfloat16` halves the memory of a training; a model that fails in it "
        "should fail here, not after hours."
    ),
    hint=(
        "let autocast choose the types: create no tensor of a fixed type in `loss`, and "
        "compute exponentials and logarithms in float32"
    ),
    after=[scores_shape],
)
def bfloat16(bench: Bench) -> None:
    if not (bench.gradient and isinstance(getattr(bench.config(), "train", None), TrainConfig)):
        raise Skipped("it trains itself, in the precision of its choice")
    try:
        config = bench.config(changes={"train.precision": "bfloat16"})
        bench.scores(bench.fit(bench.make(config=config)))
    except Exception as error:
        raise Failed(f"with train.precision=bfloat16: {type(error).__name__}: {error}") from error


@check(
    reason=("A parameter that no gradient reaches is never trained, perhaps by mistake."),
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
        model = bench.make()  # a copy, since the trained model is shared
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
