"""Checks of a trained model's output: scores, attention maps and attribute predictions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zslkit.errors import TrainingError
from zslkit.model import Model
from zslkit.testing.bench import CPU, Bench, difference, state_of
from zslkit.testing.check import check
from zslkit.testing.declared import declared_inputs
from zslkit.testing.outcome import Failed, Skipped
from zslkit.testing.shared import changes, plain_state
from zslkit.training.scoring import (
    SCORE_BATCH,
    answer,
    answer_both,
    answers_last,
    attribute_table,
)

RTOL, ATOL = 1e-4, 1e-5
"""Tolerance for the order of floating-point sums: relative, and as a share of the top score."""


@check(
    reason=(
        "The evaluator compares the scores of all classes; a missing or non-finite score "
        "makes every metric wrong."
    ),
    hint=(
        "return one finite score for every image and every class, seen and unseen, also for a "
        "batch of one image"
    ),
    after=[declared_inputs],
)
def scores_shape(bench: Bench) -> None:
    for kind in bench.kind.inputs:
        for count in (len(bench.test), 1):
            try:
                bench.scores(bench.trained(0, kind), bench.test[:count])
            except TrainingError as error:
                raise Failed(f"with input {kind!r}: {error}") from error


@check(
    reason=(
        "If a score depends on the other images of the batch, it changes with the batch size, "
        "and test images influence each other."
    ),
    hint=("use no mean, maximum or normalisation over the batch and no random numbers in `scores`"),
    after=[scores_shape],
)
def scores_of_each_image(bench: Bench) -> None:
    trained, test = bench.trained(), bench.test
    together = bench.scores(trained)
    others = np.concatenate([test[:5], bench.dataset.split.trainval])
    full = np.resize(np.concatenate([test, bench.dataset.split.trainval]), 3 * SCORE_BATCH)
    alone = [bench.scores(trained, test[i : i + 1]) for i in range(len(test))]
    beside = [bench.scores(trained, others)[:5], together[5:]]
    whole = bench.scores(trained, full)[: len(test)]
    trials = {
        "the reversed order": bench.scores(trained, test[::-1].copy())[::-1],
        "batches of one image": np.concatenate(alone),
        "other images in the batch": np.concatenate(beside),
        f"batches of {SCORE_BATCH} images, as a run has them,": whole,
    }
    for trial, scores in trials.items():
        apart = float(np.abs(scores - together).max())
        if not np.allclose(scores, together, rtol=RTOL, atol=ATOL * float(np.abs(together).max())):
            raise Failed(f"with {trial} scores move by up to {apart:.3g}")


@check(
    reason=(
        "The harness scores a model during training; if scoring changed the model, it would "
        "change the result."
    ),
    hint=(
        "change no parameter, buffer, counter or input in `scores`, draw no random numbers, "
        "and update statistics only while self.training"
    ),
    after=[scores_shape],
)
def scoring_leaves_no_trace(bench: Bench) -> None:
    trained = bench.fit(bench.make())
    model, source = trained.model, trained.inputs.source
    first = bench.scores(trained)
    # After the first scoring, in which a model may cache values.
    attributes, random = plain_state(model), torch.get_rng_state()
    again = bench.scores(trained)
    if changed := difference(trained.state, state_of(model)):
        raise Failed(f"scoring changed the model: {changed}")
    for place in bench.test:
        bench.scores(trained, np.array([place]))
    last = bench.scores(trained)
    if moved := changes(attributes, plain_state(model)):
        raise Failed(f"scoring changed {moved[0]}")
    if not torch.equal(random, torch.get_rng_state()):
        raise Failed("scoring drew numbers from torch's generator")
    for scores in (again, last):
        if not np.array_equal(first, scores):
            raise Failed(
                "the same images scored twice differ by up to "
                f"{float(np.abs(first - scores).max()):.3g}"
            )
    x = source.batch(bench.test)
    given = x.clone()
    answer(model, x)
    if not torch.equal(x, given):
        raise Failed("scoring changes its inputs in place")


@check(
    reason=(
        "`zslkit explain` shows the maps over the photo, one per attribute in the dataset's order."
    ),
    hint=(
        "return AttentionMaps with maps (B, A, H, W), scores (B, A) and channels (B, A, D) "
        "for each named part, or do not override `attention`"
    ),
    after=[scores_shape],
)
def attention_maps(bench: Bench) -> str | None:
    kind = next((k for k in ("map", "image") if k in bench.kind.inputs), None)
    if kind is None:
        raise Skipped("pooled features have no places to look at")
    trained = bench.trained(0, kind)
    model, count = trained.model.eval(), 4
    with torch.inference_mode():
        parts = model.attention(trained.inputs.source.batch(bench.test[:count]))
    if not parts:
        raise Skipped("it offers no attention")
    assert trained.inputs.map_shape is not None
    depth, *size = trained.inputs.map_shape
    attributes = model.task.n_attributes
    for name, part in parts.items():
        if not (isinstance(name, str) and name.strip()):
            raise Failed(f"a part is named {name!r}; it takes a text that can stand over a picture")
        _sound(name, "maps", part.maps, (count, attributes, *size))
        if part.scores is not None:
            _sound(name, "scores", part.scores, (count, attributes))
        if part.channels is not None:
            _sound(name, "channels", part.channels, (count, attributes, depth))
    return f"{len(parts)} part{'s' if len(parts) > 1 else ''}: {', '.join(parts)}"


@check(
    reason=(
        "`zslkit evaluate` measures attribute prediction from them, in the dataset's order of "
        "attributes."
    ),
    hint=(
        "return (B, A) with all-NaN columns for attributes that are not predicted, "
        "independent of the other images of the batch; or do not override it"
    ),
    after=[scores_shape, attention_maps],
)
def predicted_attributes(bench: Bench) -> str | None:
    trained, source = bench.trained(), bench.inputs().source
    try:
        first = attribute_table(trained.model, source, bench.test[:1], CPU)
        if first is None:
            raise Skipped("it offers no attribute scores")
        told = attribute_table(trained.model, source, bench.test, CPU)
    except TrainingError as error:
        raise Failed(str(error)) from error
    if told is None:
        raise Failed(
            f"{type(trained.model).__name__}.predicted_attributes gave None for some images "
            "and attribute scores for others"
        )
    silent = np.isnan(told).all(axis=0)
    if np.isnan(told[:, ~silent]).any():
        raise Failed("some images of an attribute have a score and others NaN")
    top = float(np.nanmax(np.abs(told), initial=0.0))
    if not np.allclose(first, told[:1], rtol=RTOL, atol=ATOL * top, equal_nan=True):
        raise Failed("the attribute scores of an image move with the others of its batch")
    return (
        f"{int(silent.sum())} of {told.shape[1]} attributes are not told" if silent.any() else None
    )


@check(
    reason=(
        "A run is evaluated by `answers`, and everything else by `scores`; if they differ, the "
        "table shows another model."
    ),
    hint=(
        "return the class scores of `scores` and the attribute scores of `predicted_attributes` "
        "from `answers`, or do not override it"
    ),
    after=[scores_shape, predicted_attributes],
)
def answers_in_one_pass(bench: Bench) -> str | None:
    if bench.kind.answers is Model.answers:
        raise Skipped("it answers in two passes, by scores and predicted_attributes")
    if not answers_last(bench.kind):
        return "not used, since a class below it overrides scores or predicted_attributes"
    trained = bench.trained()
    model, x = trained.model.eval(), trained.inputs.source.batch(bench.test)
    try:
        both = answer_both(model, x)
    except TrainingError as error:
        raise Failed(str(error).replace(".scores gave", ".answers gave")) from error
    told = attribute_table(model, trained.inputs.source, bench.test, CPU)
    for what, one, other in (
        ("scores", both[0], bench.scores(trained)),
        ("attribute scores", both[1], told),
    ):
        if (one is None) != (other is None):
            raise Failed(f"answers and predicted_attributes do not both have {what}")
        if one is None or other is None:
            continue
        top = float(np.nanmax(np.abs(other), initial=0.0))
        if not np.allclose(one, other, rtol=RTOL, atol=ATOL * top, equal_nan=True):
            apart = float(np.nanmax(np.abs(one - other)))
            raise Failed(f"the {what} of answers are up to {apart:.3g} from those by themselves")
    return None


def _sound(part: str, what: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise Failed(
            f"{what} of part {part!r} have shape {tuple(tensor.shape)}, and it takes {shape}"
        )
    if not torch.isfinite(tensor).all():
        raise Failed(f"{what} of part {part!r} hold a value that is not finite")
