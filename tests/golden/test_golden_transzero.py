"""TransZero against the authors' program: geometry, attention, scores, every loss term and
gradient, with each dataset's switches."""

from __future__ import annotations

import pytest
import torch
from cases import FLOAT32, FLOAT64, Case, close, fill, task_of, unit_rows
from zslkit_baselines.transzero import TransZero, TransZeroConfig, relative_geometry

ENCODER, DECODER = (
    "transformer.transformer_encoder.layers.0",
    "transformer.transformer_decoder.layers.0",
)
NAMES = {
    "V": "V",
    "W": "W_1",
    "U": "transformer.embed_cv.0",
    "T": "transformer.embed_attr.0",
    "geometry": "transformer.transformer_encoder.WGs.0",
    "encoder.Q": f"{ENCODER}.mhatt.attention.fc_q",
    "encoder.K": f"{ENCODER}.mhatt.attention.fc_k",
    "encoder.V": f"{ENCODER}.mhatt.attention.fc_v",
    "encoder.out": f"{ENCODER}.mhatt.attention.fc_o",
    "encoder.norm": f"{ENCODER}.mhatt.layer_norm",
    "again": f"{ENCODER}.lnorm",
    "encoder_forward.layers.0": f"{ENCODER}.pwff.fc1",
    "encoder_forward.layers.3": f"{ENCODER}.pwff.fc2",
    "encoder_forward.norm": f"{ENCODER}.pwff.layer_norm",
    "among.out": f"{DECODER}.self_attn.out_proj",
    "among.norm": f"{DECODER}.norm1",
    "decoder.out": f"{DECODER}.multihead_attn.out_proj",
    "decoder.norm": f"{DECODER}.norm2",
    "decoder_forward.layers.0": f"{DECODER}.linear1",
    "decoder_forward.layers.3": f"{DECODER}.linear2",
    "decoder_forward.norm": f"{DECODER}.norm3",
}
STACKED = {
    "among": f"{DECODER}.self_attn.in_proj_",
    "decoder": f"{DECODER}.multihead_attn.in_proj_",
}


def theirs(case: Case, kind: str, name: str) -> torch.Tensor:
    """Their state or gradient of our parameter."""
    module, _, what = name.rpartition(".")
    if name in NAMES:
        return case.tensor(f"{kind}/{NAMES[name]}")
    attention, _, part = module.rpartition(".")
    if attention in STACKED and part in "QKV":
        return case.tensor(f"{kind}/{STACKED[attention]}{what}").chunk(3)["QKV".index(part)]
    return case.tensor(f"{kind}/{NAMES[module]}.{what}")


def model(case: Case, dataset: str, dtype: torch.dtype) -> TransZero:
    config = TransZeroConfig(
        width=int(case["in/tf_common_dim"]),
        feed_forward=int(case["in/tf_dim_feedforward"]),
        self_attention=bool(case[f"in/{dataset}/tf_SAtt"]),
        normalise_V=bool(case[f"in/{dataset}/normalize_V"]),
        lambda_cal=case.number(f"in/{dataset}/lambda_"),
        lambda_reg=case.number(f"in/{dataset}/lambda_reg"),
    )
    made = TransZero(config, task_of(case)).to(dtype).eval()  # eval: no dropout
    fill(made, {name: theirs(case, "state", name) for name, _ in made.named_parameters()})
    height, width = case["in/feature_map"].shape[2:]
    fill(
        made,
        {"attributes": unit_rows(case["in/att"]), "relative": relative_geometry(height, width)},
    )
    return made


def test_geometry(case: Case) -> None:
    made = model(case, "cub", torch.float64)
    close(made.relative, case["eval/geometry_embedding"])
    assert made.geometry is not None
    close(made.geometry(made.relative).relu().squeeze(-1), case["eval/geometry_weight"])


@pytest.mark.parametrize("dataset", ["cub", "sun", "awa2"])
@pytest.mark.parametrize(
    ("dtype", "relative"), [(torch.float64, FLOAT64), (torch.float32, FLOAT32)]
)
def test_scores_losses_and_gradients(
    case: Case, dataset: str, dtype: torch.dtype, relative: float
) -> None:
    made, x = model(case, dataset, dtype), case.tensor("in/feature_map", dtype)
    s, attention = made.attribute_scores(x)
    close(s, case[f"eval/{dataset}/attr_scores"], relative)
    close(attention, case[f"eval/{dataset}/decoder_attention"], relative)
    close(made.scores(x), case[f"eval/{dataset}/class_scores"], relative)
    terms, train = made.loss(x, case.tensor("in/label")), case.below(f"train/{dataset}")
    close(terms["cross_entropy"], train["loss_CE"], relative)
    close(terms["calibration"], made.config.lambda_cal * train["loss_cal"], relative)
    close(terms["regression"], made.config.lambda_reg * train["loss_reg"], relative)
    total = sum(terms.values())
    close(total, train["total"], relative)
    total.backward()
    largest = max(float(p.grad.abs().max()) for p in made.parameters())
    for name, parameter in made.named_parameters():
        # the gradient of the keys' bias is zero by an invariance, up to rounding
        close(
            parameter.grad,
            theirs(case, f"grad/{dataset}", name).numpy(),
            relative,
            absolute=1e-12 if relative == FLOAT64 else 1e-6 * largest,
        )


def test_the_start_is_the_programs(case: Case) -> None:
    torch.manual_seed(0)
    made = TransZero(TransZeroConfig(width=120, feed_forward=12), task_of(case))
    assert made.among is not None
    for part, bound in (
        (made.encoder.Q, (6 / 240) ** 0.5),
        (made.encoder.out, (6 / 240) ** 0.5),
        (made.among.Q, (6 / 480) ** 0.5),
    ):
        assert not part.bias.any()
        assert 0.97 * bound < float(part.weight.detach().abs().max()) <= bound
    assert not made.decoder.out.bias.any()
