"""All conformance checks: as a function, as pytest parameters, and as a table."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zslkit.errors import UnknownName, ZslkitError, did_you_mean
from zslkit.model import Model
from zslkit.registry import MODELS
from zslkit.testing import accelerator, answers, declared, honesty, sharing, training
from zslkit.testing.bench import Bench
from zslkit.testing.check import Check, CheckResult, ConformanceError, check
from zslkit.testing.outcome import Failed, Skipped
from zslkit.testing.shared import generators_kept
from zslkit.utils.progress import Reporter, Silent
from zslkit.utils.stops import error_sentence, is_stop

if TYPE_CHECKING:
    import pytest


@check(
    reason=("Known faults must name an existing check; a misspelt name would have no effect."),
    hint="in expected_failures, use names listed by `zslkit check`, each with a reason",
    after=[declared.contract],
)
def expected_failures(bench: Bench) -> None:
    known = [c.name for c in CHECKS]
    if not bench.kind.expected_failures:
        raise Skipped("it declares none")
    for name, why in bench.kind.expected_failures.items():
        if name not in known:
            raise Failed(
                f"expected_failures names {name!r}, and there is no such "
                f"check{did_you_mean(name, known)}"
            )
        if not str(why).strip():
            raise Failed(f"expected_failures gives no reason for {name!r}")


CHECKS: tuple[Check, ...] = (
    declared.contract,
    declared.citation,
    expected_failures,
    declared.default_config,
    declared.unknown_keys,
    declared.declared_inputs,
    declared.missing_semantics,
    answers.scores_shape,
    answers.scores_of_each_image,
    answers.scoring_leaves_no_trace,
    answers.attention_maps,
    answers.predicted_attributes,
    answers.answers_in_one_pass,
    training.same_seed_same_model,
    training.other_seed_other_model,
    training.saves_and_loads,
    training.resumes,
    training.learns,
    training.bfloat16,
    training.gradients,
    accelerator.accelerator,
    sharing.loss_is_mean,
    honesty.never_sees_test_images,
    honesty.declared_protocol,
    honesty.no_global_state,
)
"""All checks in running order; a check follows those that it depends on."""


class Trial:
    """All checks of one model. Each runs once, on first use; they share trained models.

    Args:
        model: A class, or the name of a registered model.
        settings: Dotted config key -> value; overrides the short training of the checks.
        skip: Names of checks to ignore.

    Raises:
        UnknownName: `skip` contains an unknown name.
    """

    def __init__(
        self,
        model: type[Model] | str,
        settings: Mapping[str, Any] | None = None,
        skip: Iterable[str] = (),
    ) -> None:
        self._model, self._settings = model, settings
        self._skip = frozenset(_named(name).name for name in skip)
        self._results: dict[str, CheckResult] = {}

    @property
    def name(self) -> str:
        return self._model if isinstance(self._model, str) else self._model.__name__

    @cached_property
    def bench(self) -> Bench:
        """Bench of the model.

        Raises:
            UnknownName: There is no model of this name.
            NameClash: Several plugins registered the name.
            BrokenPlugin: The plugin cannot be loaded.
            UserError: The model has no such setting.
        """
        model = MODELS.load(self._model)[1] if isinstance(self._model, str) else self._model
        return Bench(model, self.name, self._settings)

    def result(self, which: Check) -> CheckResult:
        """Result of a check. Raises as `bench` does."""
        if which.name not in self._results:
            with generators_kept():
                self._results[which.name] = self._run(which)
            self.bench.libraries.restore()
        return self._results[which.name]

    def obstacle(self, which: Check) -> CheckResult | None:
        """Result of the first failed check that this one depends on, or None."""
        for name in which.after:
            if (deeper := self.obstacle(_named(name))) is not None:
                return deeper
            if name not in self._skip and (result := self.result(_named(name))).status in (
                "failed",
                "expected failure",
            ):
                return result
        return None

    def _run(self, which: Check) -> CheckResult:
        bench, facts = self.bench, {"reason": which.reason, "hint": which.hint}
        if (obstacle := self.obstacle(which)) is not None:
            text = f"it says nothing before {obstacle.check} passes"
            return CheckResult(which.name, "skipped", text, **facts)
        expected = bench.kind.expected_failures.get(which.name)
        try:
            message = which.function(bench) or ""
        except Skipped as skipped:
            return CheckResult(which.name, "skipped", str(skipped), **facts)
        except BaseException as error:  # a plugin may raise anything, or call exit()
            if is_stop(error):
                raise
            text = str(error) if isinstance(error, (Failed, ZslkitError)) else error_sentence(error)
            if expected is not None:
                return CheckResult(which.name, "expected failure", f"{expected} ({text})", **facts)
            facts["traceback"] = traceback.format_exc()
            return CheckResult(which.name, "failed", text, **facts)
        if expected is not None:
            message = (
                f"it passes, and expected_failures says that it does not ({expected}); take "
                "the entry away"
            )
            return CheckResult(which.name, "unexpected pass", message, **facts)
        return CheckResult(which.name, "passed", message, **facts)


def check_model(
    model: type[Model] | str,
    *,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    raise_: bool = True,
    reporter: Reporter | None = None,
) -> list[CheckResult]:
    """Check a model on a tiny made-up dataset on the CPU; takes seconds for a small model.

    A check that cannot run because another one fails adds the result of that one, even if it was
    not requested.

    Args:
        model: A class, or the name of a registered model.
        only: Names of checks to run; by default all.
        skip: Names of checks to leave out.
        settings: Dotted config key -> value, such as {"train.lr": 0.1}; overrides the short
            training of the checks.
        raise_: Whether failures raise.
        reporter: Destination of progress; by default none.

    Returns:
        Result of each check.

    Raises:
        ConformanceError: Checks failed; the message lists them.
        UnknownName: There is no such check or model.
        UserError: The model has no such setting.
    """
    selected = chosen(only, skip)
    trial, reporter = Trial(model, settings, skip), reporter or Silent()
    results: list[CheckResult] = []
    with reporter.phase(f"check {trial.name}", total=len(selected)) as phase:
        for which in selected:
            if (obstacle := trial.obstacle(which)) is not None and obstacle not in results:
                results.append(obstacle)
            results.append(trial.result(which))
            phase.advance()
    if raise_ and (bad := [result for result in results if result.failed]):
        raise ConformanceError(trial.name, bad)
    return results


def chosen(only: Iterable[str] = (), skip: Iterable[str] = ()) -> tuple[Check, ...]:
    """Checks selected by name, in running order; all by default.

    Raises:
        UnknownName: There is no such check.
    """
    only, skip = list(only), list(skip)
    for name in [*only, *skip]:
        _named(name)
    return tuple(c for c in CHECKS if (not only or c.name in only) and c.name not in skip)


def _named(name: str) -> Check:
    for one in CHECKS:
        if one.name == name:
            return one
    raise UnknownName("check", name, [c.name for c in CHECKS], "List them with: zslkit check")


def parametrize_with_checks(
    models: Sequence[type[Model] | str],
    *,
    skip: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> pytest.MarkDecorator:
    """Parametrize a pytest test with one id per model and check.

        @parametrize_with_checks([MyModel])
        def test_my_model_keeps_the_contract(check):
            check()

    `check` raises ConformanceError, skips, or fails as expected; one that passes against its
    model's expectation warns.

    Args:
        models: Classes, or names of registered models.
        skip: As in check_model.
        settings: As in check_model.
    """
    import pytest

    skip = list(skip)
    trials = [Trial(model, settings, skip) for model in models]
    cases = [
        pytest.param(_bound(trial, which), id=f"{trial.name}-{which.name}")
        for trial in trials
        for which in chosen(skip=skip)
    ]
    return pytest.mark.parametrize("check", cases)


def _bound(trial: Trial, which: Check) -> Callable[[], None]:
    def run() -> None:
        import pytest

        result = trial.result(which)
        if result.failed:
            raise ConformanceError(trial.name, [result])
        if result.status == "skipped":
            pytest.skip(result.message)
        if result.status == "expected failure":
            pytest.xfail(result.message)
        if result.status == "unexpected pass":
            warnings.warn(f"{trial.name}: {result}", stacklevel=2)

    return run


def table() -> str:
    """All checks with their reasons, as a Markdown table for the docs."""
    rows = [f"| `{c.name}` | {c.reason} | {c.hint[0].upper()}{c.hint[1:]}. |" for c in CHECKS]
    return "\n".join(
        ["| check | why it matters | how to mend a model that fails |", "|---|---|---|", *rows]
    )
