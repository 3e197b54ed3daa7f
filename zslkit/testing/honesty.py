"""Checks that results are honest: no test image seen, protocol as declared, no shared state."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from zslkit.dataset import Dataset, Index
from zslkit.errors import ModelFault, ZslkitError
from zslkit.testing.bench import Bench, difference
from zslkit.testing.check import check
from zslkit.testing.outcome import Failed
from zslkit.testing.shared import changes, shared_state
from zslkit.testing.training import same_seed_same_model
from zslkit.training.view import InputSource
from zslkit.utils import library_state


@check(
    reason=(
        "Results on images that were used in training are no test; transductive models may "
        "use test images, but never their labels."
    ),
    hint=(
        "take inputs only from the view's batch(), everything() and, if transductive, "
        "unlabelled(); do not access other attributes of it"
    ),
    after=[same_seed_same_model],
)
def never_sees_test_images(bench: Bench) -> str | None:
    inputs = bench.inputs()
    transductive = bench.kind.protocol == "transductive"
    data = bench.dataset
    allowed = np.arange(len(data.labels)) if transductive else data.split.trainval
    guard = _Guard(inputs.source, frozenset(allowed.tolist()))
    guarded = replace(inputs, source=guard)
    with contextlib.suppress(_Leak):
        bench.fit(bench.make(inputs=guarded), inputs=guarded)
    if guard.touched:
        raise Failed(f"training asked for {len(guard.touched)} images of the test sets")
    try:  # as in a run, where the dataset contains no test labels or images
        apart = bench.fit(bench.make(), withholds=True)
    except ModelFault as fault:
        raise Failed(fault.reason) from fault
    except Exception as error:
        raise Failed(
            f"it cannot be trained where test images are out of reach: {type(error).__name__}: "
            f"{error}"
        ) from error
    if unlike := difference(bench.trained().state, apart.state):
        raise Failed(
            f"where labels of test images are out of reach its training ends elsewhere: {unlike}"
        )
    if not transductive:
        return None
    dataset = _with_other_test_labels(bench.dataset)
    other = bench.fit(bench.make(dataset=dataset), dataset=dataset)
    if unlike := difference(bench.trained().state, other.state):
        raise Failed(
            f"with other labels of the same test images its training ends elsewhere: {unlike}"
        )
    return "it may see the test images, and their labels change nothing"


def _with_other_test_labels(data: Dataset) -> Dataset:
    """Copy with the labels of each test set permuted."""
    labels = data.labels.copy()
    for part in (data.split.test_seen, data.split.test_unseen):
        labels[part] = np.random.default_rng(3).permutation(labels[part])
    return replace(data, labels=labels)


class _Leak(ZslkitError):
    """Training asked for a test image."""


@dataclass(frozen=True)
class _Guard:
    """Input source that serves allowed images only, and records requests for others."""

    source: InputSource
    allowed: frozenset[int]
    touched: set[int] = field(default_factory=set)

    def batch(self, index: Index) -> Tensor:
        if strange := set(np.asarray(index).ravel().tolist()) - self.allowed:
            self.touched.update(strange)
            raise _Leak(f"{len(strange)} of the images are in no training set")
        return self.source.batch(index)


@dataclass(frozen=True)
class _Darkened:
    """Input source with some images darkened, each feature by a different factor."""

    source: InputSource
    images: frozenset[int]

    def batch(self, index: Index) -> Tensor:
        inputs = self.source.batch(index).clone()
        chosen = torch.tensor([int(i) in self.images for i in np.asarray(index).ravel()])
        share = torch.linspace(0.1, 0.9, inputs[0].numel()).reshape(inputs.shape[1:])
        inputs[chosen] = inputs[chosen] * share
        return inputs


@check(
    reason=(
        "Models that use semantics of unseen classes in training are listed apart from "
        "inductive ones."
    ),
    hint=(
        "leave the rows of unseen classes out of fit and loss (self.seen marks the others), "
        'or declare protocol = "class-inductive"; view.unlabelled() needs protocol = '
        '"transductive"'
    ),
    after=[same_seed_same_model],
)
def declared_protocol(bench: Bench) -> str | None:
    if bench.kind.protocol == "transductive":
        inputs = bench.inputs()
        source = _Darkened(inputs.source, frozenset(bench.test.tolist()))
        dark = replace(inputs, source=source)
        apart = bench.fit(bench.make(inputs=dark), inputs=dark)
        if difference(bench.trained().state, apart.state):
            return None
        return (
            "its training does not use the unlabelled test images here, so it could be "
            "declared class-inductive or inductive"
        )
    data = bench.dataset
    other = data.semantics.attributes.copy()
    other[~data.seen] = np.random.default_rng(7).uniform(0, 1, other[~data.seen].shape)
    dataset = replace(data, semantics=replace(data.semantics, attributes=other))
    apart = bench.fit(bench.make(dataset=dataset), dataset=dataset)
    unlike = difference(bench.trained().state, apart.state)
    if bench.kind.protocol == "inductive" and unlike:
        raise Failed(
            f"with other attributes of the unseen classes its training ends elsewhere: {unlike}"
        )
    if unlike or bench.kind.protocol == "inductive":
        return None
    return (
        "its training does not use the unseen classes' attributes here, so it could be "
        "declared inductive"
    )


@check(
    reason=("Runs of a comparison share one process; one run must not influence the next."),
    hint=(
        "keep state in the instance, copy mutable class attributes, draw random numbers in "
        "fit from a generator seeded with trainer.seed, and restore every setting of torch, "
        "NumPy and Python"
    ),
    after=[same_seed_same_model],
)
def no_global_state(bench: Bench) -> None:
    alone = {seed: bench.trained(seed).state for seed in (0, 1)}
    models = {seed: bench.make(seed) for seed in (0, 1)}
    for seed in (1, 0):
        # A fit that uses the global generators without seeding them now gets other numbers.
        torch.manual_seed(99 + seed)
        np.random.seed(99 + seed)
        random.seed(99 + seed)
        if unlike := difference(alone[seed], bench.fit(models[seed], seed).state):
            raise Failed(
                "made beside another model and trained after it, it ends elsewhere than alone: "
                f"{unlike}"
            )
    bench.score(models[0], bench.inputs())
    if moved := [*bench.libraries.moved(), *library_state.BASE.moved()]:
        raise Failed(
            f"making, training or scoring a model changes {moved[0]}, which all models share"
        )
    if changed := changes(bench.before, shared_state(bench.kind)):
        raise Failed(f"making or training a model changes {changed[0]}, which all models share")
