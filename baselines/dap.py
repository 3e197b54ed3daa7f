"""DAP: classifies by independently predicted attributes (Lampert et al., TPAMI 2014)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from zslkit.errors import TrainingError
from zslkit.model import Model, Task, Trainer, TrainingView

from .convex import minimise
from .pooled import PooledConfig, Scaling


class DAPConfig(PooledConfig):
    """Settings of DAP."""

    threshold: Literal["table", "attribute"] = Field(
        "table",
        description=(
            "a class has an attribute if its value is above the mean of the seen classes' "
            "table, or of the attribute in it"
        ),
    )
    decay: float = Field(
        1e-4, ge=0, description="L2 penalty of the logistic regressions, against their mean loss"
    )


class DAP(Model):
    """Scores log prod_m p(b_m = b_km | x) / p(b_m = b_km) with binary attributes b_km of class k.

    p(b_m = 1 | x) is one logistic regression per attribute, trained on the binary attributes of
    each image's class; the prior p(b_m = 1) is the share of seen classes with the attribute.
    Attributes that all or no seen classes have are left out.
    """

    inputs = ("pooled",)
    protocol = "inductive"
    citation = (
        "Lampert, Nickisch and Harmeling. Attribute-based classification for zero-shot "
        "visual object categorization. TPAMI 2014"
    )
    presets = "presets/dap"
    search: ClassVar = {"threshold": ("table", "attribute"), "decay": (1e-5, 3e-5, 1e-4)}
    Config = DAPConfig

    config: DAPConfig
    W: Tensor
    b: Tensor
    varying: Tensor
    binary: Tensor
    prior: Tensor

    def __init__(self, config: DAPConfig, task: Task) -> None:
        super().__init__(config, task)
        self.scaling = Scaling(config, task.feature_shape[0])
        known = self.attributes[self.seen]
        binary = (
            self.attributes > (known.mean() if config.threshold == "table" else known.mean(dim=0))
        ).float()
        prior = binary[self.seen].mean(dim=0)
        varying = (prior > 0) & (prior < 1)
        self.register_buffer("varying", varying, persistent=False)
        self.register_buffer("binary", binary[:, varying], persistent=False)
        self.register_buffer("prior", prior[varying], persistent=False)
        self.register_buffer("W", torch.zeros(task.feature_shape[0], int(varying.sum())))
        self.register_buffer("b", torch.zeros(int(varying.sum())))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Train all logistic regressions at once.

        Raises:
            TrainingError: No attribute separates seen classes.
        """
        if len(self.b) == 0:
            raise TrainingError(
                "dap: no attribute is above the threshold in some seen classes and below it in "
                "others with threshold = "
                f"{self.config.threshold}; set threshold to the other choice"
            )
        x, label = self.scaling.measure(view, "dap", trainer.device)
        there = self.binary[label]
        # Mean over images of the sum over attributes, so that the regressions are independent.
        W, b, left = minimise(
            x,
            len(self.b),
            self.config.decay,
            lambda z: F.binary_cross_entropy_with_logits(z, there, reduction="sum") / len(z),
            "dap",
        )
        self.W.copy_(W)
        self.b.copy_(b)
        trainer.log(decay=self.config.decay, attributes=len(b), gradient=left)

    def scores(self, x: Tensor) -> Tensor:
        return log_posterior(self._logits(x), self.binary, self.prior)

    def predicted_attributes(self, x: Tensor) -> Tensor:
        """Logits of p(b_m = 1 | x) `(B, A)`.

        NaN for attributes that all or no seen classes have.
        """
        predicted = x.new_full((len(x), len(self.varying)), float("nan"))
        predicted[:, self.varying] = self._logits(x)
        return predicted

    def _logits(self, x: Tensor) -> Tensor:
        return torch.addmm(self.b, self.scaling(x), self.W)


def log_posterior(z: Tensor, binary: Tensor, prior: Tensor) -> Tensor:
    """sum_m log p(b_m = b_km | x) - log p(b_m = b_km).

    Args:
        z: `(B, M)` logits.
        binary: `(C, M)` 0 or 1.
        prior: `(M,)` in 0..1.

    Returns:
        `(B, C)`.
    """
    there, absent = F.logsigmoid(z) - prior.log(), F.logsigmoid(-z) - (-prior).log1p()
    return there @ binary.T + absent @ (1 - binary).T
