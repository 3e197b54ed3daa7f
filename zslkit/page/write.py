"""Assembles the page and writes it to a folder, which it replaces at the end."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zslkit.errors import UserError, ZslkitError
from zslkit.page.gather import Gathered
from zslkit.page.pictures import FOLDER, Album, Pictures, galleries
from zslkit.page.render import GENERATOR, Section, page
from zslkit.report.block import Block
from zslkit.report.blocks import blocks_of
from zslkit.runs.folders import Run
from zslkit.utils.files import recover, replacing_folder, why
from zslkit.utils.progress import Reporter, Silent

INDEX, DATA = "index.html", "report.json"
_PICTURE = re.compile(r"\d{4,}\.jpg")


@dataclass(frozen=True)
class Written:
    """The page, and what it could not show.

    Attributes:
        index: The page.
        blocks: Its tables.
        left_out: A sentence for each thing that it cannot show.
        page_bytes: Size of the page.
        n_pictures: Number of pictures.
        runs: The runs that it shows.
        refused: Number of runs that are left out since their scores contradict their record.
    """

    index: Path
    blocks: tuple[Block, ...]
    left_out: tuple[str, ...]
    page_bytes: int
    n_pictures: int
    runs: tuple[Run, ...]
    refused: int = 0


def check_target(target: Path) -> None:
    """Raise UserError unless the folder is absent, empty, or only contains a former report."""
    recover(target)
    if not target.parent.is_dir():
        raise UserError(
            f"--out {target} is in no folder that exists; make {target.parent} or name another "
            "place"
        )
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir():
        raise UserError(
            f"--out {target} is no folder; the report is a folder, so name one that is new or a "
            "former report"
        )
    strange = sorted(str(path.relative_to(target)) for path in target.iterdir() if not _ours(path))
    index = target / INDEX
    if not strange and index.is_file() and GENERATOR not in _head(index):
        strange = [INDEX]
    if strange:
        raise UserError(
            f"--out {target} holds {strange[0]}, which no report wrote, and a report replaces "
            "its folder; name another one"
        )


def _head(index: Path) -> str:
    with index.open(encoding="utf-8", errors="replace") as file:
        return file.read(2000)


def _ours(path: Path) -> bool:
    if path.is_symlink():
        return False
    if path.name == FOLDER and path.is_dir():
        return all(_PICTURE.fullmatch(inner.name) and inner.is_file() for inner in path.iterdir())
    return path.name in (INDEX, DATA) and path.is_file()


def write(
    gathered: Gathered,
    target: Path,
    *,
    title: str = "",
    pictures: Pictures | None = None,
    as_papers_do: bool = False,
    reporter: Reporter | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Written:
    """Write the report into the folder `target`.

    Args:
        as_papers_do: Include rows as selected on test, apart from all results.
        tell: Called with a sentence for each thing that the page cannot show; the page contains
            them too.

    Raises:
        UserError: As `check_target`.
        Contradiction: The scores of all runs contradict their records.
        ZslkitError: The folder cannot be written; it is then unchanged.
    """
    check_target(target)
    reporter, pictures = reporter or Silent(), pictures or Pictures()
    refused: dict[Path, str] = {}
    blocks = blocks_of(gathered.runs, as_papers_do, on_refused=refused.__setitem__)
    kept = tuple(run for run in gathered.runs if run.folder not in refused)
    runs = {str(run.folder): run for run in kept}
    left_out = [*gathered.left_out, *refused.values()]
    for sentence in left_out:
        tell(sentence)
    try:
        with replacing_folder(target, lambda: check_target(target)) as beside:
            album = Album(beside / FOLDER)
            sections, faults = [], list(left_out)
            for place, block in enumerate(blocks):
                section = Section(place, block, runs)
                if pictures.root is not None:
                    section.galleries, missing = galleries(
                        section.board.lines, runs, pictures, pictures.root, album, reporter
                    )
                    section.faults += missing
                sections.append(section)
                new = [fault for fault in section.faults if fault not in faults]
                faults += new
                for fault in new:
                    tell(fault)
            text, data = page(sections, kept, faults, title)
            (beside / INDEX).write_text(text, encoding="utf-8")
            (beside / DATA).write_text(data, encoding="utf-8")
    except OSError as error:
        raise ZslkitError(
            f"{target} cannot be written ({why(error)}); what was there is kept, so name another "
            "--out"
        ) from error
    size = len(text.encode())
    return Written(
        target / INDEX, tuple(blocks), tuple(faults), size, album.count, kept, len(refused)
    )
