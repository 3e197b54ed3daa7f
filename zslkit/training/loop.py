"""The gradient training loop: batches, precision, optimiser, checkpoints, log and progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from zslkit.config import TrainConfig
from zslkit.errors import DataError
from zslkit.model import GradientModel, Kept, TrainingView
from zslkit.training import augment, checkpoint
from zslkit.training.ahead import ahead
from zslkit.training.average import WeightAverage
from zslkit.training.compiled import loss_of
from zslkit.training.resident import resident
from zslkit.training.sampling import batches
from zslkit.training.schedules import ScheduledSettings
from zslkit.training.shared import add_up, from_first, shares
from zslkit.training.stage import TrainingStage
from zslkit.training.step import check_parts, pass_through, take_step
from zslkit.training.unread import TOTAL, Unread
from zslkit.utils import distributed
from zslkit.utils.progress import Phase, Reporter

CHECKPOINT_SHARE = 0.05
"""Share of the time that checkpoints may take; large models are not saved after every epoch."""


class Observer(Protocol):
    """Observes the model after every epoch; the checkpoint holds its history."""

    history: list[dict[str, Any]]
    """One row of numbers and tensors per epoch."""

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        """Observe the model after an epoch (from 1); True stops the training."""


class Loop:
    """A `zslkit.model.Trainer`; the same seed and machine give the same steps, also if resumed."""

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device,
        reporter: Reporter,
        log: Callable[..., None],
        name: str = "train",
        checkpoint_path: Path | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.seed, self.device = seed, device
        self._reporter, self._log, self._name = reporter, log, name
        self._path, self._observer = checkpoint_path, observer
        self.seconds = 0.0
        """Seconds of training steps, without interruptions and observers."""
        self._stages: set[str] = set()
        self._trainings = 0

    def log(self, **values: float) -> None:
        """Append a line of values to the run's log."""
        self._log(phase=self._name, **values)

    def stage(
        self,
        name: str,
        epochs: int,
        keeps: Mapping[str, Kept],
        *,
        steps: int = 1,
        mend: str = "lower the learning rate",
    ) -> TrainingStage:
        """See `zslkit.model.Trainer`; ValueError if the model has used the name before."""
        if name in self._stages:
            raise ValueError(
                f"the stage {name!r} was there before; "
                "give every stage of a model a name of its own"
            )
        self._stages.add(name)
        return TrainingStage(
            name,
            epochs,
            keeps,
            steps=steps,
            mend=mend,
            path=self._path,
            share=CHECKPOINT_SHARE,
            reporter=self._reporter,
            log=self._log,
            label=self._name,
            spent=self._spend,
        )

    def _spend(self, seconds: float) -> None:
        self.seconds += seconds

    def train(self, model: GradientModel, view: TrainingView) -> None:
        """Train a model in place.

        Each call within one `fit` is a training of its own, with its own checkpoint.

        Raises:
            TrainingError: A loss term is not finite, or a batch does not fit on the device.
            DataError: The checkpoint belongs to another model.
        """
        self._trainings += 1
        path = self._path
        if path is not None and self._trainings > 1:
            path = path.with_name(f"{path.stem}.train-{self._trainings}.pt")
        GradientTraining(self, model, view, path).run()


class GradientTraining:
    """One training of one model in a loop, from its start or from its checkpoint `path`."""

    def __init__(
        self, loop: Loop, model: GradientModel, view: TrainingView, path: Path | None
    ) -> None:
        self._loop, self._model, self._view, self._path = loop, model, view, path
        self._config: TrainConfig = model.config.train
        self._groups = model.parameter_groups()
        self._optimizer = _optimizer(self._config, self._groups)
        trained = (p for group in self._groups.values() for p in group)
        self._average = (
            WeightAverage(self._config, model, trained) if self._config.average_last else None
        )
        self._settings = ScheduledSettings(model)
        check_parts(model)
        self._loss = loss_of(model)
        self._steps = self._config.steps_per_epoch or max(1, len(view) // self._config.batch_size)

    def run(self) -> None:
        """Train to the end; raises as `Loop.train`."""
        loop, config, average, observer = self._loop, self._config, self._average, self._observer
        done = self._resume()
        from_first(self._model)  # also waits until all processes have read the checkpoint
        if average is not None:
            average.from_first()
        history = observer.history if done and observer is not None else []
        if done < config.epochs and not (history and history[-1].get("stop")):
            if augment.asked(config) and not augment.cuttable(self._view):
                idle = "train.random_crop and train.flip do nothing"
                loop._reporter.note(f"{loop._name}: these inputs are no photos, so {idle}")
            if config.accumulate == 1 and not config.offload:  # else memory is short
                self._view = resident(self._view, loop.device, loop._reporter)
            total = (config.epochs - done) * self._steps
            with loop._reporter.phase(loop._name, total=total) as phase:
                done = self._epochs(done, phase)
        if average is not None:
            average.put_in(partial(self._passes, done))

    @property
    def _observer(self) -> Observer | None:
        return self._loop._observer

    def _epochs(self, start: int, phase: Phase) -> int:
        """Train from the epoch `start` on, and return the number of epochs that are done."""
        loop, config, average, observer = self._loop, self._config, self._average, self._observer
        pace = checkpoint.Pace(CHECKPOINT_SHARE)
        for epoch in range(start, config.epochs):
            began, done, stop = time.monotonic(), epoch + 1, False
            if config.fresh_optimizer:
                self._optimizer = _optimizer(config, self._groups)
            self._model.begin_epoch(epoch)
            terms = self._epoch(epoch, phase)
            if average is not None:
                average.after_epoch(done)
            loop.seconds += time.monotonic() - began
            loop.log(epoch=done, seconds=round(time.monotonic() - began, 3), **terms)
            if observer:
                averaged = average.in_use(partial(self._passes, done)) if average else None
                with averaged or nullcontext():
                    stop = observer.after_epoch(done, self._model)
            if self._path is not None and distributed.first():
                pace.save(self._path, partial(self._state, done), stop or done == config.epochs)
            if stop:
                return done
        return config.epochs

    def _epoch(self, epoch: int, phase: Phase) -> dict[str, float]:
        # Randomness in a step (dropout, say) depends on seed and epoch alone, so that a resumed run
        # repeats it. Processes that share a batch draw apart, or their images would share masks.
        self._draw(epoch, 1)
        model, config = self._model, self._config
        model.train()
        rates = [model.learning_rate(epoch, name) for name in self._groups]
        for rate, parameters in zip(rates, self._groups.values(), strict=True):
            for parameter in parameters:
                parameter.requires_grad_(rate > 0)
        whole = config.shares_epochs * self._steps
        sums: dict[str, float] = {}
        unread = Unread()

        def note_terms() -> None:
            rows = unread.read(
                f"in epoch {epoch + 1}, step {{step}}",
                "lower train.lr, set train.clip_norm, or train in float32",
            )
            for row in rows:
                total = row.pop(TOTAL)
                for k, v in row.items():
                    sums[k] = sums.get(k, 0.0) + v
            if rows:
                phase.advance(len(rows), epoch=epoch + 1, loss=total)

        for x, label, size in self._inputs(epoch):
            step = epoch * self._steps + unread.steps
            for rate, group in zip(rates, self._optimizer.param_groups, strict=True):
                group["lr"] = rate * config.rate_factor(step, whole)
            with self._settings.at(step / whole):
                taken = take_step(model, self._loss, x, label, size, self._loop.device)
            share = len(label) / size
            if unread.add(taken.terms, taken.total, weight=share, coupled=taken.coupled):
                note_terms()
            add_up(model.parameters())
            if config.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            self._optimizer.step()
        note_terms()
        return {k: v / unread.steps for k, v in sums.items()}

    def _draw(self, epoch: int, stream: int) -> None:
        drawn = np.random.default_rng([self._loop.seed, epoch, stream, *distributed.apart()])
        torch.manual_seed(int(drawn.integers(2**62)))

    def _inputs(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """This process's inputs and labels of each batch, with the size of the batch."""
        config, view, seed = self._config, self._view, self._loop.seed
        how = config.sampling, config.batch_size, config.steps_per_epoch
        indices = batches(view.labels, *how, seed, epoch, config.images_per_class)
        read = augment.reader(view, config, seed, epoch)
        return ahead(read, view.labels, shares(indices), self._loop.device)

    def _passes(self, epoch: int) -> None:
        """Pass the batches of the epoch before `epoch` through the loss; no weight changes."""
        self._draw(epoch, 2)
        for x, label, size in self._inputs(epoch - 1):
            pass_through(self._model, x, label, size, self._loop.device)

    def _resume(self) -> int:
        """Load the checkpoint, if there is one, and return the number of epochs that are done."""
        path, model, loop = self._path, self._model, self._loop
        if path is None or not path.is_file():
            return 0
        state = checkpoint.load(path)
        try:
            epoch, seconds = int(state["epoch"]), float(state["seconds"])
            history = list(state["history"])
            model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            if self._average is not None:
                self._average.load_state_dict(state["average"])
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            why = " ".join(str(error).split())
            raise DataError(
                f"The checkpoint {path} is not of {type(model).__name__} as it is now "
                f"({why[:300]}); remove it to start this training afresh"
            ) from error
        loop.seconds = seconds
        if self._observer is not None:
            self._observer.history[:] = history
        loop._reporter.note(f"{loop._name}: going on after epoch {epoch}")
        return epoch

    def _state(self, epoch: int) -> dict[str, Any]:
        average = self._average
        return {
            "epoch": epoch,
            "seconds": self._loop.seconds,
            "history": self._observer.history if self._observer else [],
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            **({"average": average.state_dict()} if average is not None else {}),
        }


def _optimizer(config: TrainConfig, groups: dict[str, list[torch.nn.Parameter]]) -> Optimizer:
    parameters: list[dict[str, Any]] = [{"params": p} for p in groups.values()]
    lr, decay, momentum = config.lr, config.weight_decay, config.momentum
    makers: dict[str, Callable[[], Optimizer]] = {
        "rmsprop": lambda: RMSprop(parameters, lr=lr, weight_decay=decay, momentum=momentum),
        "adam": lambda: Adam(parameters, lr=lr, weight_decay=decay, betas=(momentum, 0.999)),
        "adamw": lambda: AdamW(parameters, lr=lr, weight_decay=decay, betas=(momentum, 0.999)),
        "sgd": lambda: SGD(parameters, lr=lr, weight_decay=decay, momentum=momentum),
    }
    return makers[config.optimizer]()
