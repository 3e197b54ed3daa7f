"""`zslkit models NAME --bibtex`: the entry that a paper which uses the model takes over."""

from __future__ import annotations

import click

from zslkit.cli.output import echo, print_json
from zslkit.cli.source import Fault, facts
from zslkit.errors import UserError
from zslkit.registry import BrokenPlugin, Entry

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
        said = facts(entry.target).values
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
        click.echo(
            f"{entry.name} has no BibTeX of its own; this was made of its citation, so look "
            "authors and title up",
            err=True,
        )
    return 0


def made_of(key: str, citation: str) -> str:
    """A @misc entry that holds the citation as it is: who is an author and what is the title is not
    guessed."""
    note = "".join(_SPECIAL.get(c, c) for c in " ".join(citation.split()))
    return f"@misc{{{key},\n  note = {{{note}}}\n}}\n"
