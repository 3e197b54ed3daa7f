"""Settings of a run: typed sections, and the source of every value."""

from __future__ import annotations

from zslkit.config.sections import (
    Config,
    FeatureConfig,
    Input,
    ProtocolConfig,
    build,
    known_keys,
)
from zslkit.config.train import Schedule, TrainConfig

__all__ = [
    "Config",
    "FeatureConfig",
    "Input",
    "ProtocolConfig",
    "Schedule",
    "TrainConfig",
    "build",
    "known_keys",
]
