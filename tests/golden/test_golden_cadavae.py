"""CADA-VAE against the authors' program: every net's answers, each loss term, and gradients at
epochs of the warm-up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cases import FLOAT32, FLOAT64, Case, close, fill, task_of
from torch.nn import functional as F
from zslkit_baselines.cadavae import CADAVAE, CADAVAEConfig

NAMES = {
    "encode_x.hidden": "encoder.resnet_features.feature_encoder.0",
    "encode_x.mu": "encoder.resnet_features._mu",
    "encode_x.log_variance": "encoder.resnet_features._logvar",
    "encode_a.hidden": "encoder.attributes.feature_encoder.0",
    "encode_a.mu": "encoder.attributes._mu",
    "encode_a.log_variance": "encoder.attributes._logvar",
    "decode_x.0": "decoder.resnet_features.feature_decoder.0",
    "decode_x.2": "decoder.resnet_features.feature_decoder.2",
    "decode_a.0": "decoder.attributes.feature_decoder.0",
    "decode_a.2": "decoder.attributes.feature_decoder.2",
    "classifier": "clf.fc",
}
BOTH = [(torch.float64, FLOAT64), (torch.float32, FLOAT32)]


def model(case: Case, dtype: torch.dtype) -> CADAVAE:
    width = {
        ours: len(case[f"state/{NAMES[ours]}.bias"])
        for ours in ("encode_x.hidden", "decode_x.0", "encode_a.hidden", "decode_a.0")
    }
    warm_ups = {
        name: dict(zip(("factor", "start", "end"), row, strict=True))
        for name, row in zip(
            ("beta", "cross", "alignment"), case["in/warmup"].tolist(), strict=True
        )
    }
    settings: dict[str, Any] = {
        "latent": int(case["in/latent_size"]),
        "feature_encoder": width["encode_x.hidden"],
        "feature_decoder": width["decode_x.0"],
        "attribute_encoder": width["encode_a.hidden"],
        "attribute_decoder": width["decode_a.0"],
    }
    made = CADAVAE(CADAVAEConfig.model_validate(settings | warm_ups), task_of(case)).to(dtype)
    fill(
        made,
        {
            f"{ours}.{what}": case[f"state/{theirs}.{what}"]
            for ours, theirs in NAMES.items()
            for what in ("weight", "bias")
        },
    )
    fill(made, {"attributes": case["in/att"]})
    return made


@pytest.mark.parametrize(("dtype", "relative"), BOTH)
def test_terms_totals_and_gradients(case: Case, dtype: torch.dtype, relative: float) -> None:
    made, x = model(case, dtype), case.tensor("in/features", dtype)
    a = made.attributes[case["in/label"]]
    noise = case.tensor("in/e_img", dtype), case.tensor("in/e_att", dtype)
    posteriors = {"img": made.encode_x(x), "att": made.encode_a(a)}
    latents = {}
    for (name, posterior), e in zip(posteriors.items(), noise, strict=True):
        close(posterior[0], case[f"train/mu_{name}"], relative)
        close(posterior[1], case[f"train/logvar_{name}"], relative)
        latents[name] = made.latents(posterior, e)
        close(latents[name], case[f"train/z_from_{name}"], relative)
        close(made.decode_x(latents[name]), case[f"train/img_from_{name}"], relative)
        close(made.decode_a(latents[name]), case[f"train/att_from_{name}"], relative)
    terms = made.terms(x, a, noise)
    close(terms["reconstruction"], case["train/reconstruction"], relative)
    close(terms["cross"], case["train/cross_reconstruction"], relative)
    close(-terms["divergence"], case["train/KLD"], relative)
    close(terms["alignment"], case["train/distance"], relative)
    for epoch in case["in/epochs"].tolist():
        made.zero_grad()
        terms = made.terms(x, a, noise)
        weights = {name: warm_up.at(epoch) for name, warm_up in made.warm_ups.items()}
        total = sum(weights.get(name, 1.0) * term for name, term in terms.items())
        close(total, case[f"train/epoch{epoch}/total"], relative)
        total.backward()
        for ours, theirs in NAMES.items():
            if ours != "classifier":
                for what in ("weight", "bias"):
                    close(
                        made.get_parameter(f"{ours}.{what}").grad,
                        case[f"grad/epoch{epoch}/{theirs}.{what}"],
                        relative,
                    )


def test_the_warm_up_of_a_hundred_epochs(case: Case) -> None:
    warm_ups = model(case, torch.float64).warm_ups
    table = [
        [warm_ups[name].at(epoch) for name in ("divergence", "cross", "alignment")]
        for epoch in range(100)
    ]
    close(np.array(table), case["train/factors_beta_cross_distance_epoch_0_to_99"])


@pytest.mark.parametrize(("dtype", "relative"), BOTH)
def test_the_classifier(case: Case, dtype: torch.dtype, relative: float) -> None:
    made, x = model(case, dtype), case.tensor("in/features", dtype)
    latent = made.space(x)
    close(latent, case["eval/test_latent"], relative)
    log_p = made.classifier(latent).log_softmax(dim=1)
    close(log_p, case["eval/class_log_probs"], relative)
    loss = F.nll_loss(made.classifier(latent.detach()).log_softmax(dim=1), case.tensor("in/label"))
    close(loss, case["train/clf_nll"], relative)
    loss.backward()
    for what in ("weight", "bias"):
        close(made.get_parameter(f"classifier.{what}").grad, case[f"grad/clf.fc.{what}"], relative)


def test_the_start_is_the_programs(case: Case) -> None:
    torch.manual_seed(0)
    made = CADAVAE(CADAVAEConfig(), task_of(case))
    for part in made.modules():
        if isinstance(part, torch.nn.Linear):
            bound = 0.5 * (6 / (part.in_features + part.out_features)) ** 0.5
            assert (
                not part.bias.any()
                and 0.8 * bound < float(part.weight.detach().abs().max()) <= bound
            )
