"""SYNC against the authors' program."""

from __future__ import annotations

import numpy as np
import torch
from cases import FLOAT32, Case, close, fill, fitted, task_of
from zslkit_baselines import sync
from zslkit_baselines.sync import SYNC, SYNCConfig


def test_classifiers_and_scores(case: Case) -> None:
    made = SYNC(
        SYNCConfig(decay=case.number("in/lambda"), sim_scale=case.number("in/Sim_scale")),
        task_of(case),
    ).double()
    fill(made, {"attributes": case["in/att"]})
    fitted(made, case)
    p, seen = sync.signatures(made.attributes), made.seen
    close(p, case["eval/signatures"])
    close(sync.similarity(p[seen], p[seen], made.config.sim_scale), case["eval/Sim_seen_seen"])
    close(sync.similarity(p[~seen], p[seen], made.config.sim_scale), case["eval/Sim_unseen_seen"])
    close(
        sync.combination(made.attributes, seen, made.config.sim_scale)[~seen],
        case["eval/combination_unseen"],
    )
    close(made.W, case["train/W"], 1e-7)  # as far as the two searches went
    scores = made.scores(case.tensor("in/test_features"))
    close(scores, case["eval/class_scores"], 1e-7)


def test_each_objective_and_its_gradient(case: Case) -> None:
    x = torch.nn.functional.normalize(case.tensor("in/train_features"), dim=1)
    column = torch.from_numpy(np.searchsorted(case["in/seen"], case["in/train_label"]))
    p = sync.signatures(case.tensor("in/att"))[torch.from_numpy(case.seen)]
    for name, loss in (
        ("OVO", sync.squared_hinge),
        ("CS", sync.crammer_singer),
        ("struct", sync.struct(p)),
    ):
        W = case.tensor("in/W_for_objectives").requires_grad_()
        value = loss(x @ W.T, column) + case.number("in/lambda") / 2 * W.square().sum()
        value.backward()
        close(value, case[f"train/{name}_at_given_W"])
        close(W.grad, case[f"grad/{name}_at_given_W"])


def test_float32(case: Case) -> None:
    made = SYNC(
        SYNCConfig(decay=case.number("in/lambda"), sim_scale=case.number("in/Sim_scale")),
        task_of(case),
    )
    fitted(made, case, torch.float32)
    close(
        made.scores(case.tensor("in/test_features", torch.float32)),
        case["eval/class_scores"],
        10 * FLOAT32,
    )
