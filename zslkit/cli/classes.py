"""The classes that `zslkit predict` chooses from: a side, and files of new classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click

from zslkit.errors import UserError, did_you_mean

SIDES = ("all", "seen", "unseen")


class Classes(click.ParamType[Any]):
    """Classes to choose from: a word, or a CSV of new classes."""

    name = "classes"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(SIDES)}|NEW.csv]"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | Path:
        if value in SIDES or isinstance(value, Path):
            return cast(str | Path, value)
        if value.lower().endswith(".csv") or Path(value).is_file():
            return Path(value)
        raise click.BadParameter(
            f"{value!r} is neither a CSV file nor one of these{did_you_mean(value, SIDES)}",
            ctx,
            param,
        )


def chosen(wanted: Sequence[str | Path]) -> tuple[Any, list[Path]]:
    """Read the values of the option.

    Returns:
        The side to choose from, and the files of new classes.

    Raises:
        UserError: Two sides are named, a file is missing, or its classes would be left out.
    """
    sides = list(dict.fromkeys(word for word in wanted if isinstance(word, str)))
    files = [file for file in wanted if isinstance(file, Path)]
    if len(sides) > 1:
        raise UserError(f"--classes takes one of {', '.join(sides)}, and perhaps files; leave one")
    if sides == ["seen"] and files:
        raise UserError(
            f"--classes seen leaves out the classes in {files[0]}, which are unseen; write "
            "--classes unseen or all"
        )
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(f"--classes: there is no file {missing[0]}; check the path")
    return (sides or ["all"])[0], files
