"""Follows a page from top to bottom: its files are written, its commands and Python are run, its
outputs compared.

A block of a page is one of these:

- ```python: runs in the page's namespace, after all earlier ones;
- ```console: lines that begin with "$ " are commands, and the lines after each are its standard
  output;
- <!-- write: PATH --> before a block: its text becomes this file;
- <!-- prints --> before a block: what the last Python block printed;
- <!-- fails --> before a block: the error of the last Python block, or, for a console block, what
  its command prints to standard error before it ends with exit code 1 or 2;
- <!-- parsed: REASON --> before a block: its commands are not run, since they take hours or need
  what is not there. The parsers of the real commands take their options, models and settings
  (commands.py);
- <!-- elsewhere: PATH --> before a block: the test at PATH runs it, or reads it as a file;
- <!-- not run: REASON --> before a block: it holds no command and is shown only.

A line "..." in an output stands for any lines. Figures and identities are not compared.
`python tests/docs/docs_pages.py PAGE...` writes what is printed into pages.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs_files import PREPARED

from zslkit.errors import ZslkitError

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:<!-- (?P<verb>write|prints|fails|parsed|elsewhere|not run|run command|test command|"
    r"plugin project|plugin|the output of|own dataset \w+|dataset plugin project|dataset plugin)"
    r"(?:: (?P<argument>.*?))? -->\n)?"
    r"(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.S | re.M,
)


@dataclass(frozen=True)
class Block:
    """One block of a page."""

    verb: str
    argument: str
    language: str
    text: str
    line: int
    start: int

    @property
    def kind(self) -> str:
        """What becomes of it."""
        if self.verb == "fails" and self.language == "console":
            return "failing console"
        if self.verb in NAMED or self.verb.startswith("own dataset"):
            return "elsewhere"
        return self.verb or self.language


NAMED = (
    "run command",
    "test command",
    "plugin",
    "plugin project",
    "dataset plugin",
    "dataset plugin project",
    "the output of",
)
"""Blocks that test_readme.py, test_docs_data.py, test_docs_architecture.py and .ci/run look for by
name."""
SHOWN = ("parsed", "elsewhere", "not run")
KINDS = (*SHOWN, "python", "console", "failing console", "write", "prints", "fails")


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    content = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(content):
        line = content.count("\n", 0, found.start("text"))
        yield Block(
            found["verb"] or "",
            found["argument"] or "",
            found["language"],
            found["text"],
            line,
            found.start("text"),
        )


def unsaid(page: Path) -> list[str]:
    """Blocks of which the page does not say what becomes of them."""
    return [f"{page.name}, line {block.line}" for block in blocks(page) if block.kind not in KINDS]


def masked(text: str) -> list[str]:
    """Lines without figures, identities, rules and spaces, which differ between machines."""
    text = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", "ID", text)
    text = re.sub(r"[-+]?\d[\d.]*(e[-+]\d+)?", "#", text)
    text = re.sub(r"[─━-]{3,}", "-", text)
    lines = [" ".join(line.split()) for line in text.strip().splitlines()]
    return [line for line in lines if line]


def agrees(printed: str, shown: str) -> bool:
    """Whether a page shows what was printed; "..." stands for any lines."""
    pattern = "".join(
        "(?:.*\n)*?" if line == "..." else f"{re.escape(line)}\n" for line in masked(shown)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in masked(printed))) is not None


def with_figures_of(printed: str, shown: str) -> str:
    """The shown lines as they are printed now; "..." and empty lines stay."""
    rest, found = iter(printed.splitlines()), []
    for line in shown.splitlines():
        if masked(line) and line.strip() != "...":
            line = next(now for now in rest if masked(now) == masked(line))
        found.append(f"{line.rstrip()}\n")
    return "".join(found)


class Follower:
    """Follows pages in a folder, with a cache that pages may share.

    Args:
        folder: Where commands run and files are written.
        cache: Feature store.
    """

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.printed = self.error = self.place = ""
        self.store = False
        tools = folder / ".tools"
        tools.mkdir(parents=True)
        for name in ("zslkit", "python", "mkdocs"):
            module = "" if name == "python" else f"-m {name}"
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -P {module} "$@"\n')
            (tools / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "ZSLKIT_CACHE": str(cache),
            "PYTHONPATH": str(ROOT),
            "MPLBACKEND": "agg",
            "COLUMNS": "100",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }

    def follow(self, page: Path, store: bool = False) -> str:
        """Do what every block of the page says.

        Args:
            page: The page.
            store: Put what is printed into the page's text, instead of comparing it.

        Returns:
            The text of the page; with `store`, with the outputs of now where they differ.

        Raises:
            AssertionError: Names the line of the block that does not hold.
        """
        content, parts, end = page.read_text(encoding="utf-8"), [], 0
        if page.name in PREPARED:
            with contextlib.chdir(self.folder):
                PREPARED[page.name]()
        for block in blocks(page):
            self.place, self.store = f"{page.name}, line {block.line}", store
            parts += [content[end : block.start], self._done(block)]
            end = block.start + len(block.text)
        assert not self.error, f"{page.name}: {self.error}"
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(f"{self.folder}{os.sep}"):
                del sys.modules[name]
        return "".join([*parts, content[end:]])

    def _done(self, block: Block) -> str:
        """Do what a block says, and return its text with the outputs of now."""
        if block.kind == "write":
            file = self.folder / block.argument
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.kind == "python":
            self._python(block.text)
        elif block.kind == "prints":
            assert not self.error, f"{self.place}: {self.error}"
            return self._held(self.printed, block.text)
        elif block.kind == "fails":
            said, self.error = self.error, ""
            return self._held(said, block.text)
        elif block.kind not in SHOWN:
            return self._console(block)
        return block.text

    def _held(self, printed: str, shown: str) -> str:
        """The shown text, or what was printed where that differs."""
        if not self.store:
            assert agrees(printed, shown), f"{self.place}: printed was\n{printed}"
            return shown
        if "..." in masked(shown) and agrees(printed, shown):
            return with_figures_of(printed, shown)
        return "".join(f"{line.rstrip()}\n" for line in printed.rstrip("\n").splitlines())

    def _python(self, source: str) -> None:
        assert not self.error, self.error
        out = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out):
            sys.path.insert(0, str(self.folder))
            try:
                exec(compile(source, "page", "exec"), self.namespace)
            except ZslkitError as error:
                self.error = str(error)
            finally:
                sys.path.remove(str(self.folder))
        self.printed = out.getvalue()

    def _console(self, block: Block) -> str:
        first, *commands = re.split(r"^\$ ", block.text, flags=re.M)
        told = [first]
        for part in commands:
            lines = part.splitlines(keepends=True)
            count = next(k for k, line in enumerate(lines) if not line.endswith("\\\n")) + 1
            command, shown = "".join(lines[:count]), "".join(lines[count:])
            done = subprocess.run(
                command, shell=True, cwd=self.folder, env=self.environment,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            fails = block.kind == "failing console"
            said = f"{self.place}: {command}{done.stdout}{done.stderr}"
            assert done.returncode in ((1, 2) if fails else (0,)), said
            assert "Traceback" not in done.stderr, said
            printed = done.stderr if fails else done.stdout
            told += ["$ ", command, self._held(printed, shown) if shown.strip() else shown]
        return "".join(told)


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as place:
            cache = Path(os.environ.get("ZSLKIT_CACHE") or Path(place) / "cache")
            page.write_text(Follower(Path(place) / "page", cache).follow(page, store=True))
