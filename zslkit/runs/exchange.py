"""Finished runs in one file, for others: written without weights, read as an untrusted archive."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from zslkit.acquire.cache_marks import SHARED, SHARED_FILES, SHARED_MANIFEST
from zslkit.acquire.unpack import unpack
from zslkit.errors import DataError, UserError
from zslkit.readers.archives import kind_of, opened
from zslkit.readers.faults import writing
from zslkit.readers.stream import file_digest
from zslkit.runs.figures import check_run
from zslkit.runs.folders import RECORD, Run, load_run, run_path
from zslkit.utils.files import cache_root, parse_json, read_small, replacing

FORMAT = 1
"""Version of the file; another version is refused with an error."""

_PLACE = re.compile(r"[^/]+/[^/]+/seed-?\d+-[0-9a-f]{12}/[^/]+")
_GENEROUS, _FOLD = 1 << 30, 100
"""A file that unfolds to over 1 GiB and a hundred times its size is refused."""


def export_runs(runs: Sequence[Run], file: Path) -> int:
    """Write records, scores, logs, settings and tags of finished runs into one zip file.

    Weights stay behind. The file appears when it is whole; returns its size in bytes.

    Raises:
        UserError: The file exists, there is no run, or one run stands there twice.
        DataError: A run is damaged or its figures are not those of its scores.
        CannotWrite: The file cannot be written.
    """
    if file.exists():
        raise UserError(f"{file} is there already, and nothing is written over; name another file")
    if not runs:
        raise UserError("There is no finished run to export; `zslkit runs` lists what is there")
    digests: dict[str, str] = {}
    places = _places(runs)
    with (
        writing(f"{file} cannot be written", "mend that, or name another file"),
        replacing(file) as beside,
        zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for place_of_run, run in places.items():
            check_run(run)
            for name in sorted(SHARED_FILES):
                if (run.folder / name).is_file():
                    place = f"{place_of_run}/{name}"
                    archive.write(run.folder / name, place)
                    digests[place] = file_digest(run.folder / name)
        manifest = {"format": FORMAT, "made_by": f"zslkit {version('zslkit')}"}
        text = json.dumps({**manifest, "files": digests}, indent=1)
        archive.writestr(SHARED_MANIFEST, text + "\n")
    return file.stat().st_size


def _places(runs: Sequence[Run]) -> dict[str, Run]:
    """Place of each run in an export, by its record, wherever its folder was copied to.

    Raises:
        UserError: Two runs have one place; they are one run, made twice. Or a name is no part of a
            path.
    """
    found: dict[str, Run] = {}
    for run in runs:
        record = run.record
        names = record.dataset.name, record.model.name
        place = run_path(Path(), *names, record.seed, record.identity).as_posix()
        if (other := found.setdefault(place, run)) is not run:
            raise UserError(
                f"{other.folder} and {run.folder} are one run, made twice; export one of them, or "
                "each into a file of its own"
            )
    return found


def is_export(place: Path) -> bool:
    """Whether a file seems to hold exported runs: a zip archive."""
    return place.is_file() and kind_of(place) == "zip"


def runs_in(file: Path) -> list[Run]:
    """The runs of an export, unpacked into the cache once.

    Raises:
        DataError: The file is damaged, of another version, holds anything but runs, or a record
            does not follow from its scores; nothing is kept.
    """
    target = cache_root() / SHARED / file_digest(file)[:32]
    if not target.is_dir():
        _survey(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.unpacking")
        unpack(file, target, [SHARED_MANIFEST], ready=lambda: _check(file, beside))
    return [load_run(record.parent) for record in sorted(target.glob(f"*/*/*/{RECORD}"))]


def _survey(file: Path) -> None:
    """Check the members of an export before anything is unpacked."""
    claimed, names, fault = 0, set[str](), ""
    with opened(file) as archive:
        for member in archive.members():
            path = member.path.as_posix()
            whole = path == SHARED_MANIFEST or (
                _PLACE.fullmatch(path) and PurePosixPath(path).name in SHARED_FILES
            )
            if member.kind != "file" or not whole or path in names:
                fault = f"it holds {path!r}"
                break
            names.add(path)
            claimed += member.size
    if not fault and SHARED_MANIFEST not in names:
        fault = f"it has no {SHARED_MANIFEST}"
    if fault:
        raise DataError(
            f"{file} is no export of runs: {fault}; make one with zslkit runs --export FILE"
        )
    if claimed > max(_GENEROUS, _FOLD * file.stat().st_size):
        raise DataError(f"{file} is not to be trusted: it would unfold to {claimed:,} bytes")


def _check(file: Path, folder: Path) -> None:
    """Check an unpacked export against its manifest, and its records against their scores."""
    try:
        facts: Any = parse_json(read_small(folder / SHARED_MANIFEST))
        said, told = facts["format"], dict(facts["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file}: its {SHARED_MANIFEST} is damaged ({error}); get the file again"
        ) from error
    if said != FORMAT:
        raise DataError(
            f"{file} is an export of format {said!r}, and this zslkit reads format {FORMAT}; "
            "export it again with the same version"
        )
    parts = [f for f in folder.rglob("*") if f.is_file() and f.name != SHARED_MANIFEST]
    found = {part.relative_to(folder).as_posix(): file_digest(part) for part in parts}
    if odd := sorted(set(found.items()) ^ set(told.items())):
        raise DataError(
            f"{file}: {odd[0][0]} is not what {SHARED_MANIFEST} says; get the file again"
        )
    records = sorted(folder.glob(f"*/*/*/{RECORD}"))
    if not records or len(records) < len({place.rpartition("/")[0] for place in found}):
        raise DataError(f"{file}: a run in it has no {RECORD}; get the file again")
    for record in records:
        try:
            run = load_run(record.parent)
            check_run(run)
        except UserError as error:
            # Without the advice, which is for runs of one's own.
            reason = str(error).replace(f"{folder}/", "").rpartition(";")[0]
            raise DataError(f"{file}: {reason}; get the file again from its maker") from error
