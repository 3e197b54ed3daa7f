"""The plan of a run: a model and a dataset with all settings, before any data is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from zslkit.config import FeatureConfig, ProtocolConfig, build
from zslkit.config.merge import Layer, merge, nested
from zslkit.datasets.catalog import NamedDataset
from zslkit.features.backbones import Backbone
from zslkit.model import ENCODER_KEYS, GradientModel, Model, ModelConfig, brings_encoder
from zslkit.registry import Entry


@dataclass(frozen=True)
class Plan:
    """A model, the dataset that is named for it, and all settings that need no data.

    `origins` says where each value comes from; `usual` holds, for each setting that the user
    changed, its value without that, or is None if unknown.
    """

    entry: Entry
    model_class: type[Model]
    dataset: NamedDataset
    features: FeatureConfig
    protocol: ProtocolConfig
    config: ModelConfig
    origins: Mapping[str, str] = field(default_factory=dict)
    usual: Mapping[str, Any] | None = None

    @property
    def class_path(self) -> str:
        """Module and class of the model, as `module:Class`."""
        return f"{self.model_class.__module__}:{self.model_class.__qualname__}"

    @property
    def values(self) -> dict[str, Any]:
        """The resolved settings, nested: sections features and protocol, then the model's own keys.

        A model with its own image encoder ignores some settings of features; those are left out.
        """
        idle = set(ENCODER_KEYS) if brings_encoder(self.model_class) else None
        sections = {
            "features": self.features.model_dump(mode="json", exclude=idle),
            "protocol": self.protocol.model_dump(mode="json"),
        }
        return sections | self.config.model_dump(mode="json")

    @property
    def picks(self) -> bool:
        """Whether validation folds select anything."""
        protocol, model_class = self.protocol, self.model_class
        by_epoch = protocol.selection == "validation" and issubclass(model_class, GradientModel)
        return (
            by_epoch
            or protocol.calibration == "validation"
            or (protocol.tune and bool(model_class.search or model_class.mixes))
        )

    @property
    def idle(self) -> set[str]:
        """Settings of the section protocol that do not affect the results of this run.

        protocol.watch_test is not among them, since it changes the report.
        """
        protocol, model_class = self.protocol, self.model_class
        idle = set() if self.picks else {"folds", "fold_seed"}
        if protocol.selection != "validation" or not issubclass(model_class, GradientModel):
            idle.add("patience")
        points = prod(len(values) for values in model_class.search.values())
        if not (protocol.tune and model_class.search) or (protocol.trials or points) >= points:
            idle.add("trials")
        if not (model_class.search or model_class.mixes):
            idle.add("tune")
        return idle

    @property
    def deciding(self) -> dict[str, Any]:
        """`values`, with defaults for the settings that are idle; they determine the outcome."""
        usual = ProtocolConfig().model_dump(mode="json", include=self.idle)
        return self.values | {"protocol": self.protocol.model_dump(mode="json") | usual}

    def encoder(self) -> Backbone | None:
        """The model's own image encoder with its weights, None if it has none.

        Raises what `Model.image_encoder` raises.
        """
        return self.model_class.image_encoder(self.config)

    def with_config(self, changes: Mapping[str, Any]) -> ModelConfig:
        """The model's settings with some of its own keys changed, validated again."""
        settings = merge(
            [Layer(self.config.model_dump(), "config"), Layer(nested(changes), "validation")]
        )
        return build(type(self.config), settings, self.entry.name)
