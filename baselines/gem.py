"""GEM-ZSL: pooled attribute scores with losses on localisation (Liu et al., CVPR 2021)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F_

from zslkit.config import TrainConfig
from zslkit.errors import UserError
from zslkit.model import AttentionMaps, GradientConfig, GradientModel, Task

from .attribute_maps import compactness, decorrelation, joined
from .attribute_words import Words, attribute_words, words_remarks


class GEMTrainConfig(TrainConfig):
    """Gradient loop of the released CUB run."""

    epochs: int = Field(15, ge=0)
    batch_size: int = Field(8, ge=1)
    sampling: Literal["uniform", "balanced"] = Field(
        "balanced", description="balanced: distinct classes at random, one image each"
    )
    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"] = "sgd"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-5, ge=0)
    lr_factor: float = Field(
        0.5, gt=0, le=1, description="learning rate times this every lr_every epochs"
    )


class GEMConfig(GradientConfig):
    """Settings of GEM-ZSL; a weight of 0 disables a term. Defaults of the released CUB run."""

    scale: float = Field(
        20.0, gt=0, description="of the cosine between embedding and class attributes"
    )
    std: float = Field(1.0, gt=0, description="standard deviation of V and E at the start")
    w_attribute: float = Field(
        1.0, ge=0, description="regression of each attribute's largest share of attention"
    )
    w_decorrelation: float = Field(
        0.1, ge=0, description="group decorrelation of the attribute queries"
    )
    w_compactness: float = Field(0.2, ge=0, description="compactness of the attention maps")
    use_groups: bool = Field(
        True, description="decorrelate between the dataset's attribute groups; no: one group of all"
    )
    word_vectors: Words = Field(
        "given",
        description="what the word encoder reads; random needs none; auto: given, else random",
    )
    word_dim: int = Field(300, ge=1, description="width of the word vectors if they are random")
    train: GEMTrainConfig = GEMTrainConfig()


class GEMZSL(GradientModel):
    """Global attribute scores of a feature map f (D, H, W), trained with attribute localisation.

    The backbone is trained or frozen; the attribute word vectors w_i (W,) are fixed.

        g = V GAP(f)                          global attribute scores, V (A, D), GAP the mean
        z_k = scale * n(g) . n(a_k)           class score, n(v) = v / (||v|| + 1e-5)
        q_i = E w_i                           query of attribute i, E (D, W)
        A_i = softmax over positions of <f, q_i>    attention map
        l_i = max over positions of A_i       local attribute score, between 0 and 1

    Loss: cross entropy of z over the seen classes

        + w_attribute * mean squared error of l and the true class's attributes
        + w_decorrelation * mean over attribute groups and channels of the norm of the group's q
          in that channel
        + w_compactness * mean over images, attributes and positions of A_i * squared distance
          to its peak, in cells.

    Initialisation: V, E ~ N(0, std^2), with std 1 in the authors' program.

    The local part only matters in training: it shapes the map that g uses if the backbone is
    trained (features.input=image). With frozen maps it has no effect on class scores, and the model
    is a linear map of pooled features. The paper's gaze data are not used, as in the authors'
    program.
    """

    inputs = ("image", "map")
    protocol = "inductive"
    loss_is_mean = True
    citation = (
        "Liu, Zhou, Bai, Huang, Gu, Zhou and Harada. Goal-oriented gaze estimation for "
        "zero-shot learning. CVPR 2021"
    )
    presets = "presets/gem"
    Config = GEMConfig

    config: GEMConfig
    words: Tensor
    members: Tensor

    def __init__(self, config: GEMConfig, task: Task) -> None:
        super().__init__(config, task)
        if task.map_shape is None:
            raise UserError(
                f"{task.dataset}: gemzsl looks for attributes and needs images or feature maps; "
                "set features.input=map"
            )
        depth = task.map_shape[0]
        words = attribute_words("gemzsl", task, config.word_vectors, config.word_dim, unit=False)
        self.V = nn.Parameter(config.std * torch.randn(task.n_attributes, depth))
        self.E = nn.Parameter(config.std * torch.randn(depth, words.shape[1]))
        self.register_buffer("words", words)
        self.groups = (
            list(task.groups.values())
            if config.use_groups and task.groups
            else [tuple(range(task.n_attributes))]
        )
        members, self.sizes = joined(self.groups)
        self.register_buffer("members", members, persistent=False)

    @classmethod
    def linear_when_frozen(cls, config: GEMConfig) -> bool:
        return True

    def remarks(self) -> tuple[str, ...]:
        return words_remarks(self.task, self.config.word_vectors)

    def scores(self, x: Tensor) -> Tensor:
        return self.class_scores(self.global_scores(self.embed(x)))

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Weighted terms, without those of weight 0."""
        cfg, f = self.config, self.embed(x)
        z = self.class_scores(self.global_scores(f)).masked_fill(~self.seen, float("-inf"))
        terms = {"cross_entropy": F_.cross_entropy(z, label)}
        if not (cfg.w_attribute or cfg.w_decorrelation or cfg.w_compactness):
            return terms
        q = self.words @ self.E.T
        A = self.maps(f, q)
        if cfg.w_attribute:
            terms["attribute"] = cfg.w_attribute * F_.mse_loss(
                A.amax(dim=2), self.attributes[label]
            )
        if cfg.w_decorrelation:
            terms["decorrelation"] = (
                cfg.w_decorrelation
                * decorrelation(q, torch.split(self.members, self.sizes))
                / (len(self.groups) * q.shape[1])
            )
        if cfg.w_compactness:
            spread = compactness(A, A.detach().argmax(dim=2), (f.shape[2], f.shape[3]))
            terms["compactness"] = cfg.w_compactness * spread / A.numel()
        return terms

    def maps(self, f: Tensor, q: Tensor) -> Tensor:
        """Attention maps A `(B, A, R)`, at least in float32.

        Args:
            f: Maps `(B, D, H, W)`.
            q: Queries `(A, D)`.
        """
        M = q @ f.flatten(2)
        return M.to(torch.promote_types(M.dtype, torch.float32)).softmax(dim=2)

    def global_scores(self, f: Tensor) -> Tensor:
        """g `(B, A)` of maps f `(B, D, H, W)`."""
        return f.mean(dim=(2, 3)) @ self.V.T

    def class_scores(self, g: Tensor) -> Tensor:
        """scale * n(g) . n(a_k) `(B, C)` of g `(B, A)`."""
        return self.config.scale * _unit(g) @ _unit(self.attributes).T

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        """Attention maps A_i, which sum to 1 over positions, and global attribute scores g."""
        f = self.embed(x)
        maps = self.maps(f, self.words @ self.E.T).view(len(f), -1, *f.shape[2:])
        return {"attributes": AttentionMaps(maps, self.global_scores(f))}


def _unit(v: Tensor) -> Tensor:
    """n(v) of each row, approximately of unit length."""
    unit: Tensor = v / (v.norm(dim=1, keepdim=True) + 1e-5)
    return unit
