"""Networks of timm without their classifier: images to feature maps, or to pooled vectors."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zslkit.errors import UserError


class MapNetwork(nn.Module):
    """A timm network without its head: images (B, 3, h, w) to feature maps (B, D, H, W).

    Tokens of transformers are arranged on their grid; prefix tokens are dropped.

    Args:
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
            run: Any = self.network.forward_intermediates
            how = {"stop_early": True, "output_fmt": "NCHW", "intermediates_only": True}
            maps: Tensor = run(images, indices=[self.stage], **how)[0]
            return maps
        # The final features come first: some networks project the last block's map once more.
        final, last = _final_and_last(self.network, images)
        arranged = _arranged(self.network, final)
        found = last if arranged is None else arranged
        if found is None:
            raise UserError(
                f"timm arranges no feature map of a {type(self.network).__name__}; set "
                "features.pooling=own for the features of its own pooling, or take another backbone"
            )
        return found


def _final_and_last(network: nn.Module, images: Tensor) -> tuple[Any, Tensor | None]:
    """Final features of a network, and the map (B, D, H, W) of its last block if it has one."""
    run: Any = getattr(network, "forward_intermediates", None)
    if run is None:
        return network.forward_features(images), None  # type: ignore[operator]
    how = {"indices": 1, "output_fmt": "NCHW"}
    try:
        final, maps = run(images, norm=True, **how)
    except AssertionError:  # timm refuses norm=True at once where the norm belongs to the head
        final, maps = run(images, **how)
    return final, maps[-1] if maps[-1].ndim == 4 else None


def _arranged(network: nn.Module, final: Any) -> Tensor | None:
    """Final features of a network as maps (B, D, H, W), None if they are no plain map or grid."""
    if not isinstance(final, Tensor):
        return None  # several scales or branches
    if final.ndim == 4:
        last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        return final.permute(0, 3, 1, 2) if last else final
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if final.ndim != 3 or grid is None:
        return None
    tokens = final[:, getattr(network, "num_prefix_tokens", 0) :]
    height, width = map(int, grid)
    if tokens.shape[1] != height * width:
        return None  # the tokens of later stages lie on a coarser grid
    return tokens.mT.reshape(len(tokens), -1, height, width)


class PooledNetwork(nn.Module):
    """A timm network with its own pooling: images (B, 3, h, w) to maps (B, D, 1, 1) of one cell.

    The pooled vector is the input of the network's classifier.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        final = self.network.forward_features(images)  # type: ignore[operator]
        try:
            pooled = self.network.forward_head(final, pre_logits=True)  # type: ignore[operator]
        except (AttributeError, NotImplementedError, TypeError):  # an encoder without a head
            pooled = None
        if not isinstance(pooled, Tensor) or pooled.ndim != 2:
            raise UserError(
                f"A {type(self.network).__name__} of timm has no pooling of its own; leave "
                "features.pooling at mean"
            )
        return pooled[:, :, None, None]
