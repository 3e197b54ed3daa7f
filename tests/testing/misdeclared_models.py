"""Models that say something of themselves that is wrong, each one thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import ConfigDict
from sound_models import Good
from torch import Tensor
from torch.nn import functional as F

from zslkit.errors import UserError
from zslkit.model import GradientConfig, Model, Task


class OtherContract(Good):
    contract = 99


class StrangeInput(Good):
    inputs = ("sound",)  # type: ignore[assignment]


class StrangeNeed(Good):
    needs = ("wings",)


class StrangeProtocol(Good):
    protocol = "inductiv"  # type: ignore[assignment]


class NoCitation(Good):
    citation = " "


class MisspeltExpectation(Good):
    expected_failures: ClassVar[Mapping[str, str]] = {"bfloat": "it cannot"}


class NoReason(Good):
    expected_failures: ClassVar[Mapping[str, str]] = {"bfloat16": ""}


class RequiredConfig(GradientConfig):
    width: int


class NoDefault(Good):
    Config = RequiredConfig


class LaxConfig(GradientConfig):
    model_config = ConfigDict(extra="allow")


class AcceptsAnything(Good):
    Config = LaxConfig


class MapsAlone(Good):
    """Says that it takes pooled features, and cannot."""

    def scores(self, x: Tensor) -> Tensor:
        return 20 * F.normalize(self.project(x.mean(dim=(2, 3))), dim=1) @ self.attributes.T


class WordsWithoutAsking(Good):
    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("words", torch.from_numpy(task.word_vectors).mean(dim=1))  # type: ignore[arg-type]


class NeedsWords(Good):
    needs = ("word_vectors",)

    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        if task.word_vectors is None:
            raise UserError("no word vectors; add them")


class NeedsNothing(Good):
    needs = ("word_vectors",)


MISDECLARED: list[tuple[type[Model], str, str]] = [
    (OtherContract, "contract", "contract 99"),
    (StrangeInput, "contract", "sound"),
    (StrangeNeed, "contract", "wings"),
    (StrangeProtocol, "contract", 'did you mean "inductive"'),
    (NoCitation, "citation", "empty"),
    (MisspeltExpectation, "expected_failures", 'did you mean "bfloat16"'),
    (NoReason, "expected_failures", "no reason for 'bfloat16'"),
    (NoDefault, "default_config", "lacks 'width'"),
    (AcceptsAnything, "unknown_keys", "attributess"),
    (MapsAlone, "declared_inputs", "with input 'pooled'"),
    (WordsWithoutAsking, "missing_semantics", "without word vectors: TypeError"),
]
"""Model, the check that it fails, and what that says."""
