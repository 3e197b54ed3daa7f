"""DEDN's loss written from its equations with one einsum each, as a reference for speed: no
sharing, everything kept."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F_

from zslkit.functional import distillation_distance, self_calibration
from zslkit_dedn.losses import margin_aware_loss
from zslkit_dedn.model import DEDN


class PlainDEDN:
    """The same model as `model`, with copies of its parameters: one subnet after another."""

    def __init__(self, model: DEDN) -> None:
        self.model = model
        self.nets = [
            {k: p.detach().clone().requires_grad_() for k, p in dan.named_parameters()}
            for dan in self._dans(model)
        ]

    @staticmethod
    def _dans(model: DEDN) -> list[torch.nn.Module]:
        return [model.experts.coarse, *model.experts.fine]

    def parameters(self) -> list[Tensor]:
        return [p for net in self.nets for p in net.values()]

    def subnet(self, net: dict[str, Tensor], F: Tensor) -> tuple[Tensor, Tensor]:
        """s_region and s_channel (B, A) of one subnet."""
        V, W1 = net["V"], net["W1.0"] @ net["W1.1"] if "W1.1" in net else net["W1.0"]
        S_r = torch.einsum("iv,vf,bfr->bir", V, W1, F)
        A_r = torch.einsum("iv,vf,bfr->bir", V, net["W2"], F).softmax(dim=-1)
        S_c = torch.einsum("iv,vr,bfr->bif", V, net["W3"], F)
        A_c = torch.einsum("iv,vr,bfr->bif", V, net["W4"], F).softmax(dim=-1)
        return torch.einsum("bir,bir->bi", A_r, S_r), torch.einsum("bif,bif->bi", A_c, S_c)

    def loss(self, x: Tensor, label: Tensor) -> Tensor:
        model, cfg = self.model, self.model.config
        F = F_.normalize(x.flatten(2), dim=1)
        pairs = [self.subnet(net, F) for net in self.nets]
        fine = [
            torch.cat(parts, dim=1)[:, model.experts.restore]
            for parts in zip(*pairs[1:], strict=True)
        ]
        total, z = torch.zeros((), device=x.device), []
        for region, channel in (pairs[0], fine):
            z.append(torch.einsum("ki,bi->bk", model.attributes, region + channel) + model.b)
            total = total + margin_aware_loss(
                z[-1] - model.b, label, model.seen, cfg.m_seen, cfg.m_true
            )
            total = (
                total
                + cfg.lambda_cal * self_calibration(z[-1], model.seen)
                + cfg.lambda_rc * distillation_distance(region, channel)
            )
        return total + cfg.lambda_e * distillation_distance(*z)
