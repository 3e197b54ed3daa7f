"""One run, start to end: the only room where data, features, model, evaluator and run folder meet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zslkit import ranks, selection, tracking
from zslkit.config import Settings
from zslkit.data.catalog import DATASETS, is_card, load_dataset
from zslkit.data.unreadable import readable
from zslkit.dataset import Dataset
from zslkit.determinism import deterministic as only_deterministic
from zslkit.devices import choose_device as choose_device
from zslkit.evaluation.attributes import present_attributes
from zslkit.evaluation.gzsl import Metrics, measure, peak
from zslkit.evaluation.sets import answered_sets, checked_sets
from zslkit.fitting import attribute_batches, fit, make_model, score_batches
from zslkit.memory import peak_mb, reset_peak
from zslkit.model import GradientModel, Model
from zslkit.progress import Reporter, Silent
from zslkit.results import record as schema
from zslkit.results.attribute_scores import pack
from zslkit.results.provenance import environment, git_state, now
from zslkit.results.runs import RunFolder, Watched, identity, load_run, run_path
from zslkit.results.scores import Scores, ScoreStream
from zslkit.settings import Plan, make_plan
from zslkit.tracker import RunInfo
from zslkit.training import weights
from zslkit.training.shared import shares_batches
from zslkit.training.source import Inputs, choose_input, prepare


@dataclass(frozen=True)
class Result:
    """A finished run. reused: it was there already."""

    record: schema.RunRecord
    folder: Path
    reused: bool

    @property
    def metrics(self) -> dict[str, float]:
        """T1, U, S and H in percent, AUSUC from 0 to 1."""
        return self.record.metrics.model_dump()


@dataclass(frozen=True)
class Elsewhere:
    """A training that another program has done. fill: puts its weights into the untrained model.

    label says where they are from; digest is a fingerprint of them.
    """

    fill: Callable[[Model], None]
    label: str
    digest: str


def resolve(
    model: str,
    dataset: str = "digits",
    *,
    data_root: str | Path = "data",
    settings: Sequence[str] = (),
    config: Path | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """What a run would use, and where each value comes from. Needs no data."""
    plan = make_plan(model, dataset, settings=settings, config=config, preset=preset, overrides=overrides)
    return Settings(plan.values, dict(plan.origins))


def run(
    model: str,
    dataset: str = "digits",
    *,
    seed: int = 0,
    data_root: str | Path = "data",
    settings: Sequence[str] = (),
    config: Path | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    out: str | Path = "runs",
    again: bool = False,
    deterministic: bool = False,
    reporter: Reporter | None = None,
    trained: Elsewhere | None = None,
    trackers: Sequence[str] = (),
) -> Result:
    """Train `model` on the trainval images of `dataset`, evaluate it, and keep everything in a run folder below `out`.

    A run that is there already is given back as it is, unless `again`; an interrupted one goes on where it stopped.
    deterministic: see zslkit.determinism; it decides no identity, since it moves results by rounding at most.
    trained: weights of another program instead of a training; then nothing is picked on validation.
    trackers: names of those that are told how the run goes; they decide nothing of it, and a run that is there is not told again.
    Raises UserError for whatever the caller can mend, TrainingError if training breaks down.
    """
    ranks.join()
    reporter = (reporter if ranks.first() else None) or Silent()
    with only_deterministic(deterministic):
        with ranks.in_turn():
            ready = tracking.load(trackers)  # first, so that one that cannot be used costs nothing
            plan = make_plan(model, dataset, settings=settings, config=config, preset=preset, overrides=overrides)
            where = choose_device(device)
            encoder = plan.encoder()  # before the data, since weights that are missing are told at once then
            data = load_dataset(dataset, data_root)
            kind = choose_input(plan.kind.inputs, plan.features, data, plan.entry.name)
            began = time.monotonic()
            if plan.features.skip_bad:
                data = readable(data, reporter)
        inputs = prepare(data, plan.features, kind, where, reporter, encoder)
        job = _Job(plan, data, inputs, seed, where, reporter, time.monotonic() - began, _published_as(dataset), trained, ready)
        if not ranks.several():
            return job.result(Path(out), again)
        if trained is None and shares_batches(plan.kind):
            return job.result(Path(out), again) if ranks.first() else job.beside(Path(out))
        return job.by_one(Path(out), again)


@dataclass(frozen=True)
class _Job:
    plan: Plan
    data: Dataset
    inputs: Inputs
    seed: int
    device: torch.device
    reporter: Reporter
    extract_seconds: float
    published_as: str
    elsewhere: Elsewhere | None = None
    trackers: Sequence[tracking.Ready] = ()

    def decisive(self) -> dict[str, Any]:
        """All that decides the outcome: the hash of this is the run's identity."""
        entry, kind = self.plan.entry, self.plan.kind
        elsewhere = {"elsewhere": self.elsewhere.digest} if self.elsewhere else {}
        # What a model is given hangs on it; the others are given the same, and keep the names that they have.
        given = {"protocol": kind.protocol} if kind.protocol == "transductive" else {}
        return (
            elsewhere
            | given
            | {
                "model": [entry.name, entry.distribution, entry.version, f"{kind.__module__}:{kind.__qualname__}"],
                "config": self.plan.values,
                "data": self.data.fingerprints(),
                "features": [self.inputs.kind, self.inputs.fingerprint],
                "seed": self.seed,
            }
        )

    def info(self, folder: RunFolder, key: str) -> RunInfo:
        """What trackers are told before the run."""
        entry = self.plan.entry
        return RunInfo(folder.final, key, entry.name, entry.origin, self.data.name, self.seed, self.plan.values)

    @property
    def key(self) -> str:
        return identity(self.decisive())

    def result(self, out: Path, again: bool) -> Result:
        """The run, made or found. Of processes that share it, the first one does this and the others `beside`."""
        key = self.key
        with RunFolder.open(out, self.data.name, self.plan.entry.name, self.seed, key, self.reporter.note) as folder:
            if ranks.agreed(folder.finished and not again):
                there = load_run(folder.path).record
                if torch.are_deterministic_algorithms_enabled() and not there.environment.deterministic:
                    self.reporter.note(f"{folder.path} is there already and was made without --deterministic; --again makes it anew")
                return Result(there, folder.path, reused=True)
            if folder.finished:
                folder.retire()
            ranks.wait()
            with tracking.follow(self.trackers, folder, self.info(folder, key), self.reporter.note) as followers:
                record, scores = self.work(folder, key)
                folder.commit(record, scores)
                followers.finish(record)
            ranks.wait()
            return Result(record, folder.path, reused=False)

    def beside(self, out: Path) -> Result:
        """The same run in a process that is not the first: it takes its share of the steps, and reads what the first one writes."""
        folder = Watched(run_path(out, self.data.name, self.plan.entry.name, self.seed, self.key))
        reused = ranks.agreed(False)
        if not reused:
            ranks.wait()
            folder.finished = False
            self.outcome(folder)
            ranks.wait()
        return Result(load_run(folder.final).record, folder.final, reused)

    def by_one(self, out: Path, again: bool) -> Result:
        """The run of a model whose training cannot be shared: the first process does it, the others wait."""
        if ranks.first():
            self.reporter.note(f"{self.plan.entry.name}: one of the {ranks.size()} processes makes this run, since {self._why_by_one()}")
            with ranks.alone():
                made = self.result(out, again)
            ranks.agreed(made.reused)
            return made
        final = run_path(out, self.data.name, self.plan.entry.name, self.seed, self.key)
        reused = ranks.agreed(False)
        return Result(load_run(final).record, final, reused)

    def _why_by_one(self) -> str:
        kind = self.plan.kind
        if self.elsewhere is not None:
            return "another program has trained the model"
        if issubclass(kind, GradientModel) and kind.fit is GradientModel.fit:
            return "the model does not declare its loss a mean over images (loss_is_mean)"
        return "the model trains itself"

    def outcome(self, folder: RunFolder) -> _Outcome:
        """Everything picked, trained and scored."""
        picks = self._pick(folder) if self._picks else selection.Picks(self.plan.config)
        model = make_model(self.plan.kind, picks.config, self.data, self.inputs, self.seed, self.device)
        watch = _TestWatch(self, self.plan.protocol.watch_test) if self.plan.protocol.watch_test else None
        seconds = self._train(model, folder, watch)
        began = time.monotonic()
        scores = folder.keep(self.scores(model))
        return _Outcome(picks, model, scores, watch.best() if watch else {}, seconds, time.monotonic() - began)

    def work(self, folder: RunFolder, key: str) -> tuple[schema.RunRecord, Scores]:
        started = now()
        reset_peak(self.device)
        done = self.outcome(folder)
        picks, model, scores = done.picks, done.model, done.scores
        sets = checked_sets(*scores.sets())
        metrics, plain = measure(sets, picks.gamma), measure(sets)
        self._keep_attributes(model, folder)
        weights.save(model, folder.weights)
        costs = schema.Costs(
            parameters=sum(p.numel() for p in model.parameters()) or sum(b.numel() for b in model.state_dict().values()),
            trainable_parameters=sum(p.numel() for p in model.parameters()),
            train_seconds=done.train_seconds,
            extract_seconds=self.extract_seconds,
            eval_seconds=done.eval_seconds,
            peak_memory_mb=peak_mb(self.device),
        )
        optimistic = {"H_gamma_on_test": peak(sets.curve())[1], **done.watched}
        record = self._record(key, picks, metrics, plain, optimistic, costs, started)
        for leftover in folder.path.glob("*.pt"):
            leftover.unlink()
        return record, scores

    def scores(self, model: Model) -> ScoreStream:
        split, labels = self.data.split, self.data.labels
        seen, unseen = (score_batches(model, self.inputs.source, index, self.device) for index in (split.test_seen, split.test_unseen))
        return ScoreStream(seen, labels[split.test_seen], unseen, labels[split.test_unseen], self.data.seen, self.data.classes)

    def _keep_attributes(self, model: Model, folder: RunFolder) -> None:
        """Keep the model's attribute scores of the test sets, if it has some and the classes are described by attributes."""
        semantics, split = self.data.semantics, self.data.split
        if semantics.kind != "attributes":
            return
        seen, unseen = (attribute_batches(model, self.inputs.source, index, self.device) for index in (split.test_seen, split.test_unseen))
        if seen is not None and unseen is not None:
            folder.keep_attributes(pack(seen, unseen, present_attributes(semantics.attributes), semantics.names))

    @property
    def _picks(self) -> bool:
        return self.elsewhere is None and selection.needed(self.plan)

    def _train(self, model: Model, folder: RunFolder, watch: _TestWatch | None) -> float:
        """Seconds of training."""
        if self.elsewhere is not None:
            self.elsewhere.fill(model)
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

    def _pick(self, folder: RunFolder) -> selection.Picks:
        plan, protocol = self.plan, self.plan.protocol
        # weights made from trainval must not know the classes that a fold holds out
        own = plan.features.weights == "trainval" and self.inputs.source is not None
        folds = []
        for part in range(protocol.folds):
            data = self.data.fold(protocol.fold_seed, part)
            inputs = prepare(data, plan.features, self.inputs.kind, self.device, self.reporter) if own else self.inputs
            folds.append(selection.Fold(part, data, inputs))
        return selection.pick(selection.Workshop(plan, folds, self.seed, self.device, self.reporter, folder.log, folder.path))

    def _record(
        self,
        key: str,
        picks: selection.Picks,
        metrics: Metrics,
        plain: Metrics,
        optimistic: dict[str, float],
        costs: schema.Costs,
        started: str,
    ) -> schema.RunRecord:
        plan, data, inputs = self.plan, self.data, self.inputs
        entry, kind, split = plan.entry, plan.kind, data.split
        used = self._picks
        by_epochs = issubclass(kind, GradientModel) and self.elsewhere is None
        epochs = picks.config.train.epochs if by_epochs else None  # type: ignore[attr-defined]
        config = plan.values | picks.config.model_dump(mode="json")
        origins = {**plan.origins, **dict.fromkeys(picks.changes, "picked on validation")}
        return schema.RunRecord(
            identity=key,
            model=schema.ModelInfo(
                name=entry.name,
                distribution=entry.distribution,
                version=entry.version,
                class_path=f"{kind.__module__}:{kind.__qualname__}",
                protocol=kind.protocol,
                citation=kind.citation,
                pretraining_note=kind.pretraining_note,
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
            ),
            seed=self.seed,
            config=config,
            origins=origins,
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
            fingerprints=schema.Fingerprints(**data.fingerprints(), features=inputs.fingerprint),
            protocol=schema.ProtocolInfo(
                training=kind.protocol,
                selection=plan.protocol.selection,
                calibration=plan.protocol.calibration,
                gamma=picks.gamma,
                epoch=epochs,
                fold_seed=plan.protocol.fold_seed if used else None,
                folds=plan.protocol.folds if used else None,
                tuned=sorted(key for key in picks.changes if key != "train.epochs"),
                validation=dict(picks.figures),
            ),
            metrics=schema.Figures(**metrics.figures()),
            uncalibrated=schema.Figures(**plain.figures()),
            chance=schema.Chance(**metrics.chance),
            optimistic=optimistic,
            per_class={c: None if np.isnan(a) else float(a) for c, a in zip(data.classes, metrics.per_class, strict=True)},
            costs=costs,
            environment=environment(
                str(self.device), torch.get_num_threads(), ranks.size(), deterministic=torch.are_deterministic_algorithms_enabled()
            ),
            git=git_state(),
            elsewhere=self.elsewhere.label if self.elsewhere else "",
            started=started,
            finished=now(),
        )


@dataclass(frozen=True)
class _Outcome:
    """A trained model and its scores. watched: what was seen of the test sets on the way; times in seconds."""

    picks: selection.Picks
    model: Model
    scores: Scores
    watched: dict[str, float]
    train_seconds: float
    eval_seconds: float


class _TestWatch:
    """Scores the test sets now and then, for the one figure that says what picking on them would give.

    It can neither stop the training nor change the model, and nothing of it reaches a result but `optimistic`.
    """

    def __init__(self, job: _Job, every: int) -> None:
        self.history: list[dict[str, float]] = []
        self._job, self._every = job, every

    def after_epoch(self, epoch: int, model: GradientModel) -> bool:
        if epoch % self._every == 0 or epoch == model.config.train.epochs:
            coming = self._job.scores(model)
            sets = answered_sets(coming.test_seen, coming.test_seen_labels, coming.test_unseen, coming.test_unseen_labels, coming.seen)
            figures = measure(sets).figures()
            self.history.append({"epoch": float(epoch), **figures})
        return False

    def best(self) -> dict[str, float]:
        """The best H and the best T1, each at an epoch of its own, as papers print them."""
        if not self.history:
            return {}
        h, t1 = (max(self.history, key=lambda row, name=name: row[name]) for name in ("H", "T1"))  # type: ignore[misc]
        return {"every": self._every, "best_epoch": int(h["epoch"]), "U": h["U"], "S": h["S"], "H": h["H"], "T1": t1["T1"]}


def _published_as(dataset: str) -> str:
    return "" if is_card(dataset) else str(DATASETS.load(dataset)[1].published_as)
