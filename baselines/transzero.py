"""TransZero: a small transformer with attributes as decoder queries (Chen et al., AAAI 2022)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F_

from zslkit.config import TrainConfig
from zslkit.errors import UserError
from zslkit.functional import seen_bias, self_calibration, unit_regions
from zslkit.model import AttentionMaps, GradientConfig, GradientModel, Task

from .attribute_words import Words, attribute_words, words_remarks
from .dropout import Dropout

ANGLES = 64
"""Number of values that describe the geometry of two regions."""


class TransZeroTrainConfig(TrainConfig):
    """Gradient loop of the authors' CUB run: Adam with its usual betas."""

    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"] = "adam"


class TransZeroConfig(GradientConfig):
    """Settings of TransZero; defaults are those of the authors' CUB run."""

    lambda_cal: float = Field(0.3, ge=0, description="weight of the self-calibration loss")
    lambda_reg: float = Field(
        0.005, ge=0, description="weight of the regression of attribute scores"
    )
    entropy_over: Literal["all", "seen"] = Field(
        "all", description="classes that the cross entropy is taken over"
    )
    bias: float = Field(
        1.0,
        description=(
            "taken from seen and added to unseen class scores; the cross entropy does not see it"
        ),
    )
    width: int = Field(300, ge=1, description="d, of encoder and decoder")
    feed_forward: int = Field(512, ge=1, description="hidden units of both feed-forward parts")
    dropout: float = Field(0.4, ge=0, lt=1, description="of all else, in training")
    encoder_dropout: float = Field(
        0.1, ge=0, lt=1, description="of the encoder's attention; a constant in the program"
    )
    second_residual: bool = Field(
        True,
        description="add the regions once more after the encoder's attention; not in the paper",
    )
    std_W: float = Field(
        1.0,
        gt=0,
        description=(
            "standard deviation of W at the start; 1 / sqrt(width) lets attribute scores "
            "start near 1"
        ),
    )
    geometry: bool = Field(
        True, description="take the relative geometry of two regions from their attention"
    )
    self_attention: bool = Field(
        True, description="let attributes attend to each other before they attend to regions"
    )
    unit_regions: bool = Field(
        True, description="give each region unit length over the channels first"
    )
    normalise_V: bool = Field(
        False,
        description=(
            "divide each attribute's word vector by its L2 norm at every step, not only "
            "at the start"
        ),
    )
    lr_V: float = Field(1.0, gt=0, description="learning rate of V, times train.lr")
    word_vectors: Words = Field(
        "given", description="what V starts from; random needs none; auto: given, else random"
    )
    word_dim: int = Field(300, ge=1, description="width of V if it starts at random")
    train: TransZeroTrainConfig = TransZeroTrainConfig()


class TransZero(GradientModel):
    """One encoder layer over the regions of a map, one decoder layer over attributes.

    f_r are the regions of the map (D, R); every attention has one head.

    LN is layer normalisation, FF a feed-forward part d -> feed_forward -> d, att(Q, K, V) =
    softmax(Q K^T / sqrt(d)) V.

        u_r = U f_r                                             (R, d)
        G_rq = relu(w . [sin e_rq; cos e_rq] + b)               relative geometry of regions r and q
        u' = LN(u + softmax(u Q (u K)^T / sqrt(d) - G) u V)     encoder; G reduces attention
        u'' = LN(u + u')                                        second residual, only in the program
        m  = LN(u'' + FF(u''))                                  memory (R, d)
        q_i = T v_i                                             attribute i, word vector v_i, (A, d)
        q' = LN(q + att(q, q, q))                               self-attention of attributes
        h_i = LN(q'_i + att(q'_i, m, m))                        attention of attribute i to regions
        F_i = LN(h_i + FF(h_i))                                 (A, d)
        s_i = v_i W F_i                                         attribute score
        z_k = s . a_k -+ bias                                   minus if seen, plus if unseen

    Every att has its own linear maps of queries, keys, values and output. e_rq are 32 angles of the
    two cells (`relative_geometry`).

    Initialisation: V = the word vectors, L2-normalised per attribute, and trained; W ~ N(0,
    std_W^2); attention maps are Xavier uniform with biases 0, the decoder's queries, keys and
    values as one (3d, d) map; the rest is PyTorch's default. F_i has length sqrt(d) after LN, so
    with the authors' std_W = 1 attribute scores start near sqrt(d) = 17, and the cross entropy near
    20 on cub2010, where chance is 5.3.

    Loss: cross entropy on the unbiased scores + lambda_cal * self-calibration on the biased ones +
    lambda_reg * mean squared error of s and the true class's attributes.
    """

    inputs = ("map", "image")
    protocol = "class-inductive"
    loss_is_mean = True
    citation = (
        "Chen, Hong, Liu, Xie, Sun, Li, Peng, Lu and You. TransZero: attribute-guided "
        "transformer for zero-shot learning. AAAI 2022"
    )
    presets = "presets/transzero"
    check_settings: ClassVar = {
        "width": 32,
        "feed_forward": 32,
        "std_W": 0.18,
        "dropout": 0.1,
        "train.lr": 0.003,
    }
    Config = TransZeroConfig

    config: TransZeroConfig
    b: Tensor
    relative: Tensor

    def __init__(self, config: TransZeroConfig, task: Task) -> None:
        super().__init__(config, task)
        if task.map_shape is None:
            raise UserError(
                f"{task.dataset}: transzero looks at regions and needs feature maps (D, H, W); "
                "set features.input=map"
            )
        depth, *size = task.map_shape
        words = attribute_words("transzero", task, config.word_vectors, config.word_dim)
        d, p = config.width, config.dropout
        self.V = nn.Parameter(words)
        self.U = nn.Linear(depth, d)
        self.T = nn.Linear(words.shape[1], d)
        self.encoder, self.encoder_forward = (
            Attention(d, config.encoder_dropout, p),
            FeedForward(d, config.feed_forward, p),
        )
        self.again = nn.LayerNorm(d) if config.second_residual else None
        self.again_dropout = Dropout(p)
        self.geometry = nn.Linear(ANGLES, 1) if config.geometry else None
        self.among = Attention(d, p, p, stacked=True) if config.self_attention else None
        self.decoder, self.decoder_forward = (
            Attention(d, p, p, stacked=True),
            FeedForward(d, config.feed_forward, p),
        )
        self.W = nn.Parameter(torch.randn(words.shape[1], d) * config.std_W)
        self.register_buffer("b", seen_bias(self.seen, config.bias), persistent=False)
        relative = (
            relative_geometry(size[0], size[1]).float() if config.geometry else torch.empty(0)
        )
        self.register_buffer("relative", relative, persistent=False)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"words": [self.V], "rest": [p for p in self.parameters() if p is not self.V]}

    def learning_rate(self, epoch: int, group: str) -> float:
        """train.lr with its decay, times lr_V for V.

        V alone distinguishes attributes and starts nearly collinear, so a higher rate can help.
        """
        return super().learning_rate(epoch, group) * (self.config.lr_V if group == "words" else 1.0)

    def remarks(self) -> tuple[str, ...]:
        return words_remarks(self.task, self.config.word_vectors)

    def scores(self, x: Tensor) -> Tensor:
        return self.answers(x)[0]

    def predicted_attributes(self, x: Tensor) -> Tensor:
        """s `(B, A)`, the factors of the class attributes."""
        return self.answers(x)[1]

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class scores `(B, C)` and their factors `(B, A)`."""
        s, _ = self.attribute_scores(self.embed(x))
        return self.class_scores(s), s

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Cross entropy, and weighted self-calibration and regression of the attribute scores."""
        s, _ = self.attribute_scores(self.embed(x))
        z = self.class_scores(s)
        unbiased = z - self.b
        if self.config.entropy_over == "seen":
            unbiased = unbiased.masked_fill(~self.seen, float("-inf"))
        return {
            "cross_entropy": F_.cross_entropy(unbiased, label),
            "calibration": self.config.lambda_cal * self_calibration(z, self.seen),
            "regression": self.config.lambda_reg * F_.mse_loss(s, self.attributes[label]),
        }

    def class_scores(self, s: Tensor) -> Tensor:
        """s . a_k -+ bias `(B, C)` of attribute scores s `(B, A)`."""
        return s @ self.attributes.T + self.b

    def attribute_scores(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """s `(B, A)` of maps `(B, D, H, W)`, and the decoder's attention `(B, A, R)`."""
        F = unit_regions(feature_map) if self.config.unit_regions else feature_map.flatten(2)
        V = F_.normalize(self.V, dim=1) if self.config.normalise_V else self.V
        u = self.U(F.mT)
        less = None if self.geometry is None else self.geometry(self.relative).squeeze(-1).relu()
        encoded = self.encoder(u, u, less)[0]
        if self.again is not None:
            encoded = self.again(u + self.again_dropout(encoded))
        memory = self.encoder_forward(encoded)
        queries = self.T(V).unsqueeze(0)
        if self.among is not None:
            queries = self.among(queries, queries)[0]
        found, attention = self.decoder(queries, memory)
        return (self.decoder_forward(found) * (V @ self.W)).sum(dim=2), attention

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        """Decoder attention of each attribute, maps that sum to 1 over positions, with s."""
        f = self.embed(x)
        s, attention = self.attribute_scores(f)
        return {"decoder": AttentionMaps(attention.reshape(len(f), -1, *f.shape[2:]), s)}


class Attention(nn.Module):
    """LN(query + attention of the query to the keys), one head of width d.

    Args:
        d: Width.
        p_weights: Dropout of the attention weights, in training.
        p: Dropout of the output before it is added.
        stacked: Initialise queries, keys and values as one map (3d, d), and the output as PyTorch
            does.
    """

    def __init__(self, d: int, p_weights: float, p: float, stacked: bool = False) -> None:
        super().__init__()
        self.Q, self.K, self.V, self.out = (nn.Linear(d, d) for _ in range(4))
        for part in (self.Q, self.K, self.V) if stacked else (self.Q, self.K, self.V, self.out):
            nn.init.xavier_uniform_(part.weight, gain=math.sqrt(0.5) if stacked else 1.0)
        for part in (self.Q, self.K, self.V, self.out):
            nn.init.zeros_(part.bias)
        self.norm, self.weights_dropout, self.dropout = (
            nn.LayerNorm(d),
            Dropout(p_weights),
            Dropout(p),
        )

    def forward(
        self, query: Tensor, key: Tensor, less: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Apply the layer.

        Args:
            query: `(B or 1, n, d)`.
            key: `(B or 1, m, d)`.
            less: `(n, m)`, subtracted from the logits.

        Returns:
            The result `(B, n, d)` and the attention weights `(B, n, m)`.
        """
        logits = self.Q(query) @ self.K(key).mT / math.sqrt(query.shape[2])
        weights = (logits if less is None else logits - less).softmax(dim=2)
        # The output map is applied before mixing: equal by linearity, and cheaper, since there
        # are fewer regions than attributes.
        values = F_.linear(self.V(key), self.out.weight)
        answer = self.weights_dropout(weights) @ values + self.out.bias
        return self.norm(query + self.dropout(answer)), weights


class FeedForward(nn.Module):
    """LN(x + FF(x)) with one hidden layer, and dropout p in training."""

    def __init__(self, d: int, hidden: int, p: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(d, hidden), nn.ReLU(), Dropout(p), nn.Linear(hidden, d), Dropout(p)
        )
        self.norm = nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.layers(x))  # type: ignore[no-any-return]


def relative_geometry(height: int, width: int) -> Tensor:
    """Sines and cosines of 32 angles for each pair of cells of a map, as in the authors' program.

    Each cell is a box with its centre as a fraction of the map. The four entries of a pair are log
    max(|dy| / (1 / height + 1), 1e-3), the same for dx, and twice 0, the log ratio of equal sides.
    Each is multiplied by 100 / 1000^(j / 8) for j = 0..7.

    Returns:
        `(R, R, ANGLES)` float64.
    """
    row = (torch.arange(height, dtype=torch.float64).repeat_interleave(width) + 0.5) / height
    column = (torch.arange(width, dtype=torch.float64).repeat(height) + 0.5) / width
    apart = [
        ((c[:, None] - c).abs() / (1 / n + 1)).clamp(min=1e-3).log()
        for c, n in ((row, height), (column, width))
    ]
    entries = torch.stack([*apart, torch.zeros_like(apart[0]), torch.zeros_like(apart[0])], dim=2)
    waves = 100.0 * 1000.0 ** -(torch.arange(8, dtype=torch.float64) / 8)
    angles = (entries[..., None] * waves).flatten(2)
    return torch.cat([angles.sin(), angles.cos()], dim=2)
