"""`zslkit check`: does a model keep the contract?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from zslkit.cli import completers
from zslkit.cli.failure import State, tell
from zslkit.cli.listing import MODELS
from zslkit.cli.options import debug_option, json_option
from zslkit.cli.output import print_columns, print_json
from zslkit.cli.verb import Verb

if TYPE_CHECKING:
    from zslkit.registry import Entry
    from zslkit.testing import Check, CheckResult


@click.command(
    cls=Verb, example="zslkit check eszsl\nzslkit check eszsl --only same_seed_same_model"
)
@click.argument("name", required=False, shell_complete=completers.models)
@click.option(
    "--only",
    metavar="CHECK",
    multiple=True,
    shell_complete=completers.checks,
    help="Run only this check; may be repeated.",
)
@click.option(
    "--skip",
    metavar="CHECK",
    multiple=True,
    shell_complete=completers.checks,
    help="Leave this check out; may be repeated.",
)
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completers.model_settings,
    help="One setting of the model, over those of the checks' short training; may be repeated.",
)
@json_option
@debug_option
@click.pass_obj
def check(
    state: State,
    /,
    name: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Test the model NAME against the contract, on a tiny made-up dataset; without NAME, list the
    checks.

    Use it while you write a model. To see whether all plugins import, use zslkit models --check; to
    test this machine, zslkit doctor; to test the files of a dataset, zslkit data verify.
    A check is skipped until those that it builds on pass. Exit code 1 if any fails.
    """
    entry = (
        MODELS.find(name) if name is not None else None
    )  # a name that nothing answers to costs no import
    from zslkit.config.merge import parse_set
    from zslkit.testing import check_model
    from zslkit.testing.conformance import chosen
    from zslkit.utils.progress import reporter_for

    if entry is None or name is None:
        _print_checks(chosen(only, skip), as_json)
        return 0
    results = check_model(
        name,
        only=only,
        skip=skip,
        settings=parse_set(settings).values,
        raise_=False,
        reporter=reporter_for(),
    )
    if state.debug:
        for result in results:
            if result.traceback:
                click.echo(f"{result.check}\n{result.traceback}", err=True)
    _print_results(entry, results, as_json)
    if bad := [result.check for result in results if result.failed]:
        tell(f"{name} fails {len(bad)} of {len(results)} checks: {', '.join(bad)}")
        return 1
    return 0


def _print_checks(checks: Sequence[Check], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "checks": [
                    {"name": c.name, "reason": c.reason, "hint": c.hint, "after": list(c.after)}
                    for c in checks
                ]
            }
        )
    else:
        print_columns(("check", "why it matters"), [(c.name, c.reason) for c in checks])


def _print_results(entry: Entry, results: Sequence[CheckResult], as_json: bool) -> None:
    if as_json:
        told = [
            {
                "check": r.check,
                "status": r.status,
                "message": r.message,
                "reason": r.reason,
                "hint": r.hint,
            }
            for r in results
        ]
        facts = {"model": entry.name, "distribution": entry.distribution, "version": entry.version}
        print_json({**facts, "passed": not any(r.failed for r in results), "results": told})
        return
    print_columns(
        ("check", "verdict", "what it says"), [(r.check, r.status, _words(r)) for r in results]
    )


def _words(result: CheckResult) -> str:
    return (
        f"{result.message}. To mend it: {result.hint}"
        if result.failed and result.hint
        else result.message
    )
