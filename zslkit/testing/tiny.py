"""A tiny made-up dataset in memory: all input types and semantics, learnable in seconds.

The 15 classes combine four properties (colour, shape, size, texture) of three values each: 12
attributes in four groups. The 9 seen classes form the tetracode, so every two values of different
properties occur together in exactly one of them; the 6 unseen classes combine the same values
otherwise. All dimensions have different sizes, so that swapped axes fail.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zslkit.config import Input
from zslkit.dataset import Dataset, Split
from zslkit.features.backbones import Backbone, Transform
from zslkit.features.forward import ImageInputs
from zslkit.model import ModelConfig, Task
from zslkit.readers.images import ArrayImages
from zslkit.semantics import Semantics
from zslkit.training.fit import make_task
from zslkit.training.inputs import Inputs, form_of
from zslkit.training.view import ArraySource

GROUPS = {
    "colour": ("red", "green", "blue"),
    "shape": ("round", "square", "long"),
    "size": ("small", "middling", "large"),
    "texture": ("plain", "striped", "dotted"),
}
SEEN, UNSEEN = 9, 6
TRAINVAL, TEST_SEEN, TEST_UNSEEN = 6, 3, 5
"""Images per class in each set."""
CHANNELS, HEIGHT, WIDTH = 16, 3, 4
CELL = 4
"""Pixels along one cell of the feature map."""
WORD_WIDTH = 10
STRENGTH, NOISE = 5.0, 0.2
"""Value of a channel whose attribute is present, and standard deviation of the noise.

Pooled features then have about the scale of a ResNet's."""
BRIGHTNESS = 16.0
"""Grey levels per unit of a channel."""
TRANSFORM = Transform(size=None, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bilinear")


def tiny_dataset(
    *, images: bool = True, word_vectors: bool = True, groups: bool = True, seed: int = 0
) -> Dataset:
    """15 classes with 12 attributes and 111 images of 12 x 16 pixels, determined by the seed.

    Pooled features `(N, 16)`, maps `(N, 16, 3, 4)` and pixels are linear in the class attributes,
    plus noise. Each attribute group appears in one corner of the image. images=False leaves only
    pooled features, as in datasets without photos.
    """
    made = _made(seed)
    semantics = made.semantics
    if not word_vectors:
        semantics = replace(semantics, word_vectors=None)
    if not groups:
        semantics = replace(semantics, groups={})
    return replace(made, semantics=semantics, images=made.images if images else None)


def tiny_inputs(
    dataset: Dataset, kind: Input = "pooled", encoder: Backbone | None = None
) -> Inputs:
    """Inputs of a tiny dataset, prepared as by the harness with a small backbone.

    Args:
        kind: "pooled" has shape (16,), "map" (16, 3, 4), "image" (3, 12, 16) with `build_backbone`.
        encoder: Image encoder of a model, used instead of the small backbone.
    """
    if encoder is not None:
        return _encoded(dataset, kind, encoder)
    size = (HEIGHT * CELL, WIDTH * CELL)
    form = form_of(kind, size, (CHANNELS, HEIGHT, WIDTH), TinyBackbone)
    facts = ("tiny", "made up", "tiny", f"tiny {kind}")
    if kind == "pooled":
        assert dataset.features is not None
        return Inputs(*form, ArraySource(dataset.features), *facts, None)
    assert isinstance(dataset.images, ArrayImages), "this tiny dataset was made without images"
    if kind == "map":
        return Inputs(*form, ArraySource(_maps(dataset.images)), *facts, size)
    return Inputs(*form, ImageInputs(dataset.images, TRANSFORM), *facts, size)


def tiny_task(
    kind: Input = "pooled",
    config: ModelConfig | None = None,
    *,
    word_vectors: bool = True,
    groups: bool = True,
    seed: int = 0,
) -> Task:
    """Task of the tiny dataset, to construct a model: `Mine(MineConfig(), tiny_task("map"))`.

    `config` decides the normalisation of attributes.
    """
    dataset = tiny_dataset(word_vectors=word_vectors, groups=groups, seed=seed)
    return make_task(dataset, tiny_inputs(dataset, kind), config or ModelConfig())


class TinyBackbone(nn.Module):
    """Images `(B, 3, 12, 16)` to maps `(B, 16, 3, 4)`.

    Initialised to read the channels from which the pixels were drawn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, CHANNELS, CELL, stride=CELL)
        self.normalisation = nn.BatchNorm2d(CHANNELS)
        weight = torch.from_numpy(_patterns().T * (127.5 / BRIGHTNESS)).float()
        with torch.no_grad():
            self.convolution.weight.copy_(
                weight.reshape(CHANNELS, CELL, CELL, 3).permute(0, 3, 1, 2)
            )
            self.convolution.bias.zero_()  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.normalisation(self.convolution(images)))


def _encoded(dataset: Dataset, kind: Input, encoder: Backbone) -> Inputs:
    assert isinstance(dataset.images, ArrayImages), "this tiny dataset was made without images"
    images = ImageInputs(dataset.images, encoder.transform)
    pixels = images.batch(np.arange(len(dataset.images)))
    size = int(pixels.shape[2]), int(pixels.shape[3])
    form = form_of(kind, size, encoder.map_shape(*size), encoder.build)
    facts = (encoder.name, encoder.label, encoder.digest, f"tiny {kind} {encoder.digest}")
    if kind == "image":
        return Inputs(*form, images, *facts, size)
    with torch.inference_mode():
        maps: Tensor = encoder.build().eval()(pixels)
    given = maps if kind == "map" else maps.mean(dim=(2, 3))
    return Inputs(*form, ArraySource(given.numpy()), *facts, size)


@lru_cache(maxsize=4)
def _made(seed: int) -> Dataset:
    rng = np.random.default_rng([seed, 12])
    seen = [(a, b, (a + b) % 3, (a - b) % 3) for a, b in product(range(3), repeat=2)]
    unseen = [((a + 1) % 3, b, c, d) for a, b, c, d in seen][:UNSEEN]
    order = rng.permutation(SEEN + UNSEEN)  # seen and unseen classes alternate, as in real datasets
    combinations = [[*seen, *unseen][k] for k in order]
    present = np.concatenate([np.eye(3)[[c[g] for c in combinations]] for g in range(4)], axis=1)
    attributes = (
        present * rng.uniform(0.8, 1.0, present.shape) + rng.uniform(0, 0.05, present.shape)
    ).astype(np.float32)
    names = tuple(value for values in GROUPS.values() for value in values)
    classes = tuple(
        " ".join(values[k] for values, k in zip(GROUPS.values(), c, strict=True))
        for c in combinations
    )

    labels: list[int] = []
    parts: tuple[list[int], ...] = ([], [], [])
    for label, k in enumerate(order):
        counts = (TRAINVAL, TEST_SEEN, 0) if k < SEEN else (0, 0, TEST_UNSEEN)
        for part, count in zip(parts, counts, strict=True):
            part += range(len(labels), len(labels) + count)
            labels += [label] * count
    images = _images(attributes[labels], rng)
    semantics = Semantics(
        attributes,
        names,
        {group: tuple(range(3 * g, 3 * g + 3)) for g, group in enumerate(GROUPS)},
        rng.standard_normal((len(names), WORD_WIDTH)).astype(np.float32),
    )
    split = Split(*(np.array(part, dtype=np.int64) for part in parts))
    pooled = _maps(images).mean(axis=(2, 3))
    of_image = np.array(labels, dtype=np.int64)
    return Dataset("tiny", classes, of_image, split, semantics, images, pooled, "tiny (made up)")


def _images(attributes: NDArray[np.float32], rng: np.random.Generator) -> ArrayImages:
    """Pixels `(N, 12, 16, 3)` uint8 of images with attributes `(N, 12)`."""
    # One channel per attribute, and a little of every attribute in every channel, so that all
    # features are positive.
    answers = np.concatenate([np.eye(12), np.zeros((CHANNELS - 12, 12))]) + rng.uniform(
        0, 0.1, (CHANNELS, 12)
    )
    maps = np.zeros((len(attributes), HEIGHT, WIDTH, CHANNELS))
    for group, (row, column) in enumerate(product((0, HEIGHT - 1), (0, WIDTH - 1))):
        own = slice(3 * group, 3 * group + 3)
        maps[:, row, column] = STRENGTH * attributes[:, own] @ answers[:, own].T
    maps = np.maximum(maps + NOISE * rng.standard_normal(maps.shape), 0)
    cells = (maps @ _patterns().T).reshape(*maps.shape[:3], CELL, CELL, 3)
    pixels = cells.transpose(0, 1, 3, 2, 4, 5).reshape(len(maps), HEIGHT * CELL, WIDTH * CELL, 3)
    return ArrayImages(np.clip(np.rint(127.5 + BRIGHTNESS * pixels), 0, 255).astype(np.uint8))


@lru_cache(maxsize=1)
def _patterns() -> NDArray[np.float64]:
    """Pattern of each channel in the pixels of a cell: (48, 16) with orthonormal columns."""
    return np.linalg.qr(np.random.default_rng(48).standard_normal((CELL * CELL * 3, CHANNELS)))[0]


def _maps(images: ArrayImages) -> NDArray[np.float32]:
    """Maps `(N, 16, 3, 4)` of the frozen backbone for all images."""
    with torch.inference_mode():
        maps: Tensor = TinyBackbone().eval()(TRANSFORM.normalise(torch.from_numpy(images.array)))
    return maps.numpy()
