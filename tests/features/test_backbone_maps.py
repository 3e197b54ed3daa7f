"""How the outputs of a timm network become maps, or pooled vectors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from zslkit.errors import UserError
from zslkit.features.maps import MapNetwork, PooledNetwork


class Fake(nn.Module):
    """A network of fixed outputs, as timm's look from outside."""

    def __init__(self, output: Any, last: torch.Tensor | None = None, **facts: Any) -> None:
        super().__init__()
        self.output, self.last = output, last
        for name, value in facts.items():
            setattr(self, name, value)

    def forward_features(self, images: torch.Tensor) -> Any:
        return self.output

    def forward_intermediates(
        self, images: torch.Tensor, indices: Any, norm: bool = False, **how: Any
    ) -> Any:
        assert how["output_fmt"] == "NCHW"
        if how.get("intermediates_only"):
            return [self.output + indices[0]]
        assert indices == 1
        return self.output, [torch.zeros(1, 2, 1, 1) if self.last is None else self.last + norm]


class NormOfTheHead(Fake):
    """A network whose norm belongs to its head, such as Hiera."""

    def forward_intermediates(self, images: torch.Tensor, *, norm: bool = False, **how: Any) -> Any:
        assert not norm, "normalization of features not supported"
        return super().forward_intermediates(images, **how)


PHOTOS = torch.zeros(1, 3, 8, 8)
LAST = torch.arange(8.0).view(1, 2, 2, 2)


def test_tokens_are_laid_out_row_by_row_without_their_prefix() -> None:
    tokens = torch.tensor(
        [[[9.0, 9], [9, 9], [0, 10], [1, 11], [2, 12], [3, 13], [4, 14], [5, 15]]]
    )  # (B, prefix + H W, D)
    network = Fake(tokens, num_prefix_tokens=2, patch_embed=SimpleNamespace(grid_size=(2, 3)))
    assert MapNetwork(network)(PHOTOS).tolist() == [
        [[[0, 1, 2], [3, 4, 5]], [[10, 11, 12], [13, 14, 15]]]
    ]


def test_channels_come_first_whatever_the_network_says() -> None:
    channels_last = torch.arange(12.0).view(1, 2, 3, 2)  # (B, H, W, D)
    maps = MapNetwork(Fake(channels_last, output_fmt="NHWC"))(PHOTOS)
    assert maps.tolist() == [[[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9, 11]]]]
    assert torch.equal(MapNetwork(Fake(channels_last))(PHOTOS), channels_last)


def test_the_projected_map_is_taken_before_that_of_the_last_block() -> None:
    projected = torch.ones(1, 5, 2, 2)
    assert torch.equal(MapNetwork(Fake(projected, LAST))(PHOTOS), projected)


@pytest.mark.parametrize(
    ("output", "facts"),
    [
        ([torch.zeros(1, 5, 2), torch.zeros(1, 2, 2)], {}),  # two branches or scales
        (torch.zeros(1, 4, 2), {}),  # tokens of a network that names no grid
        # 4 tokens of 4 channels at the end, which are not a map of 4 x 4 with 1 channel
        (torch.zeros(1, 4, 4), {"patch_embed": SimpleNamespace(grid_size=(4, 4))}),
    ],
)
def test_other_outputs_give_way_to_the_normalised_map_of_the_last_block(
    output: Any, facts: dict[str, Any]
) -> None:
    assert torch.equal(MapNetwork(Fake(output, LAST, **facts))(PHOTOS), LAST + 1)


def test_a_norm_that_belongs_to_the_head_is_left_to_it() -> None:
    tokens = torch.zeros(1, 4, 2)
    assert torch.equal(MapNetwork(NormOfTheHead(tokens, LAST))(PHOTOS), LAST)


def test_of_maps_of_one_stride_the_deepest_is_taken() -> None:
    network = Fake(torch.zeros(1), feature_info=[{"reduction": r} for r in (4, 8, 8, 16)])
    assert [int(MapNetwork(network, r)(PHOTOS)) for r in (4, 8, 16)] == [0, 2, 3]


def test_a_network_without_a_map_says_so_and_names_the_pooled_features() -> None:
    no_map = MapNetwork(Fake(torch.zeros(1, 4, 2), last=torch.zeros(1, 4, 2)))
    with pytest.raises(UserError, match=r"no feature map of a Fake; set features\.pooling=own"):
        no_map(PHOTOS)


class Pooling(Fake):
    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        assert pre_logits
        return features.amax(dim=1)


def test_the_own_pooling_becomes_a_map_of_one_cell() -> None:
    tokens = torch.tensor([[[1.0, 5], [2, 4], [3, 3]]])
    assert PooledNetwork(Pooling(tokens))(PHOTOS).tolist() == [[[[3]], [[5]]]]


def test_a_network_without_pooling_says_so() -> None:
    class Encoder(Fake):
        def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
            raise NotImplementedError

    for network in (Fake(LAST), Encoder(LAST), Pooling(LAST)):
        with pytest.raises(UserError, match=r"no pooling of its own; leave features\.pooling at"):
            PooledNetwork(network)(PHOTOS)
