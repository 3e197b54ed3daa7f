"""CLIP's image and text encoders through open_clip, with local weights only."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zslkit.errors import MissingWeights, UnknownName, UserError, did_you_mean
from zslkit.features.backbones import Backbone, Transform
from zslkit.features.weights import read_state, refuse_odd, state_digest

TINY = "tiny"
"""Own architecture with two layers per encoder, to try the pipeline without a weights file."""
_TINY_SIZES: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_TEXTS = 256
"""Texts per batch."""
_EXTRAS = frozenset({"input_resolution", "context_length", "vocab_size"})
"""Numbers that some weights files contain beside the tensors."""


class ImageNetwork(nn.Module):
    """Images `(B, 3, h, w)` to unnormalised embeddings as 1x1 maps `(B, E, 1, 1)`."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, images: Tensor) -> Tensor:
        embedding: Tensor = self.visual(images)
        return embedding[:, :, None, None]


@dataclass(frozen=True)
class ImageEncoder(Backbone):
    """CLIP's image encoder as a backbone; `digest` covers the text encoder too."""

    architecture: str

    def build(self) -> nn.Module:
        visual = _made(_sizes(self.architecture)).visual
        visual.load_state_dict(self.state)
        return ImageNetwork(visual)


def image_encoder(architecture: str, weights: str) -> ImageEncoder:
    """Image encoder with weights, size and normalisation. Raises as `clip_model`."""
    model, label = clip_model(architecture, weights)
    state = {k: v.clone() for k, v in model.visual.state_dict().items()}
    digest = state_digest(model.state_dict())
    return ImageEncoder(
        f"{architecture} (open_clip)",
        None,
        label,
        digest,
        _transform(model, architecture, weights),
        state,
        architecture,
    )


def clip_model(architecture: str, weights: str) -> tuple[Any, str]:
    """Both encoders on the CPU in evaluation mode, and the source of their weights.

    Args:
        architecture: Name in open_clip, or TINY.
        weights: A file, a tag of open_clip whose file is in its cache, or "random" (fixed seed).

    Raises:
        UserError: open_clip is missing, or the file does not fit.
        UnknownName: open_clip has no such architecture.
        MissingWeights: The tag is not in the cache.
    """
    sizes = _sizes(architecture)
    if weights == "random":
        return _made(sizes), "random"
    path, label = _found(architecture, weights)
    model = _made(sizes)
    _fill(model, path, architecture)
    return model, label


def embed_texts(
    model: Any, architecture: str, texts: Sequence[str], device: torch.device
) -> Tensor:
    """Unnormalised embeddings `(N, E)` of N texts, on the device.

    Raises:
        UserError: A text is too long for the encoder.
    """
    tokenizer = _tokenizer(architecture)
    length = int(tokenizer.context_length)
    for text in texts:
        # two tokens mark start and end
        if (tokens := len(tokenizer.encode(text)) + 2) > length:
            raise UserError(
                f"clip: a prompt has {tokens} tokens and {architecture} reads {length} "
                f"({text[:60]!r}, ...); "
                "shorten the templates or set strongest lower"
            )
    model = model.to(device)
    with torch.inference_mode():
        parts = [
            model.encode_text(tokenizer(list(texts[i : i + _TEXTS])).to(device)).float()
            for i in range(0, len(texts), _TEXTS)
        ]
    return torch.cat(parts)


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise UserError(
            "clip needs open_clip; install it with: pip install 'zslkit[clip]'"
        ) from error
    return open_clip


def _made(sizes: dict[str, Any]) -> Any:
    """Model with random weights from a fixed seed."""
    from open_clip.model import CLIP, CustomTextCLIP

    # open_clip.create_model would warn of random weights and download some image encoders.
    sizes = copy.deepcopy(sizes)
    model = CustomTextCLIP if sizes.pop("custom_text", False) else CLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model(**sizes).eval()


def _sizes(architecture: str) -> dict[str, Any]:
    """Configuration of an architecture; refuses those that need a hub or another tokenizer."""
    library = _open_clip()
    if architecture == TINY:
        return _TINY_SIZES
    known = library.list_models()
    if architecture not in known:
        raise UnknownName(
            "open_clip architecture",
            architecture,
            [*known, TINY],
            "List them with: open_clip.list_models()",
        )
    sizes: dict[str, Any] = library.get_model_config(architecture)
    text, vision = sizes["text_cfg"], sizes["vision_cfg"]
    if "multimodal_cfg" in sizes:
        raise UserError(
            f"clip: {architecture} writes captions; take an encoder of texts alone, such as "
            "ViT-B-32-quickgelu"
        )
    if text.get("hf_model_name") or text.get("hf_tokenizer_name"):
        raise UserError(
            f"clip: {architecture} reads texts with a tokenizer that lies on a hub, and nothing "
            "is fetched; "
            "take one with CLIP's own, such as ViT-B-32-quickgelu or ViT-L-14-quickgelu"
        )
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    return sizes


def _tokenizer(architecture: str) -> Any:
    library = _open_clip()
    if architecture == TINY:
        return library.SimpleTokenizer(context_length=_TINY_SIZES["text_cfg"]["context_length"])
    return library.get_tokenizer(architecture)


def _transform(model: Any, architecture: str, weights: str) -> Transform:
    """Image transform: size of the encoder, and open_clip's normalisation for the tag.

    A weights file gets the normalisation of the architecture's first tag.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tags = list_pretrained_tags_by_model(architecture)
    listed = get_pretrained_cfg(architecture, weights) or (
        get_pretrained_cfg(architecture, tags[0]) if tags else {}
    )
    if listed.get("resize_mode", "shortest") != "shortest":
        raise UserError(
            f"clip: {architecture} takes distorted images, which the harness does not make; take "
            "another architecture"
        )
    size = model.visual.image_size
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    mean, std = listed.get("mean") or _MEAN, listed.get("std") or _STD
    return Transform(
        (int(height), int(width)),
        tuple(mean),
        tuple(std),
        str(listed.get("interpolation") or "bicubic"),
    )


def _found(architecture: str, weights: str) -> tuple[Path, str]:
    """File of the weights, and a description of its source."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    path = Path(weights).expanduser()
    if path.is_file():
        return path, f"file {path.name}"
    tags = list_pretrained_tags_by_model(architecture)
    if path.suffix or os.sep in weights:
        raise UserError(f"clip: there is no weights file {weights}; check the path")
    listed = get_pretrained_cfg(architecture, weights)
    if not listed:
        miss = did_you_mean(weights, tags)
        raise UserError(
            f"clip: weights = {weights!r} is neither a file, nor random, nor a tag of open_clip "
            f"for {architecture}{miss}"
        )
    if (cached := cached_file(listed)) is None:
        raise MissingWeights(
            f"clip: the weights {weights!r} of {architecture} are not in open_clip's cache and "
            "are not fetched unasked; "
            "give a file with --set weights=FILE, or fetch them once with: "
            f"python -c \"import open_clip; open_clip.create_model('{architecture}', '{weights}')\""
        )
    return cached, f"{weights} (open_clip cache)"


def cached_file(listed: dict[str, Any]) -> Path | None:
    """Cached file of an entry in open_clip's list of weights, or None. Uses no network."""
    if hub := listed.get("hf_hub"):
        from huggingface_hub import try_to_load_from_cache

        repository, _, name = str(hub).rpartition("/")
        names = (
            [f"{Path(name).stem}.safetensors", name]
            if name
            else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
        )
        for candidate in names:
            if isinstance(found := try_to_load_from_cache(repository, candidate), str):
                return Path(found)
    if url := listed.get("url"):
        path = Path.home() / ".cache" / "clip" / str(url).rpartition("/")[2]
        return path if path.is_file() else None
    return None


def _fill(model: Any, path: Path, architecture: str) -> None:
    from open_clip.model import convert_to_custom_text_state_dict

    theirs = read_state(path)
    ours = model.state_dict()
    if "text_projection" in theirs and "text_projection" not in ours:
        theirs = convert_to_custom_text_state_dict(theirs)
    if "logit_scale" in theirs and theirs["logit_scale"].numel() == 1:
        theirs["logit_scale"] = theirs["logit_scale"].reshape(ours["logit_scale"].shape)
    names = ours.keys() | (theirs.keys() - _EXTRAS)
    wrong = sorted(
        k for k in names if k not in ours or k not in theirs or ours[k].shape != theirs[k].shape
    )
    if wrong:
        raise UserError(
            f"{path} does not fit {architecture}: {len(wrong)} of {len(ours)} tensors are "
            "missing, too many or of another shape "
            f"({wrong[0]}{', ...' if len(wrong) > 1 else ''}); set architecture to that of the file"
        )
    if broken := sorted(k for k in ours if not torch.isfinite(theirs[k]).all()):
        raise UserError(f"{path} holds values that are not finite ({broken[0]}); get the file anew")
    refuse_odd(path, {k: theirs[k] for k in ours}, ours)
    model.load_state_dict({k: theirs[k] for k in ours})
