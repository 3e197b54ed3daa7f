"""Every check is right about a model that keeps the contract, and about one that breaks just its
rule."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from broken_models import (
    BROKEN,
    CountsSteps,
    Idle,
    LooksAtTheWholeMean,
    SaysSo,
    SaysTooMuch,
    SharedCount,
    Telling,
)
from misdeclared_models import (
    MISDECLARED,
    MapsAlone,
    NeedsNothing,
    NeedsWords,
    NoCitation,
    NoDefault,
)
from sound_models import ClosedForm, Good, Staged, Tuned

from zslkit.errors import UnknownName, UserError
from zslkit.model import Model
from zslkit.testing import CHECKS, CheckResult, ConformanceError, check_model
from zslkit.testing.conformance import Trial

BREAKING = [*MISDECLARED, *BROKEN]


@pytest.fixture(autouse=True)
def settings_kept() -> Iterator[None]:
    with np.errstate():
        yield


def failed(results: list[CheckResult]) -> dict[str, str]:
    return {result.check: result.message for result in results if result.failed}


@pytest.mark.parametrize(
    "kind",
    [
        Good,
        ClosedForm,
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in (Tuned, Staged, SaysSo, NeedsWords, LooksAtTheWholeMean)
        ),
    ],
)
def test_a_model_that_keeps_the_contract_passes(kind: type[Model]) -> None:
    results = check_model(kind)
    assert [r.check for r in results] == [c.name for c in CHECKS]


@pytest.fixture(autouse=True)
def nothing_of_an_earlier_test() -> Iterator[None]:
    yield
    SharedCount.made.clear()


broken = pytest.mark.parametrize(
    ("kind", "name", "words"), BREAKING, ids=[kind.__name__ for kind, _, _ in BREAKING]
)


@broken
def test_a_broken_model_fails_the_check_that_is_about_it(
    kind: type[Model], name: str, words: str
) -> None:
    bad = failed(check_model(kind, only=[name], raise_=False))
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(bad[name])


@pytest.mark.slow
@broken
def test_a_broken_model_fails_no_other_check(kind: type[Model], name: str, words: str) -> None:
    assert list(failed(check_model(kind, raise_=False))) == [name]


def test_every_check_that_can_fail_has_a_model_that_fails_it() -> None:
    remarks_only = {"accelerator", "gradients"}
    assert {name for _, name, _ in BREAKING} | remarks_only == {c.name for c in CHECKS}


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
        assert (
            results[name].status == "skipped"
            and "before default_config passes" in results[name].message
        )


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
        "answers_in_one_pass",
    }


class KnownFault(CountsSteps):
    expected_failures: ClassVar[Mapping[str, str]] = {
        "resumes": "it counts its steps",
        "bfloat16": "it was so once",
    }


@pytest.mark.slow
def test_expected_failures_are_shown_and_those_that_pass_are_told() -> None:
    results = {r.check: r for r in check_model(KnownFault)}
    assert (
        results["resumes"].status == "expected failure"
        and "it counts its steps" in results["resumes"].message
    )
    assert (
        results["bfloat16"].status == "unexpected pass"
        and "take the entry away" in results["bfloat16"].message
    )


@pytest.mark.slow
def test_the_error_lists_what_failed_and_how_to_mend_it() -> None:
    with pytest.raises(
        ConformanceError,
        match=r"NoCitation fails 1 check:\n- citation: .*set `citation` to authors",
    ) as error:
        check_model(NoCitation)
    assert [r.check for r in error.value.results] == ["citation"]


def test_only_and_skip_choose_checks_and_misspelt_ones_are_refused() -> None:
    assert [
        r.check for r in check_model(NoCitation, skip=["citation"], only=["citation", "contract"])
    ] == ["contract"]
    with pytest.raises(UnknownName, match='did you mean "learns"'):
        check_model(Good, only=["learn"])


def test_a_check_asked_for_alone_brings_the_fault_that_it_waits_for() -> None:
    results = check_model(NoDefault, only=["learns", "resumes"], raise_=False)
    assert [(r.check, r.status) for r in results] == [
        ("default_config", "failed"),
        ("resumes", "skipped"),
        ("learns", "skipped"),
    ]
    (alone,) = check_model(MapsAlone, only=["learns"], skip=["declared_inputs", "scores_shape"])
    assert alone.status == "passed", "nothing waits for what the caller leaves away"


class Delicate(Good):
    """It says itself at which rate it learns."""

    check_settings: ClassVar[Mapping[str, Any]] = {"train.optimizer": "adam", "train.epochs": 1}


def test_settings_of_the_model_and_of_the_caller_win() -> None:
    trial = Trial(Delicate, {"train.batch_size": 7})
    train = trial.bench.config().train  # type: ignore[attr-defined]
    assert (train.optimizer, train.epochs, train.batch_size) == ("adam", 1, 7)
    with pytest.raises(
        UserError, match=r"has no setting 'train\.epoch' \(settings\); did you mean"
    ):
        check_model(Delicate, settings={"train.epoch": 7}, only=["learns"])


def test_checking_leaves_the_process_as_it_was() -> None:
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    before = torch.get_rng_state(), copy.deepcopy(np.random.get_state()), random.getstate()
    check_model(ClosedForm)
    assert torch.equal(before[0], torch.get_rng_state())
    assert random.getstate() == before[2] and np.array_equal(before[1][1], np.random.get_state()[1])
