"""Archives of strangers become folders: beside first, then renamed into place, and never over what is there."""

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
from zslkit.readers.archives import MOST_MEMBERS, Archive, Member, clean, damage, opened, refused
from zslkit.utils.files import move
from zslkit.utils.progress import Reporter, Silent

SPARE = 64 << 20
"""Bytes of the disk that stay free."""

_GENEROUS = 1 << 30
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Unpacked:
    """What came of it: files added, files kept because they were there, and those of the kept that differ from the archive's."""

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
    """Unpack the folder of the archive that holds all of `holds`, wherever in it that is, as `target`.

    only: take only these folders below it. limit: bytes that all contents may have; by default 100 times the archive, or 1 GiB.
    ready: called when everything stands beside `target` and is only to be moved.
    If `target` is not there, it appears whole; if it is, files that it lacks are added and no file is replaced.

    Everything is checked before anything is written. Raises DataError for an archive that is damaged, cut off, over the
    limit, has members that lead out of the folder, devices or no such folder; CannotWrite if the disk has no room for it.
    """
    reporter = Silent() if reporter is None else reporter
    target = target.resolve()  # where it is a link, beside means beside what it leads to
    beside = target.with_name(f".{target.name}.unpacking")
    limit = max(_GENEROUS, 100 * archive.stat().st_size) if limit is None else limit
    with opened(archive) as content:
        members = _survey(archive, content, limit, reporter)
        chosen = _choose(archive, members, holds, only)
        _check_room(archive, target, sum(m.size for _, m in chosen))
        with _scratch(beside):
            _write(archive, content, chosen, beside, reporter)
            ready()
            return _settle(beside, target)


def check_room(folder: Path, size: int, what: str) -> None:
    """Raises CannotWrite unless `size` bytes fit on the disk of `folder`, which may be still to be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size + SPARE > free:
        raise CannotWrite(
            f"{what} needs {megabytes(size)} and the disk of {folder} has {megabytes(free)} free; "
            "make room, or name a folder on another disk with --data-root"
        )


def megabytes(size: float) -> str:
    """Bytes as people say them: '340 MB', '1.8 GB'."""
    return (
        f"{size / 1e9:.1f} GB"
        if size >= 1e9
        else f"{size / 1e6:.0f} MB"
        if size >= 1e6
        else f"{size / 1e3:.1f} kB"
    )


def _check_room(archive: Path, target: Path, size: int) -> None:
    check_room(target.parent, size, f"What is in {archive}")


def _survey(archive: Path, content: Archive, limit: int, reporter: Reporter) -> list[Member]:
    members: list[Member] = []
    total = 0
    with damage(archive), reporter.phase(f"check {archive.name}") as phase:
        for member in content.members():
            total += member.size
            if total > limit or len(members) >= MOST_MEMBERS:
                raise DataError(
                    f"The archive {archive} claims to hold over {megabytes(limit)} or {MOST_MEMBERS:,} members, too much for its "
                    f"{megabytes(archive.stat().st_size)}; nothing was unpacked, get it from its maker"
                )
            if not _is_litter(member.path):
                members.append(member)
            phase.advance()
    return members


def _is_litter(path: PurePosixPath) -> bool:
    # What macOS packs beside the files; a photo's "._x.jpg" would count as one.
    return (
        not path.parts
        or "__MACOSX" in path.parts
        or path.name.startswith("._")
        or path.name == ".DS_Store"
    )


def _choose(
    archive: Path, members: Sequence[Member], holds: Sequence[str], only: Sequence[str]
) -> list[tuple[PurePosixPath, Member]]:
    """The members below the folder that holds all of `holds`, with their paths below it; the shortest such folder."""
    paths = {folder for m in members for folder in (m.path, *m.path.parents)}
    first = PurePosixPath(holds[0])
    depth = len(first.parts)
    homes = [PurePosixPath(*p.parts[:-depth]) for p in paths if p.parts[-depth:] == first.parts]
    homes = [home for home in homes if all(home / h in paths for h in holds)]
    if not homes:
        raise DataError(
            f"The archive {archive} has no folder that holds {', '.join(holds)}: is it another one of that name? Fetch it again"
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
    """An empty folder that is gone in the end, whatever an interruption has left there before."""
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
    # Links are made when all files stand, so that no file is ever written through one.
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
            raise refused(
                archive, str(member.path), f"is a link to nowhere ({member.link!r})"
            ) from error
        if not real.is_relative_to(root):
            raise refused(
                archive,
                str(member.path),
                f"is a link that leads out of its folder ({member.link!r})",
            )


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
            with damage(archive):  # around reading alone: what writing raises is about the disk
                piece = source.read(_CHUNK)
            if not piece:
                break
            done += len(piece)
            if done > member.size:
                raise refused(archive, str(member.path), "is larger than it claims")
            out.write(piece)
    if done != member.size:
        raise DataError(
            f"The archive {archive} is damaged or cut off (in {member.path}); remove it and give the same command again"
        )


def _link(
    archive: Path,
    beside: Path,
    path: PurePosixPath,
    member: Member,
    home: dict[PurePosixPath, PurePosixPath],
) -> None:
    to = beside / path
    if to.parent.resolve() != beside.resolve().joinpath(*path.parts[:-1]) or os.path.lexists(to):
        raise refused(archive, str(member.path), "is a link in the way of another member")
    if member.kind == "symlink":
        if os.path.isabs(member.link) or "\0" in member.link:
            raise refused(
                archive,
                str(member.path),
                f"is a link that leads out of its folder ({member.link!r})",
            )
        to.symlink_to(member.link)
        return
    inside = home.get(clean(archive, member.link))
    source = beside / (inside or PurePosixPath("."))
    if inside is None or not source.is_file() or source.resolve() != beside.resolve() / inside:
        raise refused(
            archive, str(member.path), f"is a link that leads out of its folder ({member.link!r})"
        )
    shutil.copyfile(source, to)


def _settle(beside: Path, target: Path) -> Unpacked:
    files = [Path(folder, name) for folder, _, names in os.walk(beside) for name in names]
    files += [
        Path(folder, name)
        for folder, names, _ in os.walk(beside)
        for name in names
        if Path(folder, name).is_symlink()
    ]
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
