"""What every model must pass, as a function, as pytest ids, and as a table."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zslkit.errors import UnknownName, ZslkitError, did_you_mean
from zslkit.model import Model
from zslkit.progress import Reporter, Silent
from zslkit.settings import MODELS
from zslkit.testing import answers, declared, honesty, training
from zslkit.testing.bench import Bench
from zslkit.testing.check import Check, ConformanceError, Failed, Result, Skipped, check

if TYPE_CHECKING:
    import pytest


@check(
    reason="A known fault that is written down is a fact; one under a misspelt name hides nothing and tells nobody.",
    hint="name checks in expected_failures as `zslkit check` lists them, each with its reason",
    after=[declared.contract],
)
def expected_failures(bench: Bench) -> None:
    known = [c.name for c in CHECKS]
    if not bench.kind.expected_failures:
        raise Skipped("it declares none")
    for name, why in bench.kind.expected_failures.items():
        if name not in known:
            raise Failed(f"expected_failures names {name!r}, and there is no such check{did_you_mean(name, known)}")
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
    training.same_seed_same_model,
    training.other_seed_other_model,
    training.saves_and_loads,
    training.resumes,
    training.learns,
    training.bfloat16,
    training.gradients,
    honesty.never_sees_test_images,
    honesty.declared_protocol,
    honesty.no_global_state,
)
"""All checks, in the order in which they run: a check stands after those that it builds on."""


class Trial:
    """One model before all checks. Each is run once, when it is first asked for; what they train they share.

    model: a class, or the name of a registered model. settings: its config by dotted key, over the checks' own short training.
    """

    def __init__(self, model: type[Model] | str, settings: Mapping[str, Any] | None = None) -> None:
        self._model, self._settings = model, settings
        self._results: dict[str, Result] = {}
        self._bench: Bench | None = None

    @property
    def name(self) -> str:
        return self._model if isinstance(self._model, str) else self._model.__name__

    def result(self, which: Check) -> Result:
        """What comes of a check. Raises UnknownName, NameClash or BrokenPlugin if the model's name does not lead to a class."""
        if which.name not in self._results:
            self._results[which.name] = self._run(which)
        return self._results[which.name]

    def _bench_of(self) -> Bench:
        if self._bench is None:
            kind = MODELS.load(self._model)[1] if isinstance(self._model, str) else self._model
            self._bench = Bench(kind, self.name, self._settings)
        return self._bench

    def _run(self, which: Check) -> Result:
        facts = {"reason": which.reason, "hint": which.hint}
        bench = self._bench_of()
        for earlier in which.after:
            if self.result(_named(earlier)).status in ("failed", "expected failure") or self._blocked(earlier):
                return Result(which.name, "skipped", f"it says nothing before {self._root(earlier)} passes", **facts)
        expected = bench.kind.expected_failures.get(which.name)
        try:
            message = which.function(bench) or ""
        except Skipped as skipped:
            return Result(which.name, "skipped", str(skipped), **facts)
        except Exception as error:  # a stranger's model may raise anything
            text = str(error) if isinstance(error, (Failed, ZslkitError)) else f"{type(error).__name__}: {error}"
            if expected is not None:
                return Result(which.name, "expected failure", f"{expected} ({text})", **facts)
            return Result(which.name, "failed", text, **facts, traceback=traceback.format_exc())
        if expected is not None:
            message = f"it passes, and expected_failures says that it does not ({expected}); take the entry away"
            return Result(which.name, "unexpected pass", message, **facts)
        return Result(which.name, "passed", message, **facts)

    def _blocked(self, name: str) -> bool:
        return any(
            self.result(_named(earlier)).status in ("failed", "expected failure") or self._blocked(earlier)
            for earlier in _named(name).after
        )

    def _root(self, name: str) -> str:
        """The check that failed, of `name` and those before it."""
        return next((self._root(earlier) for earlier in _named(name).after if self._blocked(earlier) or self._bad(earlier)), name)

    def _bad(self, name: str) -> bool:
        return self.result(_named(name)).status in ("failed", "expected failure")


def check_model(
    model: type[Model] | str,
    *,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    raise_: bool = True,
    reporter: Reporter | None = None,
) -> list[Result]:
    """Hold a model to the contract, on a tiny made-up dataset and the CPU; takes seconds for a small model.

    model: a class, or the name of a registered model. only, skip: names of checks to run, or to leave away. settings: the model's
    config by dotted key, such as {"train.lr": 0.1}, over the checks' own short training.
    Raises ConformanceError that lists what failed, unless raise_ is False; UnknownName for a name that is no check or no model.
    """
    asked = chosen(only, skip)
    trial, reporter = Trial(model, settings), reporter or Silent()
    results = []
    with reporter.phase(f"check {trial.name}", total=len(asked)) as phase:
        for which in asked:
            results.append(trial.result(which))
            phase.advance()
    if raise_ and (bad := [result for result in results if result.failed]):
        raise ConformanceError(trial.name, bad)
    return results


def chosen(only: Iterable[str] = (), skip: Iterable[str] = ()) -> tuple[Check, ...]:
    """The checks of these names, all by default, in their order. Raises UnknownName."""
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
    """One pytest id for every model and check.

        @parametrize_with_checks([MyModel])
        def test_my_model_keeps_the_contract(check):
            check()

    `check` raises ConformanceError, skips, or fails as expected; one that passes against its model's expectation warns.
    skip and settings are as in check_model.
    """
    import pytest

    trials = [Trial(model, settings) for model in models]
    cases = [
        pytest.param(_bound(trial, which), id=f"{trial.name}-{which.name}") for trial in trials for which in chosen((), skip)
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
    """All checks with their reasons as a Markdown table, for the docs."""
    rows = [f"| `{c.name}` | {c.reason} | {c.hint[0].upper()}{c.hint[1:]}. |" for c in CHECKS]
    return "\n".join(["| check | why it matters | how to mend a model that fails |", "|---|---|---|", *rows])
