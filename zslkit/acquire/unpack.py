"""Unpacking of untrusted archives into a temporary folder, then a rename; overwrites no file."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zslkit.errors import CannotWrite, DataError
from zslkit.readers.archives import (
    MOST_MEMBERS,
    Archive,
    Member,
    clean,
    damage,
    damaged,
    opened,
    refused,
)
from zslkit.utils.files import move
from zslkit.utils.progress import Reporter, Silent

SPARE = 64 << 20
"""Bytes of the disk that stay free."""

_GENEROUS = 1 << 30
"""Bytes that the contents of any archive may have by default."""
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Unpacked:
    """Numbers of new and of kept files, and paths of kept ones that differ from the archive's."""

    added: int
    kept: int
    differ: tuple[str, ...]


def unpack(
    archive: Path,
    target: Path,
    holds: Sequence[str],
    only: Sequence[str] = (),
    limit: int | None = None,
    reporter: Reporter | None = None,
    ready: Callable[[], None] = lambda: None,
) -> Unpacked:
    """Unpack the folder of the archive that contains all of `holds` as `target`.

    Everything is checked before anything is written. A missing `target` appears as a whole; in an
    existing one, missing files are added and no file is replaced.

    Args:
        target: Folder of the contents.
        holds: Paths by which the folder inside the archive is found.
        only: Subfolders to unpack; empty for all.
        limit: Bytes that all contents may have; by default 100 times the archive, at least 1 GiB.
        ready: Called when all files are unpacked beside `target` and before they are moved.

    Raises:
        DataError: The archive is damaged, cut off, over the limit, lacks the folder, or has devices
            or members that lead out of the folder.
        CannotWrite: There is no room on the disk.
    """
    reporter = Silent() if reporter is None else reporter
    target = target.resolve()  # beside the target of a link, on the same disk
    beside = target.with_name(f".{target.name}.unpacking")
    limit = max(_GENEROUS, 100 * archive.stat().st_size) if limit is None else limit
    with opened(archive) as content:
        members = _survey(archive, content, limit, reporter)
        chosen = _choose(archive, members, holds, only)
        check_room(target.parent, sum(m.size for _, m in chosen), f"What is in {archive}")
        with _scratch(beside):
            _write(archive, content, chosen, beside, reporter)
            ready()
            return _move_into_place(beside, target)


def check_room(folder: Path, size: int, what: str) -> None:
    """Raise CannotWrite unless `size` bytes fit on the disk of `folder`, which may not exist."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size + SPARE > free:
        raise CannotWrite(
            f"{what} needs {megabytes(size)} and the disk of {folder} has {megabytes(free)} free; "
            "make room, or name a folder on another disk with --data-root"
        )


def megabytes(size: float) -> str:
    """Format bytes for people: "340 MB", "1.8 GB"."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _survey(archive: Path, content: Archive, limit: int, reporter: Reporter) -> list[Member]:
    """Check all members against the limits and list those to unpack."""
    members: list[Member] = []
    total = 0
    with damage(archive), reporter.phase(f"check {archive.name}") as phase:
        for member in content.members():
            total += member.size
            if total > limit or len(members) >= MOST_MEMBERS:
                raise DataError(
                    f"The archive {archive} claims to hold over {megabytes(limit)} or "
                    f"{MOST_MEMBERS:,} members, too much for its "
                    f"{megabytes(archive.stat().st_size)}; nothing was unpacked, get it from its "
                    "maker"
                )
            if not _is_litter(member.path):
                members.append(member)
            phase.advance()
    return members


def _is_litter(path: PurePosixPath) -> bool:
    # macOS adds these files; "._x.jpg" would count as a photo.
    litter = path.name.startswith("._") or path.name == ".DS_Store"
    return not path.parts or litter or "__MACOSX" in path.parts


def _choose(
    archive: Path, members: Sequence[Member], holds: Sequence[str], only: Sequence[str]
) -> list[tuple[PurePosixPath, Member]]:
    """Members below the folder that contains all of `holds`, the shallowest of several folders.

    Each comes with its path relative to this folder.
    """
    paths = {folder for m in members for folder in (m.path, *m.path.parents)}
    first = PurePosixPath(holds[0])
    depth = len(first.parts)
    homes = [PurePosixPath(*p.parts[:-depth]) for p in paths if p.parts[-depth:] == first.parts]
    homes = [home for home in homes if all(home / h in paths for h in holds)]
    if not homes:
        raise DataError(
            f"The archive {archive} has no folder that holds {', '.join(holds)}: is it another "
            "one of that name? Fetch it again"
        )
    home = min(homes, key=lambda h: (len(h.parts), h))
    below = [(m.path.relative_to(home), m) for m in members if m.path.is_relative_to(home)]
    return [
        (path, m)
        for path, m in below
        if path.parts and (not only or any(path.is_relative_to(o) for o in only))
    ]


@contextmanager
def _scratch(folder: Path) -> Iterator[None]:
    """Empty temporary folder, deleted at the end; remains of an interruption are deleted first."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(
    archive: Path,
    content: Archive,
    chosen: Sequence[tuple[PurePosixPath, Member]],
    beside: Path,
    reporter: Reporter,
) -> None:
    """Write the members to `beside`."""
    # Links are made after all files, so that no file is written through a link.
    links: list[tuple[PurePosixPath, Member]] = []
    with reporter.phase(f"unpack {archive.name}", len(chosen)) as phase:
        for path, member in chosen:
            to = beside / path
            if member.kind in ("symlink", "hardlink"):
                links.append((path, member))
            elif member.kind == "folder":
                _make_folder(archive, to)
            else:
                _make_folder(archive, to.parent)
                _copy(archive, content, member, to)
            phase.advance()
    for path, _ in links:
        _make_folder(archive, (beside / path).parent)
    home = {member.path: path for path, member in chosen}
    for path, member in links:
        _link(archive, beside, path, member, home)
    root = beside.resolve()
    for path, member in links:
        try:
            real = (beside / path).resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            reason = f"is a link to nowhere ({member.link!r})"
            raise refused(archive, str(member.path), reason) from error
        if not real.is_relative_to(root):
            raise _leads_out(archive, member)


def _leads_out(archive: Path, member: Member) -> DataError:
    reason = f"is a link that leads out of its folder ({member.link!r})"
    return refused(archive, str(member.path), reason)


def _make_folder(archive: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise refused(archive, folder.name, "is a file and a folder") from error


def _copy(archive: Path, content: Archive, member: Member, to: Path) -> None:
    if to.is_dir():
        raise refused(archive, str(member.path), "is a file and a folder")
    done = 0
    with damage(archive):
        source = content.open(member)
    with source, to.open("wb") as out:
        while True:
            with damage(archive):  # around reading only: errors of writing concern the disk
                piece = source.read(_CHUNK)
            if not piece:
                break
            done += len(piece)
            if done > member.size:
                raise refused(archive, str(member.path), "is larger than it claims")
            out.write(piece)
    if done != member.size:
        raise damaged(archive, f"in {member.path}")


def _link(
    archive: Path,
    beside: Path,
    path: PurePosixPath,
    member: Member,
    home: dict[PurePosixPath, PurePosixPath],
) -> None:
    """Make a link, or copy the target of a hard link; both must stay inside the folder."""
    to = beside / path
    if to.parent.resolve() != beside.resolve().joinpath(*path.parts[:-1]) or os.path.lexists(to):
        raise refused(archive, str(member.path), "is a link in the way of another member")
    if member.kind == "symlink":
        if os.path.isabs(member.link) or "\0" in member.link:
            raise _leads_out(archive, member)
        to.symlink_to(member.link)
        return
    inside = home.get(clean(archive, member.link))
    source = beside / (inside or PurePosixPath("."))
    if inside is None or not source.is_file() or source.resolve() != beside.resolve() / inside:
        raise _leads_out(archive, member)
    shutil.copyfile(source, to)


def _move_into_place(beside: Path, target: Path) -> Unpacked:
    """Move the unpacked files into place."""
    files = [path for path in beside.rglob("*") if path.is_symlink() or not path.is_dir()]
    if not target.exists():
        try:
            os.rename(beside, target)
            return Unpacked(len(files), 0, ())
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    kept, differ = 0, []
    for file in sorted(files):
        path = file.relative_to(beside)
        to = target / path
        if os.path.lexists(to):
            kept += 1
            if not (to.is_file() and file.is_file() and filecmp.cmp(file, to, shallow=False)):
                differ.append(path.as_posix())
            continue
        to.parent.mkdir(parents=True, exist_ok=True)
        move(file, to)
    return Unpacked(len(files) - kept, kept, tuple(differ))
