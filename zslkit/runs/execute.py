"""Executes one run: select on validation, train, score the test sets, and make the record.

Every process of a distributed run computes the same result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zslkit import record as schema
from zslkit.config import TrainConfig
from zslkit.config.sections import USUAL_WATCH
from zslkit.dataset import Dataset
from zslkit.errors import ModelFault
from zslkit.evaluation.attributes import present_attributes, shown_attributes
from zslkit.evaluation.gzsl import Metrics, measure, peak
from zslkit.evaluation.sets import AnsweredSets, answered_sets, checked_sets
from zslkit.evaluation.watch import TestWatch, affordable
from zslkit.model import GradientModel, Model, ModelConfig
from zslkit.runs import class_info, tracking
from zslkit.runs.attribute_scores import pack
from zslkit.runs.folders import RunFolder, identity, run_path
from zslkit.runs.provenance import environment, git_state, now
from zslkit.runs.same_inputs import spellings
from zslkit.runs.scores import Scores, ScoreStream
from zslkit.runs.source import folder_of, sources
from zslkit.tracker import RunInfo
from zslkit.training import selection, weights
from zslkit.training.fit import fit, make_model
from zslkit.training.inputs import Inputs, prepare
from zslkit.training.plan import Plan
from zslkit.training.rescoring import Rescored, fingerprint, rescore
from zslkit.training.scoring import answer_rows, score_rows
from zslkit.training.search import TrialExecutor
from zslkit.training.withheld import Withheld, withheld
from zslkit.utils import distributed, library_state
from zslkit.utils.files import partial_of
from zslkit.utils.memory import peak_mb, reset_peak
from zslkit.utils.progress import Reporter


@dataclass(frozen=True)
class ExternalWeights:
    """Weights that another program has trained.

    Attributes:
        fill: Loads the weights into the untrained model.
        label: Where the weights come from.
        digest: Fingerprint of the weights.
    """

    fill: Callable[[Model], None]
    label: str
    digest: str


@dataclass(frozen=True)
class RunExecution:
    """One run with everything that it needs.

    Attributes:
        extract_seconds: Time already spent on the inputs.
        published_as: Key of the dataset in the tables of published results, "" if it has none.
        external_weights: Weights of another program, used instead of a training.
        executor: Runs the points of a search; None for this process.
    """

    plan: Plan
    data: Dataset
    inputs: Inputs
    seed: int
    device: torch.device
    reporter: Reporter
    extract_seconds: float
    published_as: str
    external_weights: ExternalWeights | None = None
    trackers: Sequence[tracking.Ready] = ()
    executor: TrialExecutor | None = None

    def decisive(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """All values that determine the outcome; the run's identity is their hash.

        Args:
            config: One of `zslkit.runs.same_inputs.spellings`.
        """
        entry, model_class = self.plan.entry, self.plan.model_class
        elsewhere = {"elsewhere": self.external_weights.digest} if self.external_weights else {}
        # Only transductive models receive other data; all other identities stay as they were.
        given = {"protocol": model_class.protocol} if model_class.protocol == "transductive" else {}
        # An earlier version averaged the selections of several folds; this one selects once.
        folds = {"folds": "together"} if self._picks and self.plan.protocol.folds > 1 else {}
        return (
            elsewhere
            | given
            | folds
            | {
                "model": [
                    entry.name,
                    entry.distribution,
                    entry.version,
                    f"{model_class.__module__}:{model_class.__qualname__}",
                ],
                "config": config,
                "data": self.data.fingerprints(),
                "features": [self.inputs.kind, self.inputs.fingerprint],
                "seed": self.seed,
            }
        )

    def info(self, folder: RunFolder, key: str) -> RunInfo:
        """The description of the run that trackers receive before it starts."""
        entry = self.plan.entry
        return RunInfo(
            folder.final, key, entry.name, entry.origin, self.data.name, self.seed, self.plan.values
        )

    @property
    def source(self) -> dict[str, str]:
        """Digests of the model's source, by module."""
        return sources(self.plan.entry, self.plan.model_class)

    @property
    def input_words(self) -> str:
        """What the model is fed with, in a sentence that is shown before the training."""
        inputs, word = self.inputs, self.plan.features.input
        asked = "" if word == inputs.kind else f" (features.input {word})"
        if not inputs.tuned:
            kind = {"pooled": "pooled features", "map": "feature maps"}[inputs.kind]
            given = inputs.backbone == schema.AS_GIVEN
            source = "that came with the dataset" if given else f"of {inputs.backbone}, frozen"
            return f"{self.plan.entry.name} is fed with {kind} {source}{asked}"
        frozen = {"pooled", "map"} & set(self.plan.model_class.inputs)
        way_out = "; --input frozen trains the model alone" if frozen else ""
        return (
            f"{self.plan.entry.name} is fed with images{asked}: "
            f"{inputs.backbone} is trained with it{way_out}"
        )

    def key(self, out: Path) -> str:
        """The run's identity below `out`: 12 hex digits.

        Settings that ask for the same inputs in other words have one identity, unless a run that
        an earlier version finished or began by another is there.
        """
        configs = spellings(self.plan, self.data, self.inputs)
        keys = list(dict.fromkeys(identity(self.decisive(config)) for config in configs))
        places = {key: self._place(out, key) for key in keys}
        finished = [key for key in keys if places[key].is_dir()]
        begun = [key for key in keys if partial_of(places[key]).is_dir()]
        return [*finished, *begun, *keys][0]

    def _place(self, out: Path, key: str) -> Path:
        return run_path(out, self.data.name, self.plan.entry.name, self.seed, key)

    def place(self, out: Path) -> Path:
        """Folder of the finished run below `out`."""
        return self._place(out, self.key(out))

    def outcome(self, folder: RunFolder) -> Execution:
        """Select, train and score.

        Raises:
            ModelFault: The model reached for withheld data, changed settings or functions that all
                models share, or its scores do not come from each image alone.
        """
        entry, model_class, source = self.plan.entry, self.plan.model_class, self.inputs.source
        context = self.context(folder.path, folder.log) if self._picks else None
        folds = context.folds if context is not None else ()
        holders = [source, *(fold.data for fold in folds), *(fold.inputs.source for fold in folds)]
        unlabelled = model_class.protocol == "transductive"
        with (
            library_state.held(entry.name),
            withheld(entry.name, self.data, holders, unlabelled=unlabelled) as held,
        ):
            picks = (
                selection.Selection(self.plan.config)
                if context is None
                else selection.pick(context)
            )
            model = make_model(
                model_class, picks.config, self.data, self.inputs, self.seed, self.device
            )
            remarks = tuple(str(remark) for remark in model.remarks())
            for remark in remarks:
                self.reporter.note(f"{entry.name}: {remark}")
            # Before the training, which may freeze parameters for a while or at its end.
            frozen = frozenset(name for name, p in model.named_parameters() if not p.requires_grad)
            linear = not self.inputs.tuned and bool(model_class.linear_when_frozen(picks.config))
            watch = self._watch(picks.config, held)
            seconds = self._train(model, folder, watch)
            began, before = time.monotonic(), fingerprint(model)
            with held.scoring() as index:
                if self.data.semantics.kind == "attributes":
                    rows, attributes = answer_rows(model, source, index, self.device, folder.path)
                else:
                    rows = score_rows(model, source, index, self.device, folder.path)
                    attributes = None
                again = rescore(model, source, index, rows, self.device)
                evaluated = time.monotonic() - began
            if fingerprint(model) != before:
                again = replace(
                    again,
                    fault="`scores` changes a parameter or a buffer of the model; "
                    "let it change nothing",
                )
        if broken := distributed.agreed(again.broken):
            raise ModelFault(entry.name, f"{broken} (zslkit check {entry.name} tries it)")
        began, split, labels = time.monotonic(), self.data.split, self.data.labels
        seen, unseen = (
            np.searchsorted(index, part) for part in (split.test_seen, split.test_unseen)
        )
        scores = folder.keep(
            ScoreStream(
                rows.batches(seen),
                labels[split.test_seen],
                rows.batches(unseen),
                labels[split.test_unseen],
                self.data.seen,
                self.data.classes,
            )
        )
        evaluated += time.monotonic() - began
        if attributes is not None and distributed.first():
            semantics = self.data.semantics
            parts = attributes.batches(seen), attributes.batches(unseen)
            own = self.data.image_attributes
            shown = None
            if own is not None:
                shown = (
                    shown_attributes(own[split.test_seen], semantics.attributes),
                    shown_attributes(own[split.test_unseen], semantics.attributes),
                )
            present = present_attributes(semantics.attributes)
            folder.keep_attributes(pack(*parts, present, semantics.names, shown))
        return Execution(
            picks,
            model,
            remarks,
            frozen,
            scores,
            watch,
            again,
            seconds,
            evaluated,
            linear,
        )

    def work(self, folder: RunFolder, key: str) -> tuple[schema.RunRecord, Scores]:
        """Execute the run in its folder.

        Returns:
            The record and the scores of both test sets.

        Raises:
            ModelFault: As `outcome`, or the model changed the dataset in place.
        """
        started, prints = now(), self.data.fingerprints()
        reset_peak(self.device)
        try:
            execution = self.outcome(folder)
        except ModelFault as error:  # may name the class; name the model as the user knows it
            raise ModelFault(self.plan.entry.name, error.reason) from error
        if self.data.fingerprints() != prints:
            reason = (
                "it changes the dataset's labels, split or semantics in place; "
                "let it work on copies"
            )
            raise ModelFault(self.plan.entry.name, reason)
        picks, model, scores = execution.picks, execution.model, execution.scores
        sets = checked_sets(*scores.sets())
        metrics, plain = measure(sets, picks.gamma), measure(sets)
        weights.save(model, folder.weights)
        class_info.save(folder.path / class_info.FILE, self.data)
        costs = schema.Costs(
            parameters=sum(p.numel() for p in model.parameters())
            or sum(b.numel() for b in model.state_dict().values()),
            trainable_parameters=sum(
                p.numel() for name, p in model.named_parameters() if name not in execution.frozen
            ),
            train_seconds=execution.train_seconds,
            extract_seconds=self.extract_seconds,
            eval_seconds=execution.eval_seconds,
            peak_memory_mb=peak_mb(self.device),
        )
        optimistic = {"H_gamma_on_test": peak(sets.curve())[1]}
        if execution.watch is not None:
            epochs = picks.config.train.epochs  # type: ignore[attr-defined]
            optimistic |= execution.watch.best(epochs, plain.figures())
        scoring = schema.Scoring(
            rescored=execution.again.images,
            moved=execution.again.moved,
            drift=execution.again.drift,
        )
        if scoring.remark:
            self.reporter.note(f"{self.plan.entry.name}: {scoring.remark}")
        return self._record(
            key, execution, metrics, plain, optimistic, costs, scoring, started, folder.source
        ), scores

    def _watch(self, config: ModelConfig, held: Withheld) -> TestWatch | None:
        """The observer of test metrics during training, None if there is nothing to observe."""
        every, train = self.plan.protocol.watch_test, getattr(config, "train", None)
        if not every or not isinstance(train, TrainConfig):
            return None
        if every == USUAL_WATCH:
            split = self.data.split
            steps = train.steps_per_epoch or max(1, len(split.trainval) // train.batch_size)
            scored = len(split.test_seen) + len(split.test_unseen)
            every = affordable(every, train.epochs, steps * train.batch_size, scored)
        return TestWatch(lambda model: self._answers(model, held), every)

    def _answers(self, model: Model, held: Withheld) -> AnsweredSets:
        """Predictions for both test sets during training."""
        with held.scoring() as index:
            rows = score_rows(model, self.inputs.source, index, self.device)
        labels, split = held.truth()
        seen, unseen = (
            (rows.batches(np.searchsorted(index, part)), labels[part])
            for part in (split.test_seen, split.test_unseen)
        )
        return answered_sets(*seen, *unseen, self.data.seen)

    @property
    def _picks(self) -> bool:
        return self.external_weights is None and selection.needed(self.plan)

    def _train(self, model: Model, folder: RunFolder, watch: TestWatch | None) -> float:
        """Train the model and return the seconds."""
        if self.external_weights is not None:
            self.external_weights.fill(model)
            return 0.0
        return fit(
            model,
            self.data,
            self.inputs,
            seed=self.seed,
            device=self.device,
            reporter=self.reporter,
            log=folder.log,
            name="train",
            checkpoint=folder.checkpoint,
            observer=watch,
        )

    def context(self, folder: Path, log: Callable[..., None]) -> selection.ValidationContext:
        """The folds and settings in which hyperparameters are selected.

        Args:
            folder: Folder for files that the trainings on the folds leave behind.
        """
        plan, protocol = self.plan, self.plan.protocol
        # Weights made from trainval must not see the classes that a fold holds out.
        per_fold = plan.features.weights == "trainval" and self.inputs.source is not None
        folds = []
        for part in range(protocol.folds):
            data = self.data.fold(protocol.fold_seed, part)
            inputs = (
                prepare(data, plan.features, self.inputs.kind, self.device, self.reporter)
                if per_fold
                else self.inputs
            )
            folds.append(selection.Fold(part, data, inputs))
        return selection.ValidationContext(
            plan, folds, self.seed, self.device, self.reporter, log, folder, self.executor
        )

    def _record(
        self,
        key: str,
        execution: Execution,
        metrics: Metrics,
        plain: Metrics,
        optimistic: dict[str, float],
        costs: schema.Costs,
        scoring: schema.Scoring,
        started: str,
        source: Mapping[str, str],
    ) -> schema.RunRecord:
        plan, data, inputs, picks = self.plan, self.data, self.inputs, execution.picks
        entry, model_class, split = plan.entry, plan.model_class, data.split
        used = self._picks
        by_epochs = issubclass(model_class, GradientModel) and self.external_weights is None
        epochs = picks.config.train.epochs if by_epochs else None  # type: ignore[attr-defined]
        settings = picks.config.model_dump(mode="json")
        home = folder_of(model_class)
        return schema.RunRecord(
            identity=key,
            model=schema.ModelInfo(
                name=entry.name,
                distribution=entry.distribution,
                version=entry.version,
                class_path=f"{model_class.__module__}:{model_class.__qualname__}",
                protocol=model_class.protocol,
                citation=model_class.citation,
                pretraining_note=model_class.pretraining_note,
                linear=execution.linear,
                remarks=list(execution.remarks),
                source=dict(source),
                git=git_state(home) if home is not None else None,
            ),
            dataset=schema.DatasetInfo(
                name=data.name,
                title=data.title or data.name,
                classes=len(data.classes),
                seen=int(data.seen.sum()),
                unseen=int((~data.seen).sum()),
                n_trainval=len(split.trainval),
                n_test_seen=len(split.test_seen),
                n_test_unseen=len(split.test_unseen),
                published_as=self.published_as,
                semantics=data.semantics.kind,
                n_skipped=len(data.skipped),
                encoder=data.encoder,
            ),
            seed=self.seed,
            config=plan.values,
            origins=dict(plan.origins),
            usual=None if plan.usual is None else dict(plan.usual),
            features=schema.FeatureInfo(
                input=inputs.kind,
                backbone=inputs.backbone,
                weights=inputs.weights,
                weights_digest=inputs.weights_digest,
                size=inputs.image_size,
                dtype=plan.features.dtype,
                tuned=inputs.tuned,
                fingerprint=inputs.fingerprint,
            ),
            fingerprints=schema.Fingerprints(
                **data.fingerprints(), features=inputs.fingerprint, images=inputs.content
            ),
            protocol=schema.ProtocolInfo(
                training=model_class.protocol,
                selection=plan.protocol.selection,
                calibration="validation" if picks.calibrated else "none",
                gamma=picks.gamma,
                epoch=epochs,
                fold_seed=plan.protocol.fold_seed if used else None,
                folds=plan.protocol.folds if used else None,
                tuned=sorted(picks.changes.keys() - {"train.epochs", "train.schedule_epochs"}),
                picked={
                    key: reduce(_below, key.split("."), settings) for key in sorted(picks.changes)
                },
                validation=dict(picks.figures),
            ),
            metrics=schema.Figures(**metrics.figures()),
            uncalibrated=schema.Figures(**plain.figures()),
            chance=schema.Chance(**metrics.chance),
            optimistic=optimistic,
            per_class={
                c: None if np.isnan(a) else float(a)
                for c, a in zip(data.classes, metrics.per_class, strict=True)
            },
            costs=costs,
            scoring=scoring,
            environment=environment(
                str(self.device),
                torch.get_num_threads(),
                distributed.size(),
                deterministic=torch.are_deterministic_algorithms_enabled(),
            ),
            git=git_state(),
            elsewhere=self.external_weights.label if self.external_weights else "",
            started=started,
            finished=now(),
        )


def _below(settings: Any, name: str) -> Any:
    return settings[name]


@dataclass(frozen=True)
class Execution:
    """A trained model and its scores.

    Attributes:
        picks: Values selected on validation.
        model: The trained model.
        remarks: What the model settled by itself from the data.
        frozen: Names of the parameters that are not trained.
        scores: Scores of both test sets.
        watch: Test metrics observed during training; None if they were not.
        again: Result of scoring some images twice.
        train_seconds: Time of the training.
        eval_seconds: Time of scoring the test sets.
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
