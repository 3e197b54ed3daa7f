"""Settings of a run: typed sections, and the source of every value."""

from __future__ import annotations

from zslkit.config.sections import (
    Config,
    FeatureConfig,
    Input,
    Pooling,
    ProtocolConfig,
    TrainConfig,
    build,
    known_keys,
)

__all__ = [
    "Config",
    "FeatureConfig",
    "Input",
    "Pooling",
    "ProtocolConfig",
    "TrainConfig",
    "build",
    "known_keys",
]
