"""Every check is right about a model that keeps the contract, and about one that breaks just its rule."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from zslkit.errors import UnknownName, UserError
from zslkit.functional import whole_batch, whole_sum
from zslkit.model import AttentionMaps, GradientConfig, GradientModel, Model, ModelConfig, Task, Trainer, TrainingView
from zslkit.testing import CHECKS, ConformanceError, Result, check_model
from zslkit.testing.conformance import Trial


class Good(GradientModel):
    """Regions are projected to attributes; a class is as near as its attributes are to their mean."""

    inputs = ("map", "pooled")
    loss_is_mean = True
    citation = "Made up for a test"
    Config = GradientConfig

    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        self.project = nn.Linear(task.feature_shape[0] if task.map_shape is None else task.map_shape[0], task.n_attributes)

    def scores(self, x: Tensor) -> Tensor:
        f = self.embed(x)
        s = self.project(f.mean(dim=(2, 3)) if f.ndim == 4 else f)
        return 20 * F.normalize(s, dim=1) @ self.attributes.T

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": F.cross_entropy(self.scores(x).masked_fill(~self.seen, float("-inf")), label)}

    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        f = self.embed(x)
        maps = torch.einsum("bdhw,ad->bahw", f, self.project.weight)
        return {"region": AttentionMaps(maps, maps.mean(dim=(2, 3)), f.mean(dim=(2, 3))[:, None].expand(-1, maps.shape[1], -1))}


class Tuned(Good):
    inputs = ("image",)


class ClosedForm(Model):
    """Least squares from features to attributes: nothing is random, nothing is trained in steps."""

    inputs = ("pooled",)
    citation = "Made up for a test"
    W: Tensor

    def __init__(self, config: ModelConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("W", torch.zeros(task.feature_shape[0], task.n_attributes))

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        x, label = view.everything()
        self.W.copy_(torch.linalg.lstsq(x, self.attributes[label]).solution)

    def scores(self, x: Tensor) -> Tensor:
        return x @ self.W @ self.attributes.T


class Staged(Model):
    """Trains itself in two stages, with random batches in both; the second starts from what the first has learnt."""

    inputs = ("pooled",)
    citation = "Made up for a test"

    def __init__(self, config: ModelConfig, task: Task) -> None:
        super().__init__(config, task)
        self.project = nn.Linear(task.feature_shape[0], task.n_attributes)

    def kept(self, random: torch.Generator) -> dict[str, Any]:
        return {"random": random}

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        x, label = view.everything()
        random = torch.Generator().manual_seed(trainer.seed)
        for name, lr in (("rough", 0.03), ("fine", 0.003)):
            optimizer = torch.optim.Adam(self.parameters(), lr=lr)
            for _ in (stage := trainer.stage(name, 3, {"model": self, "optimizer": optimizer, **self.kept(random)}, steps=15)):
                for _ in range(15):
                    index = torch.randint(len(x), (18,), generator=random)
                    seen = self.scores(x[index]).masked_fill(~self.seen, float("-inf"))
                    loss = F.cross_entropy(seen, label[index])
                    stage.step(cross_entropy=loss)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()

    def scores(self, x: Tensor) -> Tensor:
        return 20 * F.normalize(self.project(x), dim=1) @ self.attributes.T


class ForgetsItsGenerator(Staged):
    """Its stages go on with other batches than they were interrupted at."""

    def kept(self, random: torch.Generator) -> dict[str, Any]:
        return {}


class OtherContract(Good):
    contract = 99


class StrangeInput(Good):
    inputs = ("sound",)  # type: ignore[assignment]


class StrangeNeed(Good):
    needs = ("wings",)


class StrangeProtocol(Good):
    protocol = "inductiv"  # type: ignore[assignment]


class NoCitation(Good):
    citation = " "


class MisspeltExpectation(Good):
    expected_failures: ClassVar[Mapping[str, str]] = {"bfloat": "it cannot"}


class NoReason(Good):
    expected_failures: ClassVar[Mapping[str, str]] = {"bfloat16": ""}


class RequiredConfig(GradientConfig):
    width: int


class NoDefault(Good):
    Config = RequiredConfig


class LaxConfig(GradientConfig):
    model_config = ConfigDict(extra="allow")


class AcceptsAnything(Good):
    Config = LaxConfig


class MapsAlone(Good):
    """Says that it takes pooled features, and cannot."""

    def scores(self, x: Tensor) -> Tensor:
        return 20 * F.normalize(self.project(x.mean(dim=(2, 3))), dim=1) @ self.attributes.T


class WordsWithoutAsking(Good):
    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("words", torch.from_numpy(task.word_vectors).mean(dim=1))  # type: ignore[arg-type]


class NeedsWords(Good):
    needs = ("word_vectors",)

    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        if task.word_vectors is None:
            raise UserError("no word vectors; add them")


class NeedsNothing(Good):
    needs = ("word_vectors",)


class SeenAlone(Good):
    def scores(self, x: Tensor) -> Tensor:
        return super().scores(x)[:, self.seen] if not self.training else super().scores(x)


class NotANumber(Good):
    def scores(self, x: Tensor) -> Tensor:
        scores = super().scores(x)
        return scores if self.training else scores / 0 * 0


class LooksAtTheBatch(Good):
    def scores(self, x: Tensor) -> Tensor:
        scores = super().scores(x)
        return scores if self.training else scores - scores.mean(dim=0)


class Counts(Good):
    """Keeps count of what it scores."""

    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("count", torch.zeros(()))

    def scores(self, x: Tensor) -> Tensor:
        if not self.training:
            self.count.add_(len(x))
        return super().scores(x)


class FlatMaps(Good):
    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        return {"region": AttentionMaps(super().attention(x)["region"].maps.flatten(2))}


class ClassMaps(Good):
    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        return {"region": AttentionMaps(super().attention(x)["region"].maps[:, :5])}


class InfiniteMaps(Good):
    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        return {"region": AttentionMaps(super().attention(x)["region"].maps.log())}


class Nameless(Good):
    def attention(self, x: Tensor) -> dict[str, AttentionMaps]:
        return {"": super().attention(x)["region"]}


class Unrepeatable(Good):
    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        generator = torch.Generator()
        generator.seed()
        with torch.no_grad():
            self.project.weight.add_(torch.rand(self.project.weight.shape, generator=generator))


class OneSeed(Good):
    """Whatever the seed, it starts and goes the same way."""

    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        nn.init.constant_(self.project.weight, 0.1)
        nn.init.constant_(self.project.bias, 0.0)

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        trainer.seed = 0
        trainer.train(self, view)


class KeepsBeside(Good):
    """What its training finds is in an attribute that no file holds."""

    shift: Tensor | float = 0.0

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        trainer.train(self, view)
        self.shift = torch.linspace(0, 1, self.task.n_classes)

    def scores(self, x: Tensor) -> Tensor:
        return super().scores(x) + self.shift


class NothingToKeep(ClosedForm):
    def __init__(self, config: ModelConfig, task: Task) -> None:
        Model.__init__(self, config, task)

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        x, label = view.everything()
        self.W = torch.linalg.lstsq(x, self.attributes[label]).solution


class CountsSteps(Good):
    """The weight of its loss hangs on a count that no checkpoint holds."""

    step = 0

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        self.step += 1
        return {name: term / self.step for name, term in super().loss(x, label).items()}


class LearnsTheWrongThing(Good):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        seen = self.seen.nonzero().flatten()
        return super().loss(x, seen[(torch.searchsorted(seen, label) + 1) % len(seen)])


class Backwards(Good):
    """Its loss is right and its steps go uphill."""

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {name: -term for name, term in super().loss(x, label).items()}


class FixedTypes(Good):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        scores = torch.zeros(len(x), self.task.n_classes)
        scores[torch.arange(len(x))] = self.project(x.mean(dim=(2, 3)) if x.ndim == 4 else x) @ self.attributes.T
        return {"cross_entropy": F.cross_entropy(20 * scores.masked_fill(~self.seen, float("-inf")), label)}


class AddsUp(Good):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {**super().loss(x, label), "size": self.scores(x)[:, self.seen].square().sum() / 1000}


class LooksAtTheMean(Good):
    """The term that it should pass through whole_batch, as the next one does."""

    def size(self, x: Tensor) -> Tensor:
        return self.project(x.flatten(2).mean(dim=2) if x.ndim == 4 else x).square().sum(dim=1)

    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {**super().loss(x, label), "spread": self.size(x).std()}


class LooksAtTheWholeMean(LooksAtTheMean):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        middle = whole_sum(self.size(x).sum()) / len(whole_batch(label))  # a sum that another builds on
        far = whole_sum((self.size(x) - middle).square().sum())
        return {**Good.loss(self, x, label), "spread": far.sqrt() / 100, "again": whole_batch(self.size(x)).std()}


class Idle(Good):
    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        self.spare = nn.Parameter(torch.zeros(3))


class Peeps(ClosedForm):
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        super().fit(view, trainer)
        view._source.batch(np.arange(100))  # type: ignore[attr-defined]


class PeepsQuietly(ClosedForm):
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        super().fit(view, trainer)
        with contextlib.suppress(Exception):
            view._source.batch(np.arange(100))  # type: ignore[attr-defined]


class KnowsUnseenClasses(Good):
    def loss(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": F.cross_entropy(self.scores(x), label)}


class SaysSo(KnowsUnseenClasses):
    protocol = "class-inductive"


class SaysTooMuch(Good):
    protocol = "class-inductive"


class GlobalNumbers(ClosedForm):
    """Draws from torch's generator in fit, which whoever trained before has moved."""

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        super().fit(view, trainer)
        self.W.add_(1e-3 * torch.rand(self.W.shape))


class SharedList(Good):
    made: ClassVar[list[str]] = []

    def __init__(self, config: GradientConfig, task: Task) -> None:
        super().__init__(config, task)
        self.made.append(task.dataset)


class SharedCount(ClosedForm):
    """The second model is not like the first."""

    made: ClassVar[dict[str, int]] = {}

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        super().fit(view, trainer)
        self.made["times"] = 1


class ForTheWholeProcess(ClosedForm):
    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        super().fit(view, trainer)
        np.seterr(invalid="ignore")


class CountsClasses(Good):
    def predicted_attributes(self, x: Tensor) -> Tensor:
        return self.scores(x)


class HalfSilent(Good):
    def predicted_attributes(self, x: Tensor) -> Tensor:
        return self.project(x.mean(dim=(2, 3))).log()


class AgainstTheOthers(Good):
    def predicted_attributes(self, x: Tensor) -> Tensor:
        s = self.project(x.mean(dim=(2, 3)))
        return s - s.mean(dim=0)


class Telling(Good):
    def predicted_attributes(self, x: Tensor) -> Tensor:
        s = self.project(x.mean(dim=(2, 3)))
        s[:, 3] = float("nan")
        return s


BROKEN: list[tuple[type[Model], str, str]] = [
    (OtherContract, "contract", "contract 99"),
    (StrangeInput, "contract", "sound"),
    (StrangeNeed, "contract", "wings"),
    (StrangeProtocol, "contract", 'did you mean "inductive"'),
    (NoCitation, "citation", "empty"),
    (MisspeltExpectation, "expected_failures", 'did you mean "bfloat16"'),
    (NoReason, "expected_failures", "no reason for 'bfloat16'"),
    (NoDefault, "default_config", "lacks 'width'"),
    (AcceptsAnything, "unknown_keys", "attributess"),
    (MapsAlone, "declared_inputs", "with input 'pooled'"),
    (WordsWithoutAsking, "missing_semantics", "without word vectors: TypeError"),
    (SeenAlone, "scores_shape", "for every image and class"),
    (NotANumber, "scores_shape", "not finite"),
    (LooksAtTheBatch, "scores_of_each_image", "batches of one image|reversed|other images"),
    (Counts, "scoring_leaves_no_trace", "count of 3 differ"),
    (FlatMaps, "attention_maps", r"\(4, 12, 12\), and it takes \(4, 12, 3, 4\)"),
    (ClassMaps, "attention_maps", r"\(4, 5, 3, 4\), and it takes"),
    (InfiniteMaps, "attention_maps", "not finite"),
    (Nameless, "attention_maps", "named ''"),
    (CountsClasses, "predicted_attributes", r"gave \(1, 15\) for 1 images and 12 attributes"),
    (HalfSilent, "predicted_attributes", "and others NaN"),
    (AgainstTheOthers, "predicted_attributes", "move with the others of its batch"),
    (Unrepeatable, "same_seed_same_model", "project.weight"),
    (OneSeed, "other_seed_other_model", "to the last bit"),
    (KeepsBeside, "saves_and_loads", "differ by up to"),
    (NothingToKeep, "saves_and_loads", "no parameter and no buffer"),
    (CountsSteps, "resumes", "ends elsewhere"),
    (ForgetsItsGenerator, "resumes", "interrupted after every epoch of its stages and resumed, it ends elsewhere"),
    (LearnsTheWrongThing, "learns", "3 times chance, 33 % and 50 %"),
    (Backwards, "learns", "3 times chance"),
    (FixedTypes, "bfloat16", "train.precision=bfloat16"),
    (AddsUp, "loss_is_mean", "where 2 processes share them"),
    (LooksAtTheMean, "loss_is_mean", "where 2 processes share them"),
    (Peeps, "never_sees_test_images", "images of the test sets"),
    (PeepsQuietly, "never_sees_test_images", "images of the test sets"),
    (KnowsUnseenClasses, "declared_protocol", "other attributes of the unseen classes"),
    (GlobalNumbers, "no_global_state", "ends elsewhere than alone"),
    (SharedList, "no_global_state", "changes SharedList.made"),
    (SharedCount, "no_global_state", "changes SharedCount.made"),
    (ForTheWholeProcess, "no_global_state", "NumPy's error handling"),
]


@pytest.fixture(autouse=True)
def settings_kept() -> Iterator[None]:
    with np.errstate():
        yield


def failed(results: list[Result]) -> dict[str, str]:
    return {result.check: result.message for result in results if result.failed}


@pytest.mark.parametrize("kind", [Good, Tuned, ClosedForm, Staged, SaysSo, NeedsWords, LooksAtTheWholeMean])
def test_a_model_that_keeps_the_contract_passes(kind: type[Model]) -> None:
    results = check_model(kind)
    assert [r.check for r in results] == [c.name for c in CHECKS]


@pytest.mark.parametrize(("kind", "name", "words"), BROKEN, ids=[kind.__name__ for kind, _, _ in BROKEN])
def test_a_broken_model_fails_just_the_check_that_is_about_it(kind: type[Model], name: str, words: str) -> None:
    bad = failed(check_model(kind, raise_=False))
    assert list(bad) == [name]
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(bad[name])


def test_every_check_that_can_fail_has_a_model_that_fails_it() -> None:
    remarks_only = {"gradients"}
    assert {name for _, name, _ in BROKEN} | remarks_only == {c.name for c in CHECKS}


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (Idle, "gradients", "no gradient reaches spare"),
        (SaysTooMuch, "declared_protocol", "could be declared inductive"),
        (NeedsNothing, "missing_semantics", "does not refuse"),
        (Good, "attention_maps", "1 part: region"),
        (Telling, "predicted_attributes", "1 of 12 attributes are not told"),
        (Staged, "resumes", "after each of 6 epochs of its stages"),
    ],
)
def test_what_is_no_fault_is_remarked(kind: type[Model], name: str, words: str) -> None:
    (result,) = check_model(kind, only=[name])
    assert result.status == "passed" and words in result.message


def test_checks_that_build_on_one_that_fails_say_so_and_no_more() -> None:
    results = {r.check: r for r in check_model(NoDefault, raise_=False)}
    for name in ("scores_shape", "learns", "no_global_state"):
        assert results[name].status == "skipped" and "before default_config passes" in results[name].message


def test_what_does_not_apply_is_skipped_with_its_reason() -> None:
    results = {r.check: r for r in check_model(ClosedForm)}
    told = {name: r.message for name, r in results.items() if r.status == "skipped"}
    assert told["other_seed_other_model"] == "nothing in it is random"
    assert set(told) == {
        "expected_failures",
        "other_seed_other_model",
        "resumes",
        "bfloat16",
        "gradients",
        "loss_is_mean",
        "attention_maps",
        "predicted_attributes",
    }


class KnownFault(CountsSteps):
    expected_failures: ClassVar[Mapping[str, str]] = {"resumes": "it counts its steps", "bfloat16": "it was so once"}


def test_expected_failures_are_shown_and_those_that_pass_are_told() -> None:
    results = {r.check: r for r in check_model(KnownFault)}
    assert results["resumes"].status == "expected failure" and "it counts its steps" in results["resumes"].message
    assert results["bfloat16"].status == "unexpected pass" and "take the entry away" in results["bfloat16"].message


def test_the_error_lists_what_failed_and_how_to_mend_it() -> None:
    with pytest.raises(ConformanceError, match=r"NoCitation fails 1 check:\n- citation: .*set `citation` to authors") as error:
        check_model(NoCitation)
    assert [r.check for r in error.value.results] == ["citation"]


def test_only_and_skip_choose_checks_and_misspelt_ones_are_refused() -> None:
    assert [r.check for r in check_model(NoCitation, skip=["citation"], only=["citation", "contract"])] == ["contract"]
    with pytest.raises(UnknownName, match='did you mean "learns"'):
        check_model(Good, only=["learn"])


def test_a_check_asked_for_alone_brings_the_fault_that_it_waits_for() -> None:
    results = check_model(NoDefault, only=["learns", "resumes"], raise_=False)
    assert [(r.check, r.status) for r in results] == [("default_config", "failed"), ("resumes", "skipped"), ("learns", "skipped")]
    (alone,) = check_model(MapsAlone, only=["learns"], skip=["declared_inputs", "scores_shape"])
    assert alone.status == "passed", "nothing waits for what the caller leaves away"


class Delicate(Good):
    """It says itself at which rate it learns."""

    check_settings: ClassVar[Mapping[str, Any]] = {"train.optimizer": "adam", "train.epochs": 1}


def test_settings_of_the_model_and_of_the_caller_win() -> None:
    trial = Trial(Delicate, {"train.batch_size": 7})
    train = trial.bench.config().train  # type: ignore[attr-defined]
    assert (train.optimizer, train.epochs, train.batch_size) == ("adam", 1, 7)
    with pytest.raises(UserError, match=r"has no setting 'train\.epoch' \(settings\); did you mean"):
        check_model(Delicate, settings={"train.epoch": 7}, only=["learns"])


def test_checking_leaves_the_process_as_it_was() -> None:
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    before = torch.get_rng_state(), copy.deepcopy(np.random.get_state()), random.getstate()
    check_model(ClosedForm)
    assert torch.equal(before[0], torch.get_rng_state())
    assert random.getstate() == before[2] and np.array_equal(before[1][1], np.random.get_state()[1])
