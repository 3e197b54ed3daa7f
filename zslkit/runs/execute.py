"""Executes one run: select on validation, train, score the test sets, and make the record.

Every process of a distributed run computes the same result.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from functools import reduce
from operator import getitem

import numpy as np
import torch

from zslkit import record as schema
from zslkit.config import TrainConfig
from zslkit.config.sections import USUAL_WATCH
from zslkit.errors import ModelFault
from zslkit.evaluation.attributes import (
    AttributeScores,
    present_attributes,
    shown_attributes,
)
from zslkit.evaluation.gzsl import Metrics, measure, peak
from zslkit.evaluation.sets import AnsweredSets, answered_sets, checked_sets
from zslkit.evaluation.watch import TestWatch, affordable
from zslkit.model import GradientModel, Model, ModelConfig
from zslkit.runs import class_info
from zslkit.runs.job import RunJob
from zslkit.runs.provenance import environment, git_state, now
from zslkit.runs.run_folder import RunFolder
from zslkit.runs.scores import Scores, ScoreStream
from zslkit.runs.source import files_of, folder_of
from zslkit.training import selection, weights
from zslkit.training.fit import fit, make_model
from zslkit.training.loop import Loop
from zslkit.training.rescoring import Rescored, fingerprint, rescore
from zslkit.training.scoring import Rows, answer_rows, score_rows
from zslkit.training.withheld import Withheld, withheld
from zslkit.utils import distributed, library_state
from zslkit.utils.memory import peak_mb, reset_peak


@dataclass(frozen=True)
class Execution:
    """A trained model and its scores, with what was selected on validation.

    Attributes:
        remarks: What the model settled by itself from the data.
        frozen: Names of the parameters that are not trained.
        watch: Test metrics observed during training; None if they were not.
        again: Result of scoring some images twice.
        linear: Whether the model is linear on these inputs (`Model.linear_when_frozen`).
    """

    picks: selection.Selection
    model: Model
    remarks: tuple[str, ...]
    frozen: frozenset[str]
    scores: Scores
    watch: TestWatch | None
    again: Rescored
    train_seconds: float
    eval_seconds: float
    linear: bool


def outcome(job: RunJob, folder: RunFolder) -> Execution:
    """Select, train and score.

    Raises:
        ModelFault: The model reached for withheld data, changed settings or functions that all
            models share, or its scores do not come from each image alone.
    """
    name, model_class, source = job.plan.entry.name, job.plan.model_class, job.inputs.source
    context = job.context(folder.path, folder.log) if job.picks else None
    folds = context.folds if context is not None else ()
    holders = [source, *(fold.data for fold in folds), *(fold.inputs.source for fold in folds)]
    unlabelled = model_class.protocol == "transductive"
    attributes: Rows | None = None
    threads = threading.enumerate()
    with (
        library_state.held(name),
        withheld(name, job.data, holders, unlabelled=unlabelled) as held,
    ):
        picks = selection.Selection(job.plan.config) if context is None else selection.pick(context)
        model = make_model(model_class, picks.config, job.data, job.inputs, job.seed, job.device)
        remarks = tuple(str(remark) for remark in model.remarks())
        for remark in remarks:
            job.reporter.note(f"{name}: {remark}")
        # Before the training, which may freeze parameters for a while or at its end.
        frozen = frozenset(name for name, p in model.named_parameters() if not p.requires_grad)
        linear = not job.inputs.tuned and bool(model_class.linear_when_frozen(picks.config))
        watch = _watch(job, picks.config, held)
        seconds = _train(job, model, folder, watch)
        began, before = time.monotonic(), fingerprint(model)
        with held.scoring() as index:
            where = (model, source, index, job.device, folder.path)
            if job.data.semantics.kind == "attributes":
                rows, attributes = answer_rows(*where)
            else:
                rows = score_rows(*where)
            again = rescore(model, source, index, rows, job.device)
            evaluated = time.monotonic() - began
        if fingerprint(model) != before:
            fault = "`scores` changes a parameter or a buffer of the model; let it change nothing"
            again = replace(again, fault=fault)
        # Before the labels of the test images are in reach again.
        if left := library_state.lasting_thread(threads, files_of(job.source)):
            raise ModelFault(
                name,
                f"its thread {left!r} still runs after the training and the scores; end every "
                "thread before `fit` returns",
            )
    if broken := distributed.agreed(again.broken):
        raise ModelFault(name, f"{broken} (zslkit check {name} tries it)")
    began, data = time.monotonic(), job.data
    parts = data.split.test_seen, data.split.test_unseen
    seen, unseen = (np.searchsorted(index, part) for part in parts)
    of_seen, of_unseen = (data.labels[part] for part in parts)
    scores = folder.keep(
        ScoreStream(
            rows.batches(seen), of_seen, rows.batches(unseen), of_unseen, data.seen, data.classes
        )
    )
    evaluated += time.monotonic() - began
    if attributes is not None and distributed.first():
        table, own = data.semantics.attributes, data.image_attributes
        shown = [] if own is None else [shown_attributes(own[part], table) for part in parts]
        told = (attributes.take(seen), attributes.take(unseen))
        folder.keep_attributes(
            AttributeScores(*told, present_attributes(table), data.semantics.names, *shown)
        )
    return Execution(
        picks, model, remarks, frozen, scores, watch, again, seconds, evaluated, linear
    )


def _train(job: RunJob, model: Model, folder: RunFolder, watch: TestWatch | None) -> float:
    """Train the model and return the seconds."""
    if job.external_weights is not None:
        job.external_weights.fill(model)
        return 0.0
    loop = Loop(
        seed=job.seed,
        device=job.device,
        reporter=job.reporter,
        log=folder.log,
        checkpoint_path=folder.checkpoint,
        observer=watch,
    )
    return fit(model, job.data, job.inputs, loop)


def _watch(job: RunJob, config: ModelConfig, held: Withheld) -> TestWatch | None:
    """The observer of test metrics during training, None if there is nothing to observe."""
    every, train = job.plan.protocol.watch_test, getattr(config, "train", None)
    if not every or not isinstance(train, TrainConfig):
        return None
    if every == USUAL_WATCH:
        split = job.data.split
        steps = train.steps_per_epoch or max(1, len(split.trainval) // train.batch_size)
        scored = len(split.test_seen) + len(split.test_unseen)
        every = affordable(every, train.epochs, steps * train.batch_size, scored)
    return TestWatch(lambda model: _answers(job, model, held), every)


def _answers(job: RunJob, model: Model, held: Withheld) -> AnsweredSets:
    """Predictions for both test sets during training."""
    with held.scoring() as index:
        rows = score_rows(model, job.inputs.source, index, job.device)
    labels, split = held.truth()
    seen, unseen = (
        (rows.batches(np.searchsorted(index, part)), labels[part])
        for part in (split.test_seen, split.test_unseen)
    )
    return answered_sets(*seen, *unseen, job.data.seen)


def work(job: RunJob, folder: RunFolder, key: str) -> tuple[schema.RunRecord, Scores]:
    """Execute the run of identity `key` in its open folder; returns its record and its scores.

    Raises:
        ModelFault: As `outcome`, or the model changed the dataset in place.
    """
    name, started, prints = job.plan.entry.name, now(), job.data.fingerprints()
    reset_peak(job.device)
    try:
        execution = outcome(job, folder)
    except ModelFault as error:  # may name the class; name the model as the user knows it
        raise ModelFault(name, error.reason) from error
    if job.data.fingerprints() != prints:
        reason = (
            "it changes the dataset's labels, split or semantics in place; let it work on copies"
        )
        raise ModelFault(name, reason)
    picks, again = execution.picks, execution.again
    sets = checked_sets(*execution.scores.sets())
    metrics, plain = measure(sets, picks.gamma), measure(sets)
    weights.save(execution.model, folder.weights, key)
    class_info.save(folder.path / class_info.FILE, job.data)
    costs = _costs(job, execution)
    optimistic = {"H_gamma_on_test": peak(sets.curve())[1]}
    if execution.watch is not None:
        epochs = picks.config.train.epochs  # type: ignore[attr-defined]
        optimistic |= execution.watch.best(epochs, plain.figures())
    scoring = schema.Scoring(rescored=again.images, moved=again.moved, drift=again.drift)
    if scoring.remark:
        job.reporter.note(f"{name}: {scoring.remark}")
    record = schema.RunRecord(
        identity=key,
        model=_model_info(job, execution, folder),
        dataset=_dataset_info(job),
        seed=job.seed,
        config=job.plan.values,
        origins=dict(job.plan.origins),
        usual=None if job.plan.usual is None else dict(job.plan.usual),
        features=_feature_info(job),
        fingerprints=schema.Fingerprints(
            **prints, features=job.inputs.fingerprint, images=job.inputs.content
        ),
        protocol=_protocol_info(job, picks),
        metrics=schema.Figures(**metrics.figures()),
        uncalibrated=schema.Figures(**plain.figures()),
        chance=schema.Chance(**metrics.chance),
        optimistic=optimistic,
        per_class=_per_class(job, metrics),
        costs=costs,
        scoring=scoring,
        environment=environment(
            str(job.device),
            torch.get_num_threads(),
            distributed.size(),
            deterministic=torch.are_deterministic_algorithms_enabled(),
        ),
        git=git_state(),
        elsewhere=job.external_weights.label if job.external_weights else "",
        started=started,
        finished=now(),
    )
    return record, execution.scores


def _costs(job: RunJob, execution: Execution) -> schema.Costs:
    model = execution.model
    counts = {name: p.numel() for name, p in model.named_parameters()}
    return schema.Costs(
        parameters=sum(counts.values()) or sum(b.numel() for b in model.state_dict().values()),
        trainable_parameters=sum(n for name, n in counts.items() if name not in execution.frozen),
        train_seconds=execution.train_seconds,
        extract_seconds=job.extract_seconds,
        eval_seconds=execution.eval_seconds,
        peak_memory_mb=peak_mb(job.device),
    )


def _model_info(job: RunJob, execution: Execution, folder: RunFolder) -> schema.ModelInfo:
    entry, model_class = job.plan.entry, job.plan.model_class
    home = folder_of(model_class)
    return schema.ModelInfo(
        name=entry.name,
        distribution=entry.distribution,
        version=entry.version,
        class_path=job.plan.class_path,
        protocol=model_class.protocol,
        citation=model_class.citation,
        pretraining_note=model_class.pretraining_note,
        linear=execution.linear,
        remarks=list(execution.remarks),
        source=dict(folder.source),
        git=git_state(home) if home is not None else None,
    )


def _dataset_info(job: RunJob) -> schema.DatasetInfo:
    data = job.data
    return schema.DatasetInfo(
        name=data.name,
        title=data.title or data.name,
        classes=len(data.classes),
        seen=int(data.seen.sum()),
        unseen=int((~data.seen).sum()),
        **{f"n_{part}": len(index) for part, index in data.split.parts().items()},
        published_as=job.plan.dataset.published_as,
        semantics=data.semantics.kind,
        n_skipped=len(data.skipped),
        encoder=data.encoder,
    )


def _feature_info(job: RunJob) -> schema.FeatureInfo:
    inputs = job.inputs
    return schema.FeatureInfo(
        input=inputs.kind,
        backbone=inputs.backbone,
        weights=inputs.weights,
        weights_digest=inputs.weights_digest,
        size=inputs.image_size,
        dtype=job.plan.features.dtype,
        tuned=inputs.tuned,
        fingerprint=inputs.fingerprint,
    )


def _protocol_info(job: RunJob, picks: selection.Selection) -> schema.ProtocolInfo:
    plan, settings = job.plan, picks.config.model_dump(mode="json")
    by_epochs = issubclass(plan.model_class, GradientModel) and job.external_weights is None
    return schema.ProtocolInfo(
        training=plan.model_class.protocol,
        class_attributes="test photos" if job.data.of_test_photos else "given",
        selection=plan.protocol.selection,
        calibration="validation" if picks.calibrated else "none",
        gamma=picks.gamma,
        epoch=picks.config.train.epochs if by_epochs else None,  # type: ignore[attr-defined]
        fold_seed=plan.protocol.fold_seed if job.picks else None,
        folds=plan.protocol.folds if job.picks else None,
        tuned=sorted(picks.changes.keys() - {"train.epochs", "train.schedule_epochs"}),
        picked={key: reduce(getitem, key.split("."), settings) for key in sorted(picks.changes)},
        validation=dict(picks.figures),
    )


def _per_class(job: RunJob, metrics: Metrics) -> dict[str, float | None]:
    accuracies = zip(job.data.classes, metrics.per_class.tolist(), strict=True)
    return {name: None if np.isnan(value) else value for name, value in accuracies}
