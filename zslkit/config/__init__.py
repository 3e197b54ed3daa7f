"""Settings of a run: typed sections, and the source of every value."""

from __future__ import annotations

from zslkit.config.sections import (
    Config,
    FeatureConfig,
    Input,
    Pooling,
    ProtocolConfig,
    build,
    known_keys,
)
from zslkit.config.train import Schedule, TrainConfig

__all__ = [
    "Config",
    "FeatureConfig",
    "Input",
    "Pooling",
    "ProtocolConfig",
    "Schedule",
    "TrainConfig",
    "build",
    "known_keys",
]
