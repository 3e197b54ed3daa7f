"""CE-GZSL against the authors' program: two critic steps whose comparator gradients add up, the
generator's step, and the classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cases import FLOAT32, FLOAT64, Case, close, fill, task_of
from torch.nn import functional as F
from zslkit_baselines.cegzsl import CEGZSL, CEGZSLConfig
from zslkit_baselines.wgan import MLP, sum_of

NAMES = {
    "embedder": "netMap.fc1",
    "projector": "netMap.fc2",
    "generator.hidden": "netG.fc1",
    "generator.out": "netG.fc2",
    "critic.hidden": "netD.fc1",
    "critic.out": "netD.fc2",
    "comparator.of_h": "F_ha.fc1",
    "comparator.out": "F_ha.fc2",
    "classifier": "clf.fc",
}
"""Ours to theirs. The program's F_ha.fc1.weight is comparator.of_h.weight and
comparator.of_a.weight side by side."""
BOTH = [(torch.float64, FLOAT64), (torch.float32, FLOAT32)]


def model(case: Case, dtype: torch.dtype) -> CEGZSL:
    settings: dict[str, Any] = {
        "hidden": int(case["in/ngh"]),
        "noise": int(case["in/nz"]),
        "penalty": case.number("in/lambda1"),
        "embedding": int(case["in/embedSize"]),
        "projection": int(case["in/outzSize"]),
        "comparator": int(case["in/nhF"]),
        "instance": case.number("in/ins_weight"),
        "classes": case.number("in/cls_weight"),
        "instance_temperature": case.number("in/ins_temp"),
        "class_temperature": case.number("in/cls_temp"),
    }
    task = task_of(case)
    made = CEGZSL(CEGZSLConfig.model_validate(settings), task)
    made.critic = MLP(made.width + task.n_attributes, int(case["in/ndh"]), 1)
    made = made.to(dtype)
    values = {
        f"{ours}.{what}": case[f"state/{theirs}.{what}"]
        for ours, theirs in NAMES.items()
        for what in ("weight", "bias")
    }
    both = values["comparator.of_h.weight"]
    values["comparator.of_h.weight"], values["comparator.of_a.weight"] = np.split(
        both, [settings["embedding"]], axis=1
    )
    fill(made, values)
    fill(made, {"attributes": case["in/att"]})
    return made


def gradients(case: Case, made: CEGZSL, step: str, relative: float) -> None:
    """Every gradient that the step has, and no other one."""
    given = case.below(f"grad/{step}")
    found = {name: p.grad for name, p in made.named_parameters() if p.grad is not None}
    if "comparator.of_a.weight" in found:
        found["comparator.of_h.weight"] = torch.cat(
            [found["comparator.of_h.weight"], found.pop("comparator.of_a.weight")], dim=1
        )
    theirs = {
        f"{NAMES[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": grad
        for name, grad in found.items()
    }
    assert theirs.keys() == given.keys()
    for name, grad in theirs.items():
        close(grad, given[name], relative, absolute=1e-12 if relative == FLOAT64 else 1e-5)


@pytest.mark.parametrize(("dtype", "relative"), BOTH)
def test_both_critic_steps_and_the_generators(
    case: Case, dtype: torch.dtype, relative: float
) -> None:
    made, x = model(case, dtype), case.tensor("in/features", dtype)
    a, label = made.attributes[case["in/label"]], case.tensor("in/label")
    made.generator.requires_grad_(False)
    for number in (0, 1):
        told = case.below(f"train/critic{number}")
        noise, t = (case.tensor(f"in/critic{number}/{key}", dtype) for key in ("noise", "alpha"))
        close(made.make(noise, a), told["fake"], relative)
        terms = made.real_terms(x, a, label, noise, t)
        close(-terms["critic_real"], told["criticD_real"], relative)
        close(terms["critic_made"], told["criticD_fake"], relative)
        apart = -terms["critic_real"] - terms["critic_made"]
        close(
            apart,
            told["Wasserstein_D"],
            relative,
            absolute=relative * abs(float(terms["critic_made"].detach())),
        )
        close(terms["penalty"], told["gradient_penalty"], relative)
        close(terms["instance_real"], told["real_ins_contras_loss"], relative)
        close(terms["class_real"], told["cls_loss_real"], relative)
        close(sum_of(terms), told["D_cost"], relative)
        made.clear()
        sum_of(terms).backward()
        gradients(case, made, f"critic{number}", relative)

    made.zero_grad(set_to_none=True)
    made.requires_grad_(False)
    made.generator.requires_grad_(True)
    told = case.below("train/generator")
    noise = case.tensor("in/generator/noise", dtype)
    fake = made.make(noise, a)
    close(fake, told["fake"], relative)
    close(made.space(fake), told["embed_fake"], relative)
    close(made.projected(made.space(fake)), told["outz_fake"], relative)
    terms = made.made_terms(x, a, label, noise)
    close(-terms["generator"], told["criticG_fake"], relative)
    close(terms["generator"], told["G_cost"], relative)
    close(terms["instance_made"] / made.config.instance, told["fake_ins_contras_loss"], relative)
    close(terms["class_made"] / made.config.classes, told["cls_loss_fake"], relative)
    close(sum_of(terms), told["errG"], relative)
    sum_of(terms).backward()
    gradients(case, made, "generator", relative)


@pytest.mark.parametrize(("dtype", "relative"), BOTH)
def test_embedding_synthesis_and_the_classifier(
    case: Case, dtype: torch.dtype, relative: float
) -> None:
    made, x = model(case, dtype), case.tensor("in/features", dtype)
    h = made.space(x).detach()
    close(h, case["eval/embed"], relative)
    close(made.projected(h), case["eval/outz"], relative)
    close(made.scaled_fits(h), case["eval/comparator_scores"], relative)
    noise = case.tensor("in/syn_noise", dtype)
    label = np.repeat(case["in/unseen"], noise.shape[1])
    np.testing.assert_array_equal(label, case["eval/syn_label"])
    close(
        made.make(noise.flatten(0, 1), made.attributes[label]), case["eval/syn_feature"], relative
    )
    close(made.classifier(h).log_softmax(dim=1), case["eval/class_log_probs"], relative)
    loss = F.nll_loss(made.classifier(h).log_softmax(dim=1), case.tensor("in/label"))
    close(loss, case["train/classifier/nll"], relative)
    loss.backward()
    gradients(case, made, "classifier", relative)


def test_the_start_is_the_programs(case: Case) -> None:
    torch.manual_seed(0)
    made = CEGZSL(CEGZSLConfig(hidden=512), task_of(case))
    for name, part in made.named_modules():
        if isinstance(part, torch.nn.Linear) and name != "classifier":
            assert part.bias is None or not part.bias.any(), name
            assert 0.017 < float(part.weight.detach().std()) < 0.023, name
