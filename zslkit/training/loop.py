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
from zslkit.training.compiled import Loss, loss_of
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
        config: TrainConfig = model.config.train
        groups = model.parameter_groups()
        optimizer = _optimizer(config, groups)
        average = (
            WeightAverage(config, model, (p for group in groups.values() for p in group))
            if config.average_last
            else None
        )
        settings = ScheduledSettings(model)
        check_parts(model)
        loss = loss_of(model)
        start = self._resume(path, model, optimizer, average)
        from_first(model)  # also waits until all processes have read the checkpoint
        if average is not None:
            average.from_first()
        if start >= config.epochs or (
            start
            and self._observer is not None
            and self._observer.history
            and self._observer.history[-1].get("stop")
        ):
            if average is not None:
                average.put_in(partial(self._passes, model, view, start, config))
            return
        if augment.asked(config) and not augment.cuttable(view):
            self._reporter.note(
                f"{self._name}: these inputs are no photos, so train.random_crop and train.flip "
                "do nothing"
            )
        if config.accumulate == 1 and not config.offload:  # else memory is short
            view = resident(view, self.device, self._reporter)
        steps = config.steps_per_epoch or max(1, len(view) // config.batch_size)
        done, passes = start, partial(self._passes, model, view, config=config)
        saved, cost = time.monotonic(), 0.0
        with self._reporter.phase(f"{self._name}", total=(config.epochs - start) * steps) as phase:
            for epoch in range(start, config.epochs):
                began = time.monotonic()
                if config.fresh_optimizer:
                    optimizer = _optimizer(config, groups)
                model.begin_epoch(epoch)
                terms = self._epoch(
                    model, view, optimizer, groups, epoch, config, phase, settings, steps, loss
                )
                done = epoch + 1
                if average is not None:
                    average.after_epoch(done)
                self.seconds += time.monotonic() - began
                self.log(epoch=epoch + 1, seconds=round(time.monotonic() - began, 3), **terms)
                stop = False
                if self._observer:
                    averaged = average.in_use(partial(passes, epoch=done)) if average else None
                    with averaged or nullcontext():
                        stop = self._observer.after_epoch(done, model)
                last = stop or epoch + 1 == config.epochs
                if (
                    path is not None
                    and distributed.first()
                    and (last or cost <= CHECKPOINT_SHARE * (time.monotonic() - saved))
                ):
                    writing = time.monotonic()
                    self._save(path, model, optimizer, epoch + 1, average)
                    saved = time.monotonic()
                    cost = saved - writing
                if stop:
                    break
        if average is not None:
            average.put_in(partial(passes, epoch=done))

    def _epoch(
        self,
        model: GradientModel,
        view: TrainingView,
        optimizer: Optimizer,
        groups: dict[str, list[torch.nn.Parameter]],
        epoch: int,
        config: TrainConfig,
        phase: Phase,
        settings: ScheduledSettings,
        steps: int,
        loss: Loss,
    ) -> dict[str, float]:
        # Randomness in a step (dropout, say) depends on seed and epoch alone, so that a resumed run
        # repeats it. Processes that share a batch draw apart, or their images would share masks.
        self._draw(epoch, 1)
        model.train()
        rates = [model.learning_rate(epoch, name) for name in groups]
        for rate, name in zip(rates, groups, strict=True):
            for parameter in groups[name]:
                parameter.requires_grad_(rate > 0)
        whole = config.shares_epochs * steps
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

        for x, label, size in self._inputs(view, config, epoch):
            step = epoch * steps + unread.steps
            for rate, group in zip(rates, optimizer.param_groups, strict=True):
                group["lr"] = rate * config.rate_factor(step, whole)
            with settings.at(step / whole):
                taken = take_step(model, loss, x, label, size, self.device)
            if unread.add(
                taken.terms, taken.total, weight=len(label) / size, coupled=taken.coupled
            ):
                note_terms()
            add_up(model.parameters())
            if config.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
        note_terms()
        return {k: v / unread.steps for k, v in sums.items()}

    def _draw(self, epoch: int, stream: int) -> None:
        drawn = np.random.default_rng([self.seed, epoch, stream, *distributed.apart()])
        torch.manual_seed(int(drawn.integers(2**62)))

    def _inputs(
        self, view: TrainingView, config: TrainConfig, epoch: int
    ) -> Iterator[tuple[Tensor, Tensor, int]]:
        """This process's inputs and labels of each batch, with the size of the batch."""
        indices = batches(
            view.labels,
            config.sampling,
            config.batch_size,
            config.steps_per_epoch,
            self.seed,
            epoch,
            config.images_per_class,
        )
        read = augment.reader(view, config, self.seed, epoch)
        return ahead(read, view.labels, shares(indices), self.device)

    def _passes(
        self, model: GradientModel, view: TrainingView, epoch: int, config: TrainConfig
    ) -> None:
        """Pass the batches of the epoch before `epoch` through the loss; no weight changes."""
        self._draw(epoch, 2)
        for x, label, size in self._inputs(view, config, epoch - 1):
            pass_through(model, x, label, size, self.device)

    def _resume(
        self,
        path: Path | None,
        model: GradientModel,
        optimizer: Optimizer,
        average: WeightAverage | None,
    ) -> int:
        if path is None or not path.is_file():
            return 0
        state = checkpoint.load(path)
        try:
            epoch, seconds, history = (
                int(state["epoch"]),
                float(state["seconds"]),
                list(state["history"]),
            )
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            if average is not None:
                average.load_state_dict(state["average"])
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            why = " ".join(str(error).split())
            raise DataError(
                f"The checkpoint {path} is not of {type(model).__name__} "
                f"as it is now ({why[:300]}); "
                "remove it to start this training afresh"
            ) from error
        self.seconds = seconds
        if self._observer is not None:
            self._observer.history[:] = history
        self._reporter.note(f"{self._name}: going on after epoch {epoch}")
        return epoch

    def _save(
        self,
        path: Path,
        model: GradientModel,
        optimizer: Optimizer,
        epoch: int,
        average: WeightAverage | None,
    ) -> None:
        history = self._observer.history if self._observer else []
        state = {
            "epoch": epoch,
            "seconds": self.seconds,
            "history": history,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            **({"average": average.state_dict()} if average is not None else {}),
        }
        checkpoint.save(path, state)


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
