"""Checks of a model's declarations: contract, citation, configuration, inputs and needs."""

from __future__ import annotations

from typing import get_args

import torch

from zslkit.config import build, known_keys
from zslkit.config.merge import Settings
from zslkit.errors import UserError, did_you_mean
from zslkit.model import CONTRACT, TrainProtocol, check_model
from zslkit.testing.bench import Bench
from zslkit.testing.check import check
from zslkit.testing.outcome import Failed
from zslkit.testing.tiny import tiny_dataset

NEEDS = ("word_vectors", "groups")


@check(
    reason=(
        "A model of another contract version, or with unknown declarations, would fail late "
        "and far from the cause."
    ),
    hint=(
        "derive from zslkit.model.Model, leave `contract` alone (this zslkit speaks "
        f"{CONTRACT}), and use its words"
    ),
)
def contract(bench: Bench) -> None:
    try:
        check_model(bench.name, bench.kind)
    except UserError as error:
        raise Failed(str(error)) from error
    if strange := [need for need in bench.kind.needs if need not in NEEDS]:
        raise Failed(
            f'needs = {bench.kind.needs!r}; it takes some of "word_vectors", "groups", and '
            f"{strange[0]!r} is neither"
        )
    protocols = get_args(TrainProtocol)
    if bench.kind.protocol not in protocols:
        raise Failed(
            f"protocol = {bench.kind.protocol!r}{did_you_mean(str(bench.kind.protocol), protocols)}"
        )


@check(
    reason="Tables and run records credit the authors of a model.",
    hint="set `citation` to authors, title, venue and year",
    after=[contract],
)
def citation(bench: Bench) -> None:
    if not isinstance(bench.kind.citation, str) or not bench.kind.citation.strip():
        raise Failed("the citation is empty")


@check(
    reason="`zslkit run --model NAME` must work without further settings.",
    hint="give every key of Config a default, and let __init__ take only (config, task)",
    after=[contract],
)
def default_config(bench: Bench) -> None:
    config = bench.default_config
    if type(config).model_validate(config.model_dump()) != config:
        raise Failed(
            "the config read back from its own values is another one, so a run's record could not "
            "be opened again"
        )
    bench.make(config=config)


@check(
    reason=("A misspelt key that is silently ignored gives the result of other settings."),
    hint=(
        'derive Config from zslkit.model.ModelConfig or GradientConfig and leave extra="forbid" '
        "as it is"
    ),
    after=[default_config],
)
def unknown_keys(bench: Bench) -> None:
    key = known_keys(bench.kind.Config)[0]
    misspelt = f"{key}s"
    try:
        build(bench.kind.Config, Settings({misspelt: 1}), bench.name)
    except UserError as error:
        if key not in str(error):
            raise Failed(f"{misspelt!r} is refused without suggesting {key!r}: {error}") from error
        return
    raise Failed(f"the config accepts {misspelt!r}, which is no key of it")


@check(
    reason="The harness passes any input type listed in `inputs` to the model.",
    hint=(
        "list only types that scores and loss accept; `embed` turns images into maps, and "
        "map_shape is None for pooled features"
    ),
    after=[default_config],
)
def declared_inputs(bench: Bench) -> None:
    for kind in bench.kind.inputs:
        try:
            trained = bench.trained(0, kind)
            with torch.inference_mode():
                trained.model.scores(trained.inputs.source.batch(bench.test))
        except Exception as error:
            raise Failed(
                f"with input {kind!r} of {list(bench.kind.inputs)}: {type(error).__name__}: {error}"
            ) from error


@check(
    reason=(
        "Some datasets have no word vectors or attribute groups; a crash inside the model "
        "would not say so."
    ),
    hint=(
        "raise UserError in __init__ that says what is missing and what to set instead, or "
        "add it to `needs`"
    ),
    after=[default_config],
)
def missing_semantics(bench: Bench) -> str | None:
    refused = []
    for need in NEEDS:
        dataset = tiny_dataset(word_vectors=need != "word_vectors", groups=need != "groups")
        try:
            inputs = bench.inputs(dataset=dataset)
            bench.fit(bench.make(dataset=dataset, inputs=inputs), dataset=dataset, inputs=inputs)
        except UserError:
            refused.append(need)
        except Exception as error:
            raise Failed(
                f"without {need.replace('_', ' ')}: {type(error).__name__}: {error}"
            ) from error
    if idle := [need for need in bench.kind.needs if need not in refused]:
        return f"it declares that it needs {idle[0]}, and does not refuse a dataset without"
    return None
