"""Equations shared by several models: attention, losses and biases. Part of the plugin API."""

from __future__ import annotations

from zslkit.functional.attention import (
    channel_attention,
    channel_attention_plain,
    region_answers,
    region_attention,
    unit_regions,
)
from zslkit.functional.losses import (
    distillation_distance,
    seen_bias,
    self_calibration,
    whole_batch,
    whole_sum,
)

__all__ = [
    "channel_attention",
    "channel_attention_plain",
    "distillation_distance",
    "region_answers",
    "region_attention",
    "seen_bias",
    "self_calibration",
    "unit_regions",
    "whole_batch",
    "whole_sum",
]
