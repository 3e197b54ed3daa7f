"""`zslkit models`, `zslkit datasets` and `zslkit trackers`: what is installed, where it comes from,
and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import click

from zslkit.cli import completers
from zslkit.cli.failure import State, tell
from zslkit.cli.listing import ListingLine, contract_rule, lines, tracker_lines
from zslkit.cli.options import flag
from zslkit.cli.output import echo, print_columns, print_json, shorten
from zslkit.cli.source import Fault
from zslkit.cli.source import facts as facts_of
from zslkit.cli.verb import verb
from zslkit.errors import UserError
from zslkit.registry import DATASETS, MODELS, BrokenPlugin, Entry

check_option = flag("--check", "Import each one in a process of its own, and report which fail.")


@verb(example="zslkit models\nzslkit models dazle")
@click.argument("name", required=False, shell_complete=completers.models)
@check_option
@flag("--bibtex", "With NAME: print its citation as BibTeX only.")
@click.pass_obj
def models(state: State, /, name: str | None, check: bool, bibtex: bool, as_json: bool) -> int:
    """List the installed models; with NAME, show that model and its settings.

    --check only imports them; zslkit check NAME tests whether a model keeps the contract.
    """
    if name is not None:
        entry = MODELS.find(name)  # a name that nothing answers to costs no import
        if bibtex:
            return print_bibtex(entry, as_json)
        from zslkit.cli.describe import describe

        return describe(name, as_json)
    if bibtex:
        raise click.UsageError(
            "--bibtex takes the name of a model, as in: zslkit models NAME --bibtex"
        )
    facts = ("inputs", "needs", "protocol", "citation")
    columns: Columns = {"input": lambda n: n.get("inputs"), "protocol": lambda n: n.get("protocol")}
    return _list("models", lines(MODELS, contract_rule), check, state, as_json, facts, columns)


@verb(example="zslkit datasets")
@check_option
@click.pass_obj
def datasets(state: State, /, check: bool, as_json: bool) -> int:
    """List the installed datasets, whether their files are on disk or not.

    For the files of one of them, use zslkit data info NAME.
    """
    facts = ("title", "licence", "citation", "published_as")
    columns: Columns = {
        "title": lambda n: n.get("title"),
        "licence": lambda n: shorten(n.get("licence"), 32),
    }
    return _list("datasets", lines(DATASETS), check, state, as_json, facts, columns)


@verb(example="zslkit trackers")
@check_option
@click.pass_obj
def trackers(state: State, /, check: bool, as_json: bool) -> int:
    """List the installed trackers, which show the progress of a run.

    Use one with --tracker NAME of run, compare and study.
    """
    return _list("trackers", tracker_lines(), check, state, as_json, ("needs", "install"), {})


Columns = Mapping[str, Callable[[ListingLine], str]]


def _list(
    kind: str,
    found: list[ListingLine],
    check: bool,
    state: State,
    as_json: bool,
    facts: Sequence[str],
    columns: Columns,
) -> int:
    """Print the lines, with these facts as JSON, or with these columns.

    A listing succeeds whatever it lists; with `check` it fails if anything cannot be used.
    """
    if check:
        from zslkit.cli.check import checked

        found = checked(found, state.debug)
    if as_json:
        print_json({kind: [line.as_json(*facts) for line in found]})
    else:
        rows = [
            (n.entry.name, n.entry.origin, *(text(n) for text in columns.values()), _about(n))
            for n in found
        ]
        print_columns(("name", "from", *columns, "about"), rows)
    bad = [line.pick for line in found if line.fault]
    if check and bad:
        tell(f"{len(bad)} of {len(found)} cannot be used: {', '.join(bad)}")
        return 1
    return 0


def _about(line: ListingLine) -> str:
    if line.fault:
        return f"cannot be used ({line.entry.target}): {line.fault}"
    return line.remark or shorten(line.get("citation") or line.facts.description)


_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def print_bibtex(entry: Entry, as_json: bool) -> int:
    """Print the model's own entry, else one made of its citation. Nothing is imported.

    Raises UserError if the model says neither, BrokenPlugin if its source cannot be read.
    """
    try:
        said = facts_of(entry.target).values
    except Fault as fault:
        raise BrokenPlugin(entry, str(fault)) from fault
    own, citation = str(said.get("bibtex", "")), str(said.get("citation", ""))
    if not own and not citation:
        raise UserError(
            f"{entry.name} of {entry.origin} says no citation; ask its authors, or set citation or "
            f"bibtex in {entry.target}"
        )
    text = own or made_of(entry.name, citation)
    if as_json:
        print_json({"name": entry.name, "bibtex": text, "own": bool(own)})
        return 0
    echo(text.strip())
    if not own:
        made = f"{entry.name} has no BibTeX of its own; this was made of its citation"
        click.echo(f"{made}, so look authors and title up", err=True)
    return 0


def made_of(key: str, citation: str) -> str:
    """A @misc entry that holds the citation as it is: who is an author and what is the title is not
    guessed."""
    note = "".join(_SPECIAL.get(c, c) for c in " ".join(citation.split()))
    return f"@misc{{{key},\n  note = {{{note}}}\n}}\n"
