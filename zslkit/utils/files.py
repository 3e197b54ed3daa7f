"""Writes files and folders completely or not at all; also the place of the cache.

A file in progress lies beside its target under a marked name that identifies the writing process.
If that process is killed, the next process at this place completes or removes the leftovers; see
`recover` and `clear`.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zslkit.errors import DataError

MADE = {"made_by": "zslkit"}
"""Metadata of weights that zslkit writes to the cache."""

MOST = 64 << 20
"""Most bytes of a text that is read at once; a record of 20,000 classes has 2 MB."""

MOST_VALUES = 1_000_000
"""Most values of a JSON text. An empty list takes three bytes there and a hundred in memory."""

DAY = 86400.0
"""Seconds after which unfinished work of another machine counts as abandoned."""
MINUTE = 60.0
"""Seconds after which a folder that another machine moved aside counts as abandoned."""

_MARK = r"[0-9a-f]{6}-\d+-\d+"
BEGUN = re.compile(rf"(?P<dot>\.?)(?P<name>.+)\.(?P<mark>{_MARK})\.(?P<end>new|old)", re.DOTALL)
"""Name of a file in progress (new), or of one moved aside for it (old)."""


def need_plain(path: Path) -> None:
    """Raise ValueError for pipes, devices and folders, which could block on opening."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")


def read_small(path: Path, most: int = MOST) -> str:
    """Text of a UTF-8 file, without a byte-order mark.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger, not UTF-8, or not a regular file.
    """
    need_plain(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most >> 20} MB")
    if is_utf16(content):
        raise ValueError("it is UTF-16 text; save it as UTF-8")
    return content.decode("utf-8-sig")


def read_text(path: Path, what: str, mend: str, most: int = MOST) -> str:
    """Text of a file as `read_small`; raises DataError: "<what> cannot be read (...); <mend>"."""
    check_permitted(path)
    try:
        return read_small(path, most)
    except (OSError, ValueError) as error:
        raise DataError(f"{what} cannot be read ({error}); {mend}") from error


def lines_of(text: str) -> list[str]:
    """Lines that are not blank, without blanks around."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def is_utf16(content: bytes) -> bool:
    """Whether a text begins with a UTF-16 byte-order mark, like "Unicode text" of spreadsheets."""
    return content[:2] in (b"\xff\xfe", b"\xfe\xff")


def parse_json(text: str) -> Any:
    """Parse JSON; raises ValueError if it is none, too large, or too deeply nested."""
    # Counted first, since the parsed values take many times the memory of the text.
    if sum(text.count(sign) for sign in ",[{") > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES:,} values")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def why(error: OSError) -> str:
    """Message of the system; the usual one for a full disk also if a library words it otherwise."""
    return error.strerror or (os.strerror(errno.ENOSPC) if disk_full(error) else str(error))


def disk_full(error: BaseException) -> bool:
    """Whether the disk or the user's quota is full, also by the texts of native libraries."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    texts = r"No space left on device|\d+ requested and \d+ written"
    return re.search(texts, str(error)) is not None


class NotPermitted(DataError):
    """A file or folder exists, but this user may not read it."""


def not_permitted(place: Path | str) -> NotPermitted:
    """NotPermitted for `place`, with advice."""
    return NotPermitted(
        f"{place} may not be read by this user; ask its owner for the permission (chmod a+rX), or "
        "run as another user"
    )


@contextmanager
def permitted(place: Path) -> Iterator[None]:
    """Turn a PermissionError inside the block into NotPermitted, which names the file.

    So "may not be read" is reported as neither "missing" nor "damaged".
    """
    try:
        yield
    except PermissionError as error:
        path = Path(error.filename or place)
        # Name the outermost folder without permission; files inside may be readable.
        barred = next(
            (folder for folder in reversed(path.parents) if not os.access(folder, os.X_OK)), path
        )
        raise not_permitted(barred) from error


def check_permitted(file: Path) -> None:
    """Raise NotPermitted if `file` exists but may not be read.

    For readers whose own errors do not say so.
    """
    with permitted(file), suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISREG(os.stat(file).st_mode):
            file.open("rb").close()


_numbers = itertools.count()
_active: set[str] = set()


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode("utf-8", "surrogateescape")).hexdigest()[:6]


@contextmanager
def marked() -> Iterator[str]:
    """Mark for names of unfinished files: host, process and a number, valid inside the block."""
    mark = f"{_host()}-{os.getpid()}-{next(_numbers)}"
    _active.add(mark)
    try:
        yield mark
    finally:
        _active.discard(mark)


def abandoned(mark: str, place: Path, patience: float = DAY) -> bool:
    """Whether the process with the mark in the name of `place` has ended.

    A process of another machine counts as ended after `patience` seconds without a change.
    """
    host, process, _ = mark.split("-")
    if mark in _active:
        return False
    if host != _host():
        return time.time() - place.lstat().st_ctime > patience
    return int(process) == os.getpid() or not _runs(int(process))


def _runs(process: int) -> bool:
    if sys.platform == "win32":  # os.kill would end the process there
        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, process)
        return bool(handle) and bool(ctypes.windll.kernel32.CloseHandle(handle))
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # a process of another user
        return True
    return True


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty file beside `path`; it replaces `path` at the end, or is removed on failure.

    Its permissions follow the umask. Several processes may replace one file at once.
    """
    clear(path.parent, path.name)
    with marked() as mark:
        beside = path.with_name(f"{path.name}.{mark}.new")
        try:
            beside.touch()
            mode = stat.S_IMODE(beside.stat().st_mode)
            yield beside
            if stat.S_IMODE(beside.stat().st_mode) != mode:
                beside.chmod(mode)
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a text file, which appears when it is whole."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def remember(note: Path, text: str) -> None:
    """Write a text to the cache; errors are ignored, since the text can be computed again."""
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        write_text(note, text)


@contextmanager
def replacing_folder(path: Path, check: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """Yield an empty folder beside `path`; it replaces `path` at the end, or is removed on failure.

    On Linux the two are exchanged in one step. Elsewhere `path` moves aside first, and `recover`
    completes the exchange if this process dies.

    Args:
        path: Folder to replace, with everything in it.
        check: Called before the exchange, since filling may take hours; raises if the content of
            `path` must stay.
    """
    path = path.resolve()  # replace the target of a link, not the link
    recover(path)
    with marked() as mark:
        beside, before = (path.with_name(f".{path.name}.{mark}.{end}") for end in ("new", "old"))
        try:
            beside.mkdir()
            yield beside
            check()
            _put_in_place(beside, path, before)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            shutil.rmtree(before, ignore_errors=True)


def _put_in_place(beside: Path, path: Path, before: Path) -> None:
    if not os.path.lexists(path):
        os.rename(beside, path)
        return
    if _exchanged(beside, path):
        return
    os.rename(path, before)
    try:
        os.rename(beside, path)
    except BaseException:
        if not path.exists():
            os.rename(before, path)
        raise


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False, with nothing changed, if the system cannot."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of <fcntl.h> and <linux/fs.h>
    if rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0:
        return True
    code = ctypes.get_errno()
    # Old kernels, network file systems and sandboxes.
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(other))


def recover(path: Path) -> None:
    """Complete or remove what a killed process left of replacing the folder `path`.

    If `path` had been moved aside, its complete successor takes its place. Without write
    permission, does nothing.
    """
    path = path.resolve()
    with suppress(OSError):
        if not os.path.lexists(path):
            _step_in(path)
        clear(path.parent, path.name)


def _step_in(path: Path) -> None:
    for old in sorted(path.parent.glob("*.old")):
        mark = re.fullmatch(rf"\.{re.escape(path.name)}\.({_MARK})\.old", old.name)
        if mark is None or old.is_symlink() or not old.is_dir():
            continue
        if abandoned(mark[1], old, MINUTE):
            new = old.with_suffix(".new")
            os.rename(new if new.is_dir() else old, path)
            shutil.rmtree(old, ignore_errors=True)
            return


def clear(folder: Path, name: str | None = None) -> list[Path]:
    """Remove unfinished files and folders of killed processes; returns the removed paths.

    Files of living processes stay, and so do those that may not be removed. With `name`, only
    leftovers with this target name are removed.
    """
    gone = []
    for place, target in leftovers(folder):
        if name is not None and target != name:
            continue
        if place.suffix == ".old" and not os.path.lexists(folder / target):
            recover(folder / target)
            if not os.path.lexists(folder / target):
                continue  # the only copy
        if place.is_symlink() or not place.is_dir():
            with suppress(OSError):
                place.unlink(missing_ok=True)
        else:
            shutil.rmtree(place, ignore_errors=True)
        if not os.path.lexists(place):
            gone.append(place)
    return gone


def leftovers(folder: Path) -> list[tuple[Path, str]]:
    """Unfinished files and folders of killed processes in `folder`, each with its target name."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = BEGUN.fullmatch(entry.name)
            if match is None:
                continue
            place = folder / entry.name
            with suppress(OSError):
                # replacing_folder adds a dot to the names of folders.
                hidden = match["dot"] and entry.is_dir(follow_symlinks=False)
                if abandoned(match["mark"], place):
                    found.append((place, match["name"] if hidden else match["dot"] + match["name"]))
    return sorted(found)


def move(source: Path, to: Path) -> None:
    """Rename a file or link to the free path `to`, or copy it to another disk."""
    try:
        os.rename(source, to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if source.is_symlink():
            os.symlink(os.readlink(source), to)
        else:
            with replacing(to) as beside:
                shutil.copyfile(source, beside)
        source.unlink()


def cache_root() -> Path:
    """Cache folder: $ZSLKIT_CACHE, or else `zslkit` in the user's cache folder."""
    if given := os.environ.get("ZSLKIT_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zslkit"


def partial_of(final: Path) -> Path:
    """Folder of a run in progress."""
    return final.with_name(final.name + ".partial")
