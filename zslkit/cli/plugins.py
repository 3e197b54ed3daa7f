"""`zslkit models`, `zslkit datasets` and `zslkit trackers`: what is installed, where it comes from,
and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import click

from zslkit.cli import completers
from zslkit.cli.failure import State, tell
from zslkit.cli.listing import DATASETS, MODELS, ListingLine, contract_rule, lines, tracker_lines
from zslkit.cli.options import debug_option, json_option
from zslkit.cli.output import print_columns, print_json, shorten
from zslkit.cli.verb import Verb

check_option = click.option(
    "--check",
    is_flag=True,
    help="Import each one in a process of its own, and report which fail.",
)


@click.command(cls=Verb, example="zslkit models\nzslkit models dazle")
@click.argument("name", required=False, shell_complete=completers.models)
@check_option
@click.option("--bibtex", is_flag=True, help="With NAME: print its citation as BibTeX only.")
@json_option
@debug_option
@click.pass_obj
def models(state: State, /, name: str | None, check: bool, bibtex: bool, as_json: bool) -> int:
    """List the installed models; with NAME, show that model and its settings.

    --check only imports them; zslkit check NAME tests whether a model keeps the contract.
    """
    if name is not None:
        entry = MODELS.find(name)  # a name that nothing answers to costs no import
        if bibtex:
            from zslkit.cli.bibtex import print_bibtex

            return print_bibtex(entry, as_json)
        from zslkit.cli.describe import describe

        return describe(name, as_json)
    if bibtex:
        raise click.UsageError(
            "--bibtex takes the name of a model, as in: zslkit models NAME --bibtex"
        )
    found = _checked(lines(MODELS, contract_rule), check, state)
    if as_json:
        print_json(
            {"models": [line.as_json("inputs", "needs", "protocol", "citation") for line in found]}
        )
    else:
        header = ("name", "from", "input", "protocol", "about")
        rows = [
            (
                n.entry.name,
                n.entry.origin,
                n.get("inputs"),
                n.get("protocol"),
                _about(n, n.get("citation")),
            )
            for n in found
        ]
        print_columns(header, rows)
    return _code(found, check)


@click.command(cls=Verb, example="zslkit datasets")
@check_option
@json_option
@debug_option
@click.pass_obj
def datasets(state: State, /, check: bool, as_json: bool) -> int:
    """List the installed datasets, whether their files are on disk or not.

    For the files of one of them, use zslkit data info NAME.
    """
    found = _checked(lines(DATASETS), check, state)
    if as_json:
        print_json(
            {
                "datasets": [
                    line.as_json("title", "licence", "citation", "published_as") for line in found
                ]
            }
        )
    else:
        header = ("name", "from", "title", "licence", "about")
        rows = [
            (
                n.entry.name,
                n.entry.origin,
                n.get("title"),
                shorten(n.get("licence"), 32),
                _about(n, n.get("citation")),
            )
            for n in found
        ]
        print_columns(header, rows)
    return _code(found, check)


@click.command(cls=Verb, example="zslkit trackers")
@check_option
@json_option
@debug_option
@click.pass_obj
def trackers(state: State, /, check: bool, as_json: bool) -> int:
    """List the installed trackers, which show the progress of a run.

    Use one with --tracker NAME of run, compare and study.
    """
    found = _checked(tracker_lines(), check, state)
    if as_json:
        print_json({"trackers": [line.as_json("needs", "install") for line in found]})
    else:
        print_columns(
            ("name", "from", "about"),
            [(n.entry.name, n.entry.origin, _about(n, "")) for n in found],
        )
    return _code(found, check)


def _checked(found: list[ListingLine], check: bool, state: State) -> list[ListingLine]:
    if not check:
        return found
    from zslkit.cli.check import check_all

    verdicts = check_all([line.entry for line in found])
    if state.debug:
        for line, verdict in zip(found, verdicts, strict=True):
            if verdict.traceback:
                click.echo(f"{line.pick} ({line.entry.target})\n{verdict.traceback}", err=True)
    # What loading it says is the truth; the source's text is only read.
    return [
        replace(line, fault=verdict.fault or line.fault)
        for line, verdict in zip(found, verdicts, strict=True)
    ]


def _about(line: ListingLine, citation: str) -> str:
    if line.fault:
        return f"cannot be used ({line.entry.target}): {line.fault}"
    return line.remark or shorten(citation or line.facts.description)


def _code(found: Sequence[ListingLine], check: bool) -> int:
    """A listing succeeds whatever it lists; --check fails if anything does."""
    bad = [line for line in found if line.fault]
    if check and bad:
        tell(f"{len(bad)} of {len(found)} cannot be used: {', '.join(line.pick for line in bad)}")
        return 1
    return 0
