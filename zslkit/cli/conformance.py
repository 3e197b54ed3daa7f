"""`zslkit check`: does a model keep the contract?"""

from __future__ import annotations

from functools import partial

import click

from zslkit.cli import completers
from zslkit.cli.failure import State, tell
from zslkit.cli.output import print_columns, print_json
from zslkit.cli.verb import verb
from zslkit.registry import MODELS

check_option = partial(
    click.option, metavar="CHECK", multiple=True, shell_complete=completers.checks
)


@verb(example="zslkit check eszsl\nzslkit check eszsl --only same_seed_same_model")
@click.argument("name", required=False, shell_complete=completers.models)
@check_option("--only", help="Run only this check; may be repeated.")
@check_option("--skip", help="Leave this check out; may be repeated.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completers.model_settings,
    help="One setting of the model, over those of the checks' short training; may be repeated.",
)
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
    # A name that nothing answers to costs no import.
    entry = MODELS.find(name) if name is not None else None
    from zslkit.config.merge import parse_set
    from zslkit.testing import check_model
    from zslkit.testing.conformance import chosen
    from zslkit.utils.progress import reporter_for

    if entry is None or name is None:
        checks = chosen(only, skip)
        if as_json:
            told = [
                {"name": c.name, "reason": c.reason, "hint": c.hint, "after": list(c.after)}
                for c in checks
            ]
            print_json({"checks": told})
        else:
            print_columns(("check", "why it matters"), [(c.name, c.reason) for c in checks])
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
    if as_json:
        keys = ("check", "status", "message", "reason", "hint")
        told = [{key: getattr(r, key) for key in keys} for r in results]
        facts = {"model": entry.name, "distribution": entry.distribution, "version": entry.version}
        print_json({**facts, "passed": not any(r.failed for r in results), "results": told})
    else:
        mend = [f". To mend it: {r.hint}" if r.failed and r.hint else "" for r in results]
        rows = [(r.check, r.status, r.message + m) for r, m in zip(results, mend, strict=True)]
        print_columns(("check", "verdict", "what it says"), rows)
    if bad := [result.check for result in results if result.failed]:
        tell(f"{name} fails {len(bad)} of {len(results)} checks: {', '.join(bad)}")
        return 1
    return 0
