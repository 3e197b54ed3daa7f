"""DEDN: a coarse and a fine expert with region and channel attention, which distil each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from zslkit.errors import UserError
from zslkit.functional import distillation_distance, seen_bias, self_calibration, unit_regions
from zslkit.model import AttentionMaps, GradientConfig, GradientModel, Task
from zslkit_dedn.attention import Branch
from zslkit_dedn.experts import Expert, Experts, ExpertScores
from zslkit_dedn.groups import CHOICES, choose, read_clusters, settled
from zslkit_dedn.losses import margin_aware_loss


class DEDNConfig(GradientConfig):
    """Settings of DEDN, named as in DEDN.md; defaults of the released CUB run where known."""

    experts: Literal["both", "cexp", "fexp"] = Field(
        "both", description="which experts there are; fewer than both for ablations"
    )
    branches: Literal["both", "region", "channel"] = Field(
        "both", description="which attentions a DAN has; fewer than both for ablations"
    )
    clusters: str | dict[str, list[int | str]] = Field(
        "groups",
        description=(
            "attribute clusters of fExp: groups, paper, released, kmeans, single, or a "
            "YAML file of cluster: [attributes]; auto: paper for the attributes of CUB, SUN or "
            "AWA2, else groups, else kmeans"
        ),
    )
    n_clusters: int = Field(6, ge=1, description="how many clusters kmeans makes")
    cluster_by: Literal["word_vectors", "attributes"] = Field(
        "word_vectors", description="what kmeans looks at"
    )
    rank: int | None = Field(
        None, ge=1, description="factor W1 as (W, h)(h, D), as the authors do on SUN"
    )
    bias: float = Field(1.0, description="b_k: -bias for seen, +bias for unseen classes")
    m_seen: float = Field(1.0, ge=0, description="margin added to every seen class")
    m_true: float = Field(3.0, ge=0, description="margin taken from the true class")
    lambda_cal: float = Field(0.0, ge=0, description="weight of self-calibration")
    lambda_e: float = Field(0.1, ge=0, description="weight of expert distillation")
    lambda_rc: float = Field(0.001, ge=0, description="weight of region-channel alignment")
    c_mix: float = Field(0.8, ge=0, le=1, description="share of the region branch at inference")
    e_mix: float = Field(0.9, ge=0, le=1, description="share of cExp at inference")
    words: Literal["given", "random", "auto"] = Field(
        "given",
        description="start of V: the dataset's word vectors, or random ones; auto: given, else "
        "random",
    )
    word_dim: int = Field(300, ge=1, description="width of random word vectors")

    @field_validator("clusters", mode="before")
    @classmethod
    def _read_file(cls, value: Any) -> Any:
        # The content of the file becomes the setting, so that identity and record contain it.
        if isinstance(value, str) and value.lower().endswith((".yaml", ".yml")):
            return read_clusters(Path(value))
        if not isinstance(value, str | dict):
            raise ValueError(f"clusters are one of {', '.join(CHOICES)}, or a YAML file")
        return value


class DEDN(GradientModel):
    """Dual Expert Distillation Network (Rao et al., IJCAI 2024)."""

    inputs = ("map", "image")
    needs = ("word_vectors",)
    protocol = "class-inductive"
    loss_is_mean = True
    citation = (
        "Rao et al., Dual Expert Distillation Network for Generalized Zero-Shot Learning, "
        "IJCAI 2024, pp. 4833-4841, arXiv:2404.16348"
    )
    bibtex = """\
@inproceedings{rao2024dedn,
  author = {Rao and others},
  title = {Dual Expert Distillation Network for Generalized Zero-Shot Learning},
  booktitle = {IJCAI},
  year = {2024},
  pages = {4833--4841},
  eprint = {2404.16348},
  archiveprefix = {arXiv}
}
"""
    presets = "presets"
    mixes: ClassVar[dict[str, tuple[Any, ...]]] = {
        "c_mix": (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
        "e_mix": (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0),
    }
    Config = DEDNConfig

    b: Tensor

    def __init__(self, config: DEDNConfig, task: Task) -> None:
        super().__init__(config, task)
        if task.map_shape is None:
            raise UserError(
                f"{task.dataset}: this model looks at regions and needs feature maps (D, H, W), "
                "not pooled features; prepare maps"
            )
        channels, height, width = task.map_shape
        words = self._words(config, task)
        clusters = choose(config.clusters, task, config.n_clusters, config.cluster_by)
        experts: tuple[Expert, ...] = (
            ("cexp", "fexp") if config.experts == "both" else (config.experts,)
        )
        branches: tuple[Branch, ...] = (
            ("region", "channel") if config.branches == "both" else (config.branches,)
        )
        self.experts = Experts(
            words, clusters, channels, height * width, config.rank, experts, branches
        )
        self.register_buffer("b", seen_bias(self.seen, config.bias), persistent=False)

    @staticmethod
    def _words(config: DEDNConfig, task: Task) -> Tensor:
        if config.words == "random" or (config.words == "auto" and task.word_vectors is None):
            return torch.randn(task.n_attributes, config.word_dim)
        if task.word_vectors is None:
            raise UserError(
                f"{task.dataset} has no word vectors of its attributes, which this model starts "
                "from; "
                "add them, or start at random with words=random"
            )
        return torch.from_numpy(task.word_vectors).float()

    def remarks(self) -> tuple[str, ...]:
        said = []
        if self.config.clusters == "auto":
            words = {
                "paper": "those of the paper, made for these attributes",
                "groups": "the dataset's attribute groups",
                "kmeans": "made by k-means, since the dataset has no attribute groups",
            }
            said.append(f"the attribute clusters are {words[settled(self.task)]}")
        if self.config.words == "auto" and self.task.word_vectors is None:
            said.append("the word vectors of the attributes are random, since the dataset has none")
        return tuple(said)

    def attribute_scores(self, x: Tensor) -> dict[Expert, ExpertScores]:
        """Attribute scores of each expert for inputs `(B, D, H, W)`, or images."""
        return self.experts(unit_regions(self.embed(x)))  # type: ignore[no-any-return]

    def class_scores(self, s: Tensor) -> Tensor:
        """z_k = a_k . s + b_k `(B, C)` for attribute scores s `(B, A)`."""
        return s @ self.attributes.T + self.b

    def expert_scores(self, x: Tensor) -> dict[Expert, Tensor]:
        """Class scores `(B, C)` of each expert at inference, with branches mixed by c_mix."""
        return {
            expert: self.class_scores(s.mixed(self.config.c_mix))
            for expert, s in self.attribute_scores(x).items()
        }

    def scores(self, x: Tensor) -> Tensor:
        return self.answers(x)[0]

    def predicted_attributes(self, x: Tensor) -> Tensor:
        """Attribute scores `(B, A)` of both experts, mixed like the class scores."""
        return self.answers(x)[1]

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class scores `(B, C)` and attribute scores `(B, A)`, mixed by c_mix and e_mix."""
        s = [scores.mixed(self.config.c_mix) for scores in self.attribute_scores(x).values()]
        return self._mixed([self.class_scores(part) for part in s]), self._mixed(s)

    def _mixed(self, experts: list[Tensor]) -> Tensor:
        """The experts' scores mixed by e_mix, or the only one's."""
        e_mix: float = self.config.e_mix
        if len(experts) == 1:
            return experts[0]
        return e_mix * experts[0] + (1 - e_mix) * experts[1]

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        """Region and channel attention of each expert; empty without a region branch."""
        feature_map = self.embed(x)
        parts = self.experts.attention(unit_regions(feature_map), self.config.c_mix)
        return {
            name: replace(
                part, maps=part.maps.reshape(*part.maps.shape[:2], *feature_map.shape[2:])
            )
            for name, part in parts.items()
        }

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Unweighted terms of DEDN.md and their weighted "total"; missing parts have no terms."""
        cfg = self.config
        terms: dict[str, Tensor] = {}
        total = torch.zeros((), device=label.device)
        z: list[Tensor] = []
        for name, s in self.attribute_scores(x).items():
            # A sum here, a convex mix at inference, as in the released program; c_mix therefore
            # also calibrates.
            z.append(self.class_scores(s.summed()))
            mal = terms[f"{name}_mal"] = margin_aware_loss(
                z[-1] - self.b, label, self.seen, cfg.m_seen, cfg.m_true
            )
            calibration = terms[f"{name}_calibration"] = self_calibration(z[-1], self.seen)
            total = total + mal + cfg.lambda_cal * calibration
            if s.region is not None and s.channel is not None:
                alignment = terms[f"{name}_alignment"] = distillation_distance(s.region, s.channel)
                total = total + cfg.lambda_rc * alignment
        if len(z) == 2:
            distillation = terms["expert_distillation"] = distillation_distance(*z)
            total = total + cfg.lambda_e * distillation
        return {**terms, "total": total}
