"""Explains predictions: contribution of each attribute, and its location in the image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslkit.dataset import Box
from zslkit.errors import UserError, did_you_mean
from zslkit.features.backbones import Transform
from zslkit.model import AttentionMaps
from zslkit.runs.load import LoadedRun

Floats = NDArray[np.float64]

BATCH = 16
"""Images per batch; channel attention (B, A, D) is large."""
CHANNELS = 5
"""Channels listed per attribute."""


@dataclass(frozen=True, eq=False)
class PartView:
    """Output of one part of a model for one image.

    Attributes:
        maps: `(A, H, W)` attention of each attribute.
        contributions: `(A,)` a_ki * s_i of each attribute i to the predicted class k, if the part
            scores attributes.
        channels: `(A, K)` the K channels with the highest weight, highest first, if the part weighs
            channels.
    """

    maps: NDArray[np.float32]
    contributions: Floats | None
    channels: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class Explanation:
    """Explanation of one image.

    Attributes:
        classes: All C classes, most likely first.
        scores: `(C,)` their calibrated scores.
        parts: Part name -> its output.
        attributes: Attribute columns to show, in order.
    """

    classes: tuple[str, ...]
    scores: Floats
    parts: Mapping[str, PartView]
    attributes: tuple[int, ...]

    @property
    def predicted(self) -> str:
        return self.classes[0]


@dataclass(frozen=True)
class Localisation:
    """Share of maps whose strongest cell has its centre in the box of the attribute, 0..1.

    Attributes:
        right: The share; tied cells count in equal parts.
        chance: Share of all cells with centres in the box.
        cases: Number of pairs of an image and an attribute of its true class.
    """

    right: float
    chance: float
    cases: int


def explain(
    trained: LoadedRun, x: Tensor, attributes: Sequence[str] | None = None, top: int = 5
) -> list[Explanation]:
    """Explain inputs, one explanation per image.

    Args:
        x: Inputs `(B, ...)`.
        attributes: Names of the attributes to show; None selects the `top` with the largest
            contribution to the predicted class over all parts, or with the largest class attributes
            if no part scores attributes.

    Raises:
        UserError: An attribute is unknown, or the model offers no attention.
    """
    chosen = None if attributes is None else columns(trained, attributes)
    unseen = torch.from_numpy(~trained.dataset.seen)
    explanations = []
    for i in range(0, len(x), BATCH):
        batch = x[i : i + BATCH].to(trained.device)
        parts = attend(trained, batch)
        with torch.inference_mode():
            scores = trained.model.scores(batch).float().cpu().double() + trained.gamma * unseen
        explanations += [
            _one(trained, row, b, parts, chosen, top) for b, row in enumerate(scores.numpy())
        ]
    return explanations


def columns(trained: LoadedRun, names: Sequence[str]) -> tuple[int, ...]:
    """Columns of attributes by name. Raises UserError for an unknown name."""
    known = trained.dataset.semantics.names
    for name in names:
        if name not in known:
            raise UserError(
                f"{trained.dataset.name} has no attribute {name!r}{did_you_mean(name, known)}"
            )
    return tuple(dict.fromkeys(known.index(name) for name in names))


def attend(trained: LoadedRun, x: Tensor) -> dict[str, AttentionMaps]:
    """Attention maps for inputs `(B, ...)` on the model's device, as float32 on the CPU.

    Raises:
        UserError: The model offers no attention, or it is not as `AttentionMaps` requires.
    """
    name = trained.run.record.model.name
    with torch.inference_mode():
        parts = trained.model.attention(x)
    if not parts:
        raise UserError(
            f"The model {name} offers no attention with the settings of {trained.run.folder}, so "
            "there is nothing to show; "
            "it would need a method `attention` (zslkit.model.Model.attention) that gives its maps"
        )
    wanted = (len(x), trained.model.task.n_attributes)
    found: dict[str, AttentionMaps] = {}
    for part, seen in parts.items():
        plain: dict[str, Tensor] = {}
        for what, dimensions in (("maps", 4), ("scores", 2), ("channels", 3)):
            value: Tensor | None = getattr(seen, what)
            if value is None:
                continue
            shaped = value.shape[:2] == wanted and value.ndim == dimensions
            if not (shaped and torch.isfinite(value).all()):
                raise UserError(
                    f"{name}: the {what} of {part!r} that its attention gave have shape "
                    f"{tuple(value.shape)}, for {wanted[0]} images and "
                    f"{wanted[1]} attributes, or are not finite; they must be as "
                    "zslkit.model.AttentionMaps says"
                )
            plain[what] = value.float().cpu()
        found[part] = AttentionMaps(**plain)
    return found


def _one(
    trained: LoadedRun,
    scores: Floats,
    b: int,
    parts: Mapping[str, AttentionMaps],
    chosen: tuple[int, ...] | None,
    top: int,
) -> Explanation:
    # Stable: at equal scores the first class wins, as in the evaluator.
    order = np.argsort(-scores, kind="stable")
    of_class = trained.model.attributes[int(order[0])].double().cpu().numpy()
    views = {name: _view(part, b, of_class) for name, part in parts.items()}
    if chosen is None:
        given = [view.contributions for view in views.values() if view.contributions is not None]
        weight = np.sum(given, axis=0) if given else of_class
        chosen = tuple(np.argsort(-weight, kind="stable")[:top].tolist())
    return Explanation(
        tuple(trained.dataset.classes[k] for k in order), scores[order], views, chosen
    )


def _view(part: AttentionMaps, b: int, of_class: Floats) -> PartView:
    contributions = None if part.scores is None else of_class * part.scores[b].double().numpy()
    if part.channels is None:
        return PartView(part.maps[b].numpy(), contributions, None)
    channels = part.channels[b].topk(min(CHANNELS, part.channels.shape[2]), dim=1).indices
    return PartView(part.maps[b].numpy(), contributions, channels.numpy())


def localisation(trained: LoadedRun) -> dict[str, Localisation]:
    """Compare each part's maps with the dataset's places.

    Covers both test sets and the attributes of each image's true class.

    Raises:
        UserError: The dataset has no places, or as `attend`.
    """
    data = trained.dataset
    if not data.places:
        raise UserError(
            f"{data.name} does not say where its attributes are, so nothing can be localised; "
            "a dataset says so by its places (zslkit.dataset.Dataset.places)"
        )
    index = np.concatenate([data.split.test_seen, data.split.test_unseen])
    hits: dict[str, list[Floats]] = defaultdict(list)  # right and by chance, (2, n) each
    with trained.reporter.phase(f"{data.name}: localise attributes", total=len(index)) as phase:
        for i in range(0, len(index), BATCH):
            chosen = index[i : i + BATCH]
            parts = attend(trained, trained.inputs.source.batch(chosen).to(trained.device))
            for b, image in enumerate(chosen.tolist()):
                of_class = data.semantics.attributes[data.labels[image]]
                present = [c for c in sorted(data.places) if of_class[c] > 0]
                boxes = _visible(trained, image, [data.places[c] for c in present])
                for name, part in parts.items():
                    hits[name].append(np.stack(_hits(part.maps[b, present].numpy(), boxes)))
            phase.advance(len(chosen))
    shares = {name: np.concatenate(parts, axis=1) for name, parts in hits.items()}
    if not all(share.size for share in shares.values()):
        raise UserError(
            f"No test image of {data.name} has an attribute with a place, so nothing can be "
            "localised; look at its places"
        )
    return {
        name: Localisation(float(right.mean()), float(chance.mean()), len(right))
        for name, (right, chance) in shares.items()
    }


def _hits(maps: NDArray[np.float32], boxes: Floats) -> tuple[Floats, Floats]:
    """Shares of strongest cells, and of all, of `(n, H, W)` with centres in boxes `(n, 4)`."""
    height, width = maps.shape[1:]
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    x0, y0, x1, y1 = boxes.T[:, :, None]
    inside = ((y >= y0) & (y < y1))[:, :, None] & ((x >= x0) & (x < x1))[:, None, :]
    strongest = maps == maps.max(axis=(1, 2), keepdims=True)
    hit = (inside & strongest).sum(axis=(1, 2)) / strongest.sum(axis=(1, 2))
    return hit, inside.mean(axis=(1, 2))


def _visible(trained: LoadedRun, image: int, boxes: Sequence[Box]) -> Floats:
    """Boxes `(n, 4)` of an image as fractions of the backbone's input."""
    whole, images = np.array(boxes, dtype=np.float64).reshape(-1, 4), trained.dataset.images
    if None in (trained.inputs.image_size, trained.plan.features.size) or images is None:
        return whole
    return cropped(whole, images.open(image).size, trained.transform)


def cropped(boxes: Floats, size: tuple[int, int], transform: Transform) -> Floats:
    """Boxes `(n, 4)` of an image of (width, height) as fractions of the transform's crop."""
    if transform.size is None:
        return boxes
    frame = np.array([transform.size[1], transform.size[0]], dtype=np.float64)
    resized = np.array(size) * (frame / size).max() / transform.crop_pct
    corners = (boxes.reshape(-1, 2, 2) * resized - (resized - frame) / 2) / frame
    return np.asarray(corners.clip(0, 1).reshape(-1, 4))


def as_data(explanation: Explanation, names: Sequence[str]) -> dict[str, Any]:
    """Explanation as plain data: the first 5 classes of its ranking, and each shown attribute."""
    ranking = zip(explanation.classes[:5], explanation.scores[:5].tolist(), strict=True)
    return {
        "classes": [{"class": name, "score": score} for name, score in ranking],
        "attributes": [
            {
                "attribute": names[c],
                "parts": {part: _about(view, c) for part, view in explanation.parts.items()},
            }
            for c in explanation.attributes
        ],
    }


def _about(view: PartView, column: int) -> dict[str, Any]:
    row, place = divmod(int(view.maps[column].argmax()), view.maps.shape[2])
    return {
        "contribution": None if view.contributions is None else float(view.contributions[column]),
        "strongest_cell": [row, place],
        "map_size": list(view.maps.shape[1:]),
        "channels": None if view.channels is None else view.channels[column].tolist(),
    }
