"""Which settings of features ask for the same inputs, so that one run stands for all of them.

The identity of a run is a hash of its settings, of which `features.input` may say in several ways
what the model is fed with: "auto", "frozen" and "map" may all be one thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from zslkit.config import Input
from zslkit.dataset import Dataset
from zslkit.errors import UserError
from zslkit.features.backbones import OFFLINE
from zslkit.record import AS_GIVEN, RunRecord
from zslkit.training.inputs import Inputs, choose_input
from zslkit.training.plan import Plan

LEFT_OUT = ("precision", "skip_bad")
"""Settings of features that are written only where they are not as usual."""


def spellings(plan: Plan, dataset: Dataset, inputs: Inputs) -> Iterator[dict[str, Any]]:
    """`plan.deciding` with every section `features` that asks for these inputs.

    The first one has the words of preset and default where those lead to the inputs, so it is the
    same for all of them and decides the identity of a new run; by the others, runs of earlier
    versions are found.
    """
    asked = plan.deciding
    features: dict[str, Any] = asked["features"]
    idle = _idle(features, inputs.kind, inputs.backbone == AS_GIVEN, len(dataset.skipped))
    before = {k.removeprefix("features."): v for k, v in (plan.usual or {}).items()}
    usual = features | {k: v for k, v in before.items() if k in idle}
    for key in LEFT_OUT:  # None: not written
        if usual.get(key, "") is None:
            del usual[key]
    inputs_words = [
        word
        for word in (before.get("input", features["input"]), "auto", "frozen", inputs.kind)
        if _leads_to(word, plan, dataset, inputs.kind)
    ]
    for base in (usual, features):
        weights = _weights(base)
        for word, source in product(inputs_words, weights):
            chosen = {**base, "input": word} | ({"weights": source} if "weights" in base else {})
            yield asked | {"features": chosen}


def same_features(record: RunRecord, plan: Plan) -> bool:
    """Whether a plan asks for the inputs of a record of its model and dataset."""
    given, kind = record.features.backbone == AS_GIVEN, record.features.input
    then, now = record.config.get("features", {}), plan.values["features"]
    if not _may_lead_to(plan, kind, given):
        return False
    idle = _idle(now, kind, given, record.dataset.n_skipped) | {"input"}
    if set(_weights(then)) == set(_weights(now)):
        idle |= {"weights"}
    return all(then.get(k) == now.get(k) for k in (then.keys() | now.keys()) - idle)


def _idle(features: Mapping[str, Any], kind: Input, given: bool, skipped: int) -> set[str]:
    """Settings of features, but `input`, that change nothing here.

    `given`: features came with the dataset; `skipped`: number of unreadable images.
    """
    idle: set[str] = set() if skipped else {"skip_bad"}
    if given:
        idle |= {"backbone", "weights", "size", "reduction", "dtype", "precision"}
    if kind == "image":
        idle |= {"dtype", "precision"}
    if features.get("weights") != "trainval":
        idle |= {"pretrain_epochs"}
    return idle


def _weights(features: Mapping[str, Any]) -> tuple[str, ...]:
    """All words for the weights of a section, "auto" first; none if it has no weights."""
    word = features.get("weights")
    package = OFFLINE.get(features.get("backbone", ""))
    auto = "offline" if package is not None and package.here else "hub"
    return ("auto", auto) if word in ("auto", auto) else (str(word),)


def _leads_to(word: str, plan: Plan, dataset: Dataset, kind: Input) -> bool:
    features = plan.features.model_copy(update={"input": word})
    try:
        return choose_input(plan.model_class.inputs, features, dataset, plan.entry.name) == kind
    except UserError:
        return False


def _may_lead_to(plan: Plan, kind: Input, given: bool) -> bool:
    """As `_leads_to` without a dataset, of which it is only known whether it has images."""
    word, inputs = plan.features.input, plan.model_class.inputs
    wanted = [k for k in inputs if word in ("auto", k) or (word == "frozen" and k != "image")]
    return kind in wanted if given else wanted[:1] == [kind]
