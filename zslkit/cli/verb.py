"""A command whose help ends with an example, and which takes former spellings of its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from zslkit.cli.failure import tell

Renames = Mapping[str, str]


class Verb(click.Command):
    """A command of zslkit.

    Args:
        example: Command lines that work as printed, one a line.
        formerly: Former spelling of an option -> its spelling now, or a function that chooses
            this mapping by the arguments. Former spellings work with a note on standard error;
            help and completion do not list them.
    """

    def __init__(
        self,
        *args: Any,
        example: str,
        formerly: Renames | Callable[[Sequence[str]], Renames] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.epilog = epilog(example)
        self.example, self.formerly = example, formerly or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)  # arguments follow, no options
        head = args[:end]
        former = self.formerly(head) if callable(self.formerly) else self.formerly
        head = _renamed(head, former, ctx.resilient_parsing)
        return super().parse_args(ctx, [*head, *args[end:]])


def epilog(example: str) -> str:
    """The end of a command's help. The \\b keeps click from joining the lines."""
    lines = example.splitlines()
    return "\n".join(["\b", f"Example{'s' * (len(lines) > 1)}:", *(f"  {line}" for line in lines)])


def used(old: str, new: str) -> None:
    """Note on standard error that a former spelling was used."""
    tell(f"{old} is called {new} now; write {new}, because a later release refuses {old}")


def _renamed(args: Sequence[str], former: Renames, silent: bool) -> list[str]:
    """The arguments with former spellings replaced."""
    found: list[str] = []
    for arg in args:
        name, equals, value = arg.partition("=")
        if name in former:
            arg = f"{former[name]}{equals}{value}"
            if not silent:
                used(name, former[name])
        found.append(arg)
    return found
