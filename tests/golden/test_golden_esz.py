"""ESZSL against a public port of the authors' program: W, class scores and predictions for every
pair of regularisers."""

from __future__ import annotations

import numpy as np
import torch
from cases import FLOAT32, FLOAT64, Case, close, fill, fitted, task_of
from zslkit_baselines.eszsl import ESZSL, ESZSLConfig


def test_every_pair_of_regularisers(case: Case) -> None:
    pairs = [(int(a), int(g)) for a, g in case["in/alpha_gamma_exponents"]]
    for dtype, relative in ((torch.float64, FLOAT64), (torch.float32, FLOAT32)):
        for alpha, gamma in pairs:
            name = f"alpha{alpha}_gamma{gamma}"
            model = ESZSL(ESZSLConfig(gamma=10.0**alpha, lam=10.0**gamma), task_of(case)).to(dtype)
            fill(model, {"attributes": case["in/att"]})
            fitted(model, case, dtype)
            # float32 holds the data to 1e-7, and the closed form loses the condition of its systems
            # from that
            close(model.W, case[f"train/{name}/W"], relative)
            scores = model.scores(case.tensor("in/test_features", dtype))
            close(scores, case[f"eval/{name}/class_scores"], relative)
            table = scores.double().numpy()
            assert (table.argmax(1) == case[f"eval/{name}/prediction_gzsl"]).all()
            unseen = case["in/unseen"]
            assert (unseen[table[:, unseen].argmax(1)] == case[f"eval/{name}/prediction_zsl"]).all()


def test_the_papers_targets_give_another_answer(case: Case) -> None:
    alpha, gamma = case["in/alpha_gamma_exponents"][0]
    model = ESZSL(
        ESZSLConfig(gamma=10.0**alpha, lam=10.0**gamma, targets="signs"), task_of(case)
    ).double()
    fill(model, {"attributes": case["in/att"]})
    fitted(model, case)
    ours, theirs = model.W.numpy(), case[f"train/alpha{alpha}_gamma{gamma}/W"]
    assert np.abs(ours - theirs).max() > 0.1 * np.abs(theirs).max()
