"""TF-VAEGAN against the authors' program: the steps of decoder, critic and generator, the weight of
the penalty, and synthesis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cases import FLOAT32, FLOAT64, Case, close, fill, task_of
from torch import Tensor
from torch.nn import functional as F
from zslkit_baselines.tfvaegan import TFVAEGAN, TFVAEGANConfig
from zslkit_baselines.wgan import MLP, sum_of

NAMES = {
    "encoder.hidden.hidden": "netE.fc1",
    "encoder.hidden.out": "netE.fc3",
    "encoder.mu": "netE.linear_means",
    "encoder.log_variance": "netE.linear_log_var",
    "generator.hidden": "netG.fc1",
    "generator.out": "netG.fc3",
    "critic.hidden": "netD.fc1",
    "critic.out": "netD.fc2",
    "feedback.hidden": "netF.fc1",
    "feedback.out": "netF.fc2",
    "decoder.hidden": "netDec.fc1",
    "decoder.out": "netDec.fc3",
    "classifier": "clf.fc",
}
BOTH = [(torch.float64, FLOAT64), (torch.float32, FLOAT32)]


def model(case: Case, dtype: torch.dtype, **changes: Any) -> TFVAEGAN:
    settings = {
        "hidden": int(case["in/ngh"]),
        "gamma_d": case.number("in/gammaD"),
        "gamma_g": case.number("in/gammaG"),
        "penalty": case.number("in/lambda1"),
        **{name: case.number(f"in/{name}") for name in ("recons_weight", "a1", "a2")},
    }
    task = task_of(case)
    made = TFVAEGAN(TFVAEGANConfig.model_validate(settings | changes), task)
    made.critic = MLP(made.width + task.n_attributes, int(case["in/ndh"]), 1)
    made = made.to(dtype)
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


def gradients(case: Case, made: TFVAEGAN, step: str, relative: float) -> None:
    """Every gradient that the step has and no other one, and start afresh."""
    given = case.below(f"grad/{step}")
    found = {f"{theirs}.{what}" for ours, theirs in NAMES.items() for what in ("weight", "bias")
             if made.get_parameter(f"{ours}.{what}").grad is not None}  # fmt: skip
    assert found == given.keys()
    for ours, theirs in NAMES.items():
        for what in ("weight", "bias"):
            if f"{theirs}.{what}" in given:
                close(
                    made.get_parameter(f"{ours}.{what}").grad, given[f"{theirs}.{what}"], relative
                )
    made.zero_grad(set_to_none=True)


def the_batch(case: Case, made: TFVAEGAN, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return case.tensor("in/features", dtype), made.attributes[case["in/label"]]


@pytest.mark.parametrize(("dtype", "relative"), BOTH)
def test_both_passes(case: Case, dtype: torch.dtype, relative: float) -> None:
    made = model(case, dtype)
    x, a = the_batch(case, made, dtype)
    for number in (0, 1):
        made.begin(0, number, {})
        told = case.below(f"train/loop{number}")
        noise = {
            key: case.tensor(f"in/loop{number}/{key}", dtype)
            for key in ("eps_critic", "alpha", "eps_generator")
        }

        close(made.decoder(x), told["decoder_step/recons"], relative)
        term = made.decoder_term(x, a)
        close(term, told["decoder_step/R_cost"], relative)
        term.backward()
        gradients(case, made, f"loop{number}/decoder_step", relative)

        critic_step(case, made, number, noise, relative)
        gradients(case, made, f"loop{number}/critic_step", relative)
        close(made.penalty, told["critic_step/lambda1_after"], relative)

        made.critic.requires_grad_(False)
        z = made.encoded(x, a, noise["eps_generator"])
        close(z, told["generator_step/z"], relative)
        rebuilt = made.rebuilt(z, a)
        close(rebuilt, told["generator_step/recon_x"], relative)
        close(made.decoder(rebuilt), told["generator_step/recons_fake"], relative)
        terms = made.vae_terms(x, a, noise["eps_generator"])
        close(terms["reconstruction"], told["generator_step/vae_BCE"], relative)
        close(terms["divergence"], told["generator_step/vae_KLD"], relative)
        close(
            -terms["generator"] / made.config.gamma_g, told["generator_step/criticG_fake"], relative
        )
        close(terms["generator"] / made.config.gamma_g, told["generator_step/G_cost"], relative)
        close(
            terms["attributes"] / made.config.recons_weight, told["generator_step/R_cost"], relative
        )
        total = sum_of(terms)
        close(total, told["generator_step/errG_total"], relative)
        total.backward()
        gradients(case, made, f"loop{number}/generator_step", relative)
        made.critic.requires_grad_(True)


def critic_step(
    case: Case, made: TFVAEGAN, number: int, noise: dict[str, Tensor], relative: float
) -> None:
    told = case.below(f"train/loop{number}/critic_step")
    x, a = the_batch(case, made, made.attributes.dtype)
    with torch.no_grad():
        means, log_variance = made.encoder(x, a)
        z = made.encoded(x, a, noise["eps_critic"])
        close(means, told["means"], relative)
        close(log_variance, told["log_var"], relative)
        close(z, told["z"], relative)
        if number == 1:
            h = made.decoder.features(made.made(z, a, None))
            close(h, told["dec_hidden_feat"], relative)
            close(made.feedback(h), told["feedback_out"], relative)
        close(made.rebuilt(z, a), told["fake"], relative)
    close(made.penalty, told["lambda1_used"], relative)
    real, fake, slope = made.critic_parts(x, a, noise["eps_critic"], noise["alpha"])
    penalty = slope * made.config.gamma_d * made.penalty
    close(real, told["criticD_real"], relative)
    close(fake, told["criticD_fake"], relative)
    close(
        real - fake, told["Wasserstein_D"], relative, absolute=relative * abs(float(fake.detach()))
    )
    close(penalty, told["gradient_penalty"], relative)
    close(slope, told["gp_sum_for_rule"], relative)
    total = fake - real + penalty
    close(total, told["D_cost"], relative)
    total.backward()
    made.move_penalty(slope.detach())


def test_a_frozen_decoder_gets_no_gradient_in_the_generators_step(case: Case) -> None:
    made = model(case, torch.float64, freeze_dec=True)
    assert made.generator_moves() == ("generator",)
    assert not {id(p) for p in made.generator_parameters()} & {
        id(p) for p in made.decoder.parameters()
    }


@pytest.mark.parametrize(("dtype", "relative"), BOTH)
def test_synthesis_and_the_classifier(case: Case, dtype: torch.dtype, relative: float) -> None:
    made, x = model(case, dtype), case.tensor("in/features", dtype)
    noise = case.tensor("in/syn_noise", dtype)
    label = np.repeat(case["in/unseen"], noise.shape[1])
    np.testing.assert_array_equal(label, case["eval/syn_label"])
    close(
        made.make(noise.flatten(0, 1), made.attributes[label]), case["eval/syn_feature"], relative
    )
    inputs = made.space(x).detach()
    close(inputs, case["eval/classifier_input"], relative)
    close(made.classifier(inputs).log_softmax(dim=1), case["eval/class_log_probs"], relative)
    loss = F.nll_loss(made.classifier(inputs).log_softmax(dim=1), case.tensor("in/label"))
    close(loss, case["train/classifier/nll"], relative)
    loss.backward()
    gradients(case, made, "classifier", relative)


def test_the_start_is_the_programs(case: Case) -> None:
    torch.manual_seed(0)
    made = TFVAEGAN(TFVAEGANConfig(hidden=512), task_of(case))
    for name, part in made.named_modules():
        if isinstance(part, torch.nn.Linear) and name != "classifier":
            assert not part.bias.any() and 0.0 < float(part.weight.detach().std()) < 0.03, name
