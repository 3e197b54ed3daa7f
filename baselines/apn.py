"""APN: attribute prototypes that localise attributes in the image (Xu et al., NeurIPS 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F_

from zslkit.config import TrainConfig
from zslkit.errors import UserError, did_you_mean
from zslkit.functional import whole_sum
from zslkit.model import AttentionMaps, GradientConfig, GradientModel, Task

from .attribute_maps import compactness, decorrelation, joined


class APNTrainConfig(TrainConfig):
    """Gradient loop of the released CUB run: Adam with beta1 0.5, batches of 64."""

    epochs: int = Field(30, ge=0)
    batch_size: int = Field(64, ge=1)
    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"] = "adam"
    lr: float = Field(1e-6, gt=0, description="after the warm-up")
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.5, ge=0, lt=1, description="beta1 of Adam")
    lr_factor: float = Field(
        0.8, gt=0, le=1, description="learning rate times this every lr_every epochs"
    )


class APNConfig(GradientConfig):
    """Settings of APN; a weight of 0 disables a term. Defaults are those of the released CUB run.

    equations: "paper" as printed, or "released" as in the authors' program. They differ in three
    terms:

    - cross entropy: of the scores; the program uses softmaxed scores as logits;
    - decorrelation: sum over groups and channels of norms; the program uses one norm per group, and
    on CUB counts the part belly twice and others never (parts);
    - compactness: weighted by the similarity M; the program weights by sigmoid(M), which is never
    negative, and leaves the term out of the warm-up.

    The published weights belong to the program's terms.
    """

    equations: Literal["paper", "released"] = Field(
        "paper", description="loss terms as printed, or as the authors' program has them"
    )
    pooling: Literal["average", "max"] = Field(
        "average", description="how the global attribute scores pool their map"
    )
    output: Literal["softmax", "scores"] = Field(
        "softmax", description="what calibrated stacking works on"
    )
    use_groups: bool = Field(
        True, description="decorrelate between the dataset's attribute groups; no: one group of all"
    )
    parts: tuple[str, ...] = Field(
        (),
        description=(
            "names of groups to decorrelate, each as often as it is named; none: every "
            "group of the dataset once"
        ),
    )
    w_attribute: float = Field(0.01, ge=0, description="regression of the global attribute scores")
    w_local_attribute: float = Field(
        0.1, ge=0, description="regression of the local attribute scores"
    )
    w_local_class: float = Field(
        0.0,
        ge=0,
        description="cross entropy of the local scores, as the released CUB and SUN runs have it",
    )
    w_decorrelation: float = Field(0.04, ge=0, description="group decorrelation of the prototypes")
    w_global_decorrelation: float = Field(
        0.0, ge=0, description="the same of the global embedding, as the released runs have it"
    )
    w_compactness: float = Field(
        1e-9, ge=0, description="compactness of the similarity maps, summed over the batch"
    )
    warmup_epochs: int = Field(
        5, ge=0, description="epochs in which only prototypes and global embedding are trained"
    )
    warmup_lr: float = Field(1e-4, gt=0, description="learning rate of those epochs")
    freeze: tuple[str, ...] = Field(
        (),
        description=(
            "parts of a trainable backbone that stay as they are, as beginnings of parameter names"
        ),
    )
    train: APNTrainConfig = APNTrainConfig()


class APN(GradientModel):
    """Attribute prototype network over a feature map f (D, H, W).

    The backbone is trained with it or frozen.

        g = V f, pooled over positions          global attribute scores, V (A, D): a 1x1 convolution
        M_i = <f, p_i> at each position         similarity map of attribute i, prototypes P (A, D)
        l_i = max over positions of M_i         local attribute score
        z_k = g . a_k                           class score

    V and P are initialised from 2e-4 * U(0, 1), as in the authors' program.

    With frozen maps the local terms train P alone, and no class score depends on P: with
    pooling=average the model is one linear map of pooled features, and tables say so.

    `scores` returns softmax(z) over all classes by default, because the gamma of the paper's
    calibrated stacking (0.7 on CUB and AWA2, 0.4 on SUN, picked on test images there) applies to
    probabilities. The softmax keeps the order of classes, so only calibration changes;
    output=scores returns z.
    """

    inputs = ("image", "map")
    protocol = "inductive"
    loss_is_mean = True
    citation = (
        "Xu, Xian, Wang, Schiele and Akata. Attribute prototype network for zero-shot "
        "learning. NeurIPS 2020"
    )
    presets = "presets/apn"
    Config = APNConfig

    config: APNConfig
    column: Tensor
    seen_rows: Tensor
    members: Tensor

    def __init__(self, config: APNConfig, task: Task) -> None:
        super().__init__(config, task)
        if task.map_shape is None:
            raise UserError(
                f"{task.dataset}: apn compares regions with prototypes and needs images or "
                "feature maps; set features.input=map"
            )
        shape = (task.n_attributes, task.map_shape[0])
        self.V = nn.Parameter(2e-4 * torch.rand(shape))
        self.P = nn.Parameter(2e-4 * torch.rand(shape))
        self.groups = attribute_groups(config, task)
        # Indices instead of masks and lists, which would stop an accelerator in every step.
        members, self.sizes = joined(self.groups)
        self.register_buffer("members", members, persistent=False)
        self.register_buffer("seen_rows", self.seen.nonzero().flatten(), persistent=False)
        self.warming_up = False
        # Index of each class among the seen classes.
        self.register_buffer("column", self.seen.long().cumsum(0) - 1, persistent=False)
        if self.backbone is not None:
            freeze(self.backbone, config.freeze)

    @classmethod
    def linear_when_frozen(cls, config: APNConfig) -> bool:
        # The largest of many linear maps, one for each position, is none itself.
        return config.pooling == "average"

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        backbone = (
            []
            if self.backbone is None
            else [p for p in self.backbone.parameters() if p.requires_grad]
        )
        return {"prototypes": [self.V, self.P], **({"backbone": backbone} if backbone else {})}

    def begin_epoch(self, epoch: int) -> None:
        self.warming_up = epoch < self.config.warmup_epochs

    def learning_rate(self, epoch: int, group: str) -> float:
        """Warm-up of the prototypes alone, then one decaying rate, counted from the first epoch."""
        if epoch < self.config.warmup_epochs:
            return self.config.warmup_lr if group == "prototypes" else 0.0
        return super().learning_rate(epoch, group)

    def scores(self, x: Tensor) -> Tensor:
        return self.answers(x)[0]

    def predicted_attributes(self, x: Tensor) -> Tensor:
        """Global attribute scores g `(B, A)`, from which classes are scored."""
        return self.answers(x)[1]

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class scores `(B, C)` and global attribute scores `(B, A)`."""
        g = self.global_scores(self.embed(x).flatten(2))
        z = g @ self.attributes.T
        # float64: if one class has nearly all the mass, float32 would round all others to 0.
        return z.double().softmax(dim=1) if self.config.output == "softmax" else z, g

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        """Similarity maps M_i, unbounded, and global attribute scores g."""
        f = self.embed(x)
        regions = f.flatten(2)
        maps = self.similarity(regions).view(len(f), -1, *f.shape[2:])
        return {"prototypes": AttentionMaps(maps, self.global_scores(regions))}

    def global_scores(self, f: Tensor) -> Tensor:
        """g `(B, A)` of regions f `(B, D, R)`."""
        if self.config.pooling == "max":
            return torch.matmul(self.V, f).amax(dim=2)
        return f.mean(dim=2) @ self.V.T

    def similarity(self, f: Tensor) -> Tensor:
        """M `(B, A, R)` of regions f `(B, D, R)`."""
        return torch.matmul(self.P, f)

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Weighted terms, without those of weight 0."""
        cfg, f = self.config, self.embed(x)
        size = (f.shape[2], f.shape[3])
        f = f.flatten(2)
        g, M = self.global_scores(f), self.similarity(f)
        local = M.amax(dim=2)
        target = self.attributes[label]
        terms = {"cross_entropy": self._cross_entropy(g, label)}
        if cfg.w_local_class:
            terms["local_class"] = cfg.w_local_class * self._cross_entropy(local, label)
        if cfg.w_attribute:
            terms["attribute"] = cfg.w_attribute * F_.mse_loss(g, target)
        if cfg.w_local_attribute:
            terms["local_attribute"] = cfg.w_local_attribute * F_.mse_loss(local, target)
        if cfg.w_decorrelation:
            terms["decorrelation"] = cfg.w_decorrelation * self._decorrelation(self.P)
        if cfg.w_global_decorrelation:
            terms["global_decorrelation"] = cfg.w_global_decorrelation * self._decorrelation(self.V)
        if cfg.w_compactness and not (self.warming_up and cfg.equations == "released"):
            weight = M if cfg.equations == "paper" else M.sigmoid()
            # the only term that is a sum over the batch instead of a mean
            terms["compactness"] = cfg.w_compactness * whole_sum(
                compactness(weight, M.argmax(dim=2), size)
            )
        return terms

    def _decorrelation(self, table: Tensor) -> Tensor:
        # The program adds 1e-8 to the squares of each channel if there are groups, and nothing
        # for the whole matrix.
        released = self.config.equations == "released"
        return decorrelation(
            table,
            torch.split(self.members, self.sizes),
            not released,
            0.0 if released and len(self.groups) == 1 else 1e-8,
        )

    def _cross_entropy(self, attribute_scores: Tensor, label: Tensor) -> Tensor:
        """Cross entropy over the seen classes only.

        Args:
            attribute_scores: `(B, A)`.
            label: `(B,)` ids among all classes.
        """
        z = attribute_scores @ self.attributes.index_select(0, self.seen_rows).T
        if self.config.equations == "released":
            z = z.softmax(dim=1)
        return F_.cross_entropy(z, self.column[label])


def attribute_groups(config: APNConfig, task: Task) -> list[tuple[int, ...]]:
    """Groups for decorrelation. Raises UserError for an unknown group in `parts`."""
    if not config.use_groups or not task.groups:
        return [tuple(range(task.n_attributes))]
    for part in config.parts:
        if part not in task.groups:
            raise UserError(
                f"apn: parts names {part!r}, and {task.dataset} has no such attribute "
                f"group{did_you_mean(part, task.groups)}"
            )
    return [task.groups[part] for part in config.parts or task.groups]


def freeze(backbone: nn.Module, beginnings: tuple[str, ...]) -> None:
    """Freeze the parameters whose names begin with one of `beginnings`, such as "layer1".

    Wrappers around the whole backbone are not part of a name.

    Raises:
        UserError: No parameter has such a name.
    """
    while len(inner := list(backbone.children())) == 1 and not list(
        backbone.parameters(recurse=False)
    ):
        backbone = inner[0]
    parameters = dict(backbone.named_parameters())
    for beginning in beginnings:
        chosen = [name for name in parameters if f"{name}.".startswith(f"{beginning}.")]
        if not chosen:
            parts = ", ".join(sorted({name.split(".")[0] for name in parameters}))
            raise UserError(
                f"apn: freeze names {beginning!r} and the backbone has no such part; it has: "
                f"{parts}"
            )
        for name in chosen:
            parameters[name].requires_grad_(False)
