"""Makes, trains and scores a model with the harness's own code, on the tiny dataset and the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Imported first, so that a model which changes the code that measures it is noticed.
import zslkit.runs.api  # noqa: F401
from zslkit.config import Config, Input, TrainConfig, build
from zslkit.config.merge import Layer, merge, nested
from zslkit.dataset import Dataset, Index
from zslkit.errors import UserError
from zslkit.features.backbones import Backbone
from zslkit.model import GradientModel, Model, ModelConfig
from zslkit.testing.outcome import Failed
from zslkit.testing.shared import shared_state
from zslkit.testing.tiny import tiny_dataset, tiny_inputs
from zslkit.training.fit import fit, make_model
from zslkit.training.inputs import Inputs
from zslkit.training.loop import Loop, Observer
from zslkit.training.scoring import score
from zslkit.utils.library_state import State
from zslkit.utils.progress import Silent

CPU = torch.device("cpu")
SHORT, LONG = 2, 20
"""Epochs of a training that only has to run, and of one that has to learn."""


@dataclass(frozen=True)
class BenchModel:
    """A trained model, the lines of its training log, and its state after training."""

    model: Model
    inputs: Inputs
    log: Sequence[Mapping[str, Any]]
    state: Mapping[str, Tensor]


class Bench:
    """One model class under test.

    Trained models are shared between checks, which must not change them.

    Args:
        settings: Dotted config key -> value; overrides the class's `check_settings` and the short
            training of the checks.

    Raises:
        UserError: The model has no such setting.
    """

    def __init__(
        self, kind: type[Model], name: str, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.kind, self.name = kind, name
        self.dataset = tiny_dataset()
        self._given = [
            Layer(nested(kind.check_settings), "check_settings"),
            Layer(nested(settings or {}), "settings"),
        ]
        self._trained: dict[tuple[int, Input], BenchModel] = {}
        self.before, self.libraries = shared_state(kind), State()
        if settings:
            self._refuse_wrong_settings()

    def _refuse_wrong_settings(self) -> None:
        try:
            default = Layer(self.default_config.model_dump(), "defaults")
        except UserError:  # reported by a check
            return
        build(self.kind.Config, merge([default, self._given[-1]]), self.name)

    @property
    def gradient(self) -> bool:
        """Whether the harness's loop trains the model, so that it can resume."""
        return issubclass(self.kind, GradientModel)

    @property
    def frozen_input(self) -> Input:
        """Preferred input type, if possible without a trained backbone."""
        return next((kind for kind in self.kind.inputs if kind != "image"), "image")

    @cached_property
    def default_config(self) -> ModelConfig:
        """Default config. Raises UserError that names a key without default."""
        return build(self.kind.Config, merge([]), self.name)

    def config(self, epochs: int = SHORT, changes: Mapping[str, Any] | None = None) -> ModelConfig:
        """Config with a short training; `changes`, by dotted key, override everything else."""
        default = self.default_config
        kit = [Layer(default.model_dump(), "defaults"), Layer(shortened(default, epochs), "kit")]
        layers = [*kit, *self._given, Layer(nested(changes or {}), "check")]
        try:
            return build(self.kind.Config, merge(layers), self.name)
        except UserError as error:
            raise Failed(
                f"the config cannot be made for a short training ({error}); say in check_settings "
                "what suits the model"
            ) from error

    def inputs(self, kind: Input | None = None, dataset: Dataset | None = None) -> Inputs:
        return tiny_inputs(dataset or self.dataset, kind or self.frozen_input, self._encoder)

    @cached_property
    def _encoder(self) -> Backbone | None:
        return self.kind.image_encoder(self.config())

    def make(
        self,
        seed: int = 0,
        *,
        dataset: Dataset | None = None,
        inputs: Inputs | None = None,
        config: ModelConfig | None = None,
    ) -> Model:
        """Untrained model, made as by the harness."""
        config, given = config or self.config(), (dataset or self.dataset, inputs or self.inputs())
        return make_model(self.kind, config, *given, seed, CPU)

    def fit(
        self,
        model: Model,
        seed: int = 0,
        *,
        dataset: Dataset | None = None,
        inputs: Inputs | None = None,
        checkpoint: Path | None = None,
        observer: Observer | None = None,
        on_log: Callable[[Mapping[str, Any]], None] | None = None,
        withholds: bool = False,
    ) -> BenchModel:
        """Train in place, as the harness does.

        Args:
            dataset: By default the tiny dataset.
            inputs: By default those of the tiny dataset.
            on_log: Called with every line of the log.
            withholds: Make test images unavailable, as in a run. Off by default, so that a model
                which needs them fails only one check.
        """
        inputs, log = inputs or self.inputs(), cast(list[Mapping[str, Any]], [])

        def keep(**values: Any) -> None:
            log.append(values)
            if on_log is not None:
                on_log(values)

        fit(
            model,
            dataset or self.dataset,
            inputs,
            Loop(
                seed=seed,
                device=CPU,
                reporter=Silent(),
                log=keep,
                checkpoint_path=checkpoint,
                observer=observer,
            ),
            withholds,
        )
        return BenchModel(model, inputs, log, state_of(model))

    def trained(self, seed: int = 0, kind: Input | None = None) -> BenchModel:
        """Model after a short training, shared between checks; do not change it."""
        kind = kind or self.frozen_input
        if (seed, kind) not in self._trained:
            inputs = self.inputs(kind)
            model = self.make(seed, inputs=inputs)
            self._trained[seed, kind] = self.fit(model, seed, inputs=inputs)
        return self._trained[seed, kind]

    def scores(self, trained: BenchModel, index: Index | None = None) -> NDArray[np.float32]:
        """Scores `(N, C)` of images, by default of both test sets."""
        return self.score(trained.model, trained.inputs, index)

    def score(
        self, model: Model, inputs: Inputs, index: Index | None = None
    ) -> NDArray[np.float32]:
        """As `scores`, for any model."""
        return score(model, inputs.source, self.test if index is None else index, CPU)

    @property
    def test(self) -> Index:
        """Images of both test sets."""
        return np.concatenate([self.dataset.split.test_seen, self.dataset.split.test_unseen])


def shortened(config: Config, epochs: int) -> dict[str, Any]:
    """Changes to a config that limit its training to `epochs` epochs with small batches.

    Sections of the harness's loop are set. Elsewhere, integers named epochs or ..._epochs are
    lowered, to a quarter of it beside such a section, since they are warm-ups then.
    """
    changes: dict[str, Any] = {}
    loop = any(isinstance(getattr(config, name), TrainConfig) for name in type(config).model_fields)
    most = max(1, epochs // 4) if loop else epochs
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, TrainConfig):
            changes[name] = {"epochs": epochs, "steps_per_epoch": 5, "batch_size": 18}
        elif isinstance(value, Config):
            if inner := shortened(value, epochs):
                changes[name] = inner
        elif type(value) is int and (name == "epochs" or name.endswith("_epochs")) and value > most:
            changes[name] = most
    return changes


def state_of(model: Model) -> dict[str, Tensor]:
    """Copy of the model's state."""
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str:
    """Describe which tensors of two states are not equal bit for bit; "" if all are."""
    if one.keys() != other.keys():
        return f"{min(one.keys() ^ other.keys())} is kept of one and not of the other"
    unlike = [k for k in one if not torch.equal(_plain(one[k]), _plain(other[k]))]
    more = f" and {len(unlike) - 1} more" if len(unlike) > 1 else ""
    return f"{unlike[0]}{more} of {len(one)} differ" if unlike else ""


def _plain(tensor: Tensor) -> Tensor:
    return torch.nan_to_num(tensor) if tensor.is_floating_point() else tensor
