"""Files and folders that are written whole or not at all, and the cache for those that can be made again.

What is being written lies beside its place under a name with a mark, which says which process writes it. If that process is
killed, the next one that touches the place ends or clears what it left; see `recover` and `clear`.
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
"""Metadata of the weights that zslkit writes to the cache."""

MOST = 64 << 20
"""Bytes of a text that is read whole; a record of 20,000 classes has 2 MB."""

MOST_VALUES = 1_000_000
"""Values of a JSON text. An empty list takes three bytes of it and a hundred of memory."""

DAY = 86400.0
"""Seconds after which what another machine has begun and not ended counts as left over."""
MINUTE = 60.0
"""Seconds after which a folder that another machine moved away, and put nothing in its place, counts as left over."""

_MARK = r"[0-9a-f]{6}-\d+-\d+"
BEGUN = re.compile(rf"(?P<dot>\.?)(?P<name>.+)\.(?P<mark>{_MARK})\.(?P<end>new|old)", re.DOTALL)
"""Name of what is being written, or steps aside for it."""
_EARLIER = r"\.{0}\.[0-9a-f]{{8}}|{0}\.[a-z0-9_]{{8}}"
"""Names of what versions before this scheme left beside a folder, ending in .new or .partial, and .old."""


def need_plain(path: Path) -> None:
    """Make sure that opening `path` does not wait for ever.

    Args:
        path: A file, or a place where there is nothing.

    Raises:
        ValueError: There is something else, such as a pipe, a device or a folder.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")


def read_small(path: Path, most: int = MOST) -> str:
    """The UTF-8 text in a file of at most `most` bytes, without the byte-order mark that some editors put before it.

    Raises OSError if it cannot be read, ValueError if it is larger, no UTF-8, or no file that has an end, such as a pipe.
    """
    need_plain(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most >> 20} MB")
    if is_utf16(content):
        raise ValueError("it is UTF-16 text; save it as UTF-8")
    return content.decode("utf-8-sig")


def is_utf16(content: bytes) -> bool:
    """Whether a text begins with the byte-order mark of UTF-16, as spreadsheets write "Unicode text"."""
    return content[:2] in (b"\xff\xfe", b"\xfe\xff")


def parse_json(text: str) -> Any:
    """What the text says. Raises ValueError if it is no JSON, or more, larger or deeper than anybody writes."""
    # Counted before it is read: what is built of it takes many times the room of the text.
    if sum(text.count(sign) for sign in ",[{") > MOST_VALUES:
        raise ValueError(f"it holds more than {MOST_VALUES:,} values")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def why(error: OSError) -> str:
    """What the system says; in its words too where a library that writes has words of its own for a full disk."""
    return error.strerror or (os.strerror(errno.ENOSPC) if disk_full(error) else str(error))


def disk_full(error: BaseException) -> bool:
    """Whether the error says that the disk, or one's share of it, is full. Native code says so in its own words."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return (
        "No space left on device" in str(error)
        or re.search(r"\d+ requested and \d+ written", str(error)) is not None
    )


class NotPermitted(DataError):
    """A file or folder that is there, and that this user may not read."""


def not_permitted(place: Path | str) -> NotPermitted:
    """The error that names the place and the way on."""
    return NotPermitted(
        f"{place} may not be read by this user; ask its owner for the permission (chmod a+rX), or "
        "run as another user"
    )


@contextmanager
def permitted(place: Path) -> Iterator[None]:
    """Tell "may not be read" from "missing" and "damaged": a PermissionError inside becomes NotPermitted, which names the file."""
    try:
        yield
    except PermissionError as error:
        path = Path(error.filename or place)
        # The outermost folder that bars the way: what is in it may well be readable.
        barred = next(
            (folder for folder in reversed(path.parents) if not os.access(folder, os.X_OK)), path
        )
        raise not_permitted(barred) from error


def check_permitted(file: Path) -> None:
    """Raises NotPermitted if `file` is there and may not be read; for readers whose own errors do not say so."""
    with permitted(file), suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISREG(os.stat(file).st_mode):
            file.open("rb").close()


_numbers = itertools.count()
_active: set[str] = set()


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode("utf-8", "surrogateescape")).hexdigest()[:6]


@contextmanager
def marked() -> Iterator[str]:
    """A mark for names of what this process works on inside the block: host, process and a number."""
    mark = f"{_host()}-{os.getpid()}-{next(_numbers)}"
    _active.add(mark)
    try:
        yield mark
    finally:
        _active.discard(mark)


def abandoned(mark: str, place: Path, patience: float = DAY) -> bool:
    """Whether the process that made `place` under this mark has ended.

    One on another machine counts as ended if nothing has changed for `patience` seconds.
    """
    host, process, _ = mark.split("-")
    if mark in _active:
        return False
    if host != _host():
        return time.time() - place.lstat().st_ctime > patience
    return int(process) == os.getpid() or not _runs(int(process))


def _runs(process: int) -> bool:
    if sys.platform == "win32":  # there os.kill ends the process, whatever the signal
        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, process)
        return bool(handle) and bool(ctypes.windll.kernel32.CloseHandle(handle))
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file beside `path` to write to; it takes the place of `path` at the end and is gone if anything fails.

    Its permissions follow the umask, whatever wrote it. Several processes may replace one file at once.
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


@contextmanager
def replacing_folder(path: Path, check: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """An empty folder beside `path` to fill; at the end it takes the place of `path` and of all in it. It is gone if anything fails.

    Where the system can (Linux), the two change places in one step. Elsewhere `path` steps aside first, and whoever looks there
    next (`recover`) ends that if this process cannot.

    check: raises unless what is in `path` may go; called when all is ready, since filling may take hours.
    """
    path = path.resolve()  # else a link would be replaced, and not the folder that it leads to
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
    """Let two folders change places in one step; False, with nothing done, where the system cannot."""
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
    if code in (
        errno.ENOSYS,
        errno.EINVAL,
        errno.ENOTSUP,
        errno.EPERM,
    ):  # old kernels, network file systems, sandboxes
        return False
    raise OSError(code, os.strerror(code), str(other))


def recover(path: Path) -> None:
    """End or clear what a killed process left of replacing the folder `path`. Does nothing where it may not write.

    If `path` had stepped aside, its successor was whole and takes its place.
    """
    path = path.resolve()
    with suppress(OSError):
        if not os.path.lexists(path):
            _step_in(path, _EARLIER.format(re.escape(path.name)))
        clear(path.parent, path.name)


def _step_in(path: Path, earlier: str) -> None:
    for old in sorted(path.parent.glob("*.old")):
        stem = old.name.removesuffix(".old")
        if mark := re.fullmatch(rf"\.{re.escape(path.name)}\.({_MARK})", stem):
            waits = not abandoned(mark[1], old, MINUTE)
        else:
            waits = re.fullmatch(earlier, stem) is None
        if waits or not old.is_dir() or old.is_symlink():
            continue
        whole = (old.with_name(f"{stem}{end}") for end in (".new", ".partial"))
        os.rename(next((new for new in whole if new.is_dir()), old), path)
        shutil.rmtree(old, ignore_errors=True)
        return


def clear(folder: Path, name: str | None = None) -> list[Path]:
    """Remove what killed processes left in `folder` of files and folders that they were replacing; returns what is gone.

    name: only of what would have had this name. What a living process works on stays, and so does all that it may not remove.
    """
    gone = []
    for place, target in leftovers(folder):
        if name is not None and target != name:
            continue
        if place.suffix == ".old" and not os.path.lexists(folder / target):
            recover(folder / target)
            if not os.path.lexists(folder / target):
                continue  # the last that there is of it
        if place.is_symlink() or not place.is_dir():
            with suppress(OSError):
                place.unlink(missing_ok=True)
        else:
            shutil.rmtree(place, ignore_errors=True)
        if not os.path.lexists(place):
            gone.append(place)
    return gone


def leftovers(folder: Path) -> list[tuple[Path, str]]:
    """What killed processes left in `folder` of files and folders that they were replacing, each with the name of what it was to be."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = BEGUN.fullmatch(entry.name)
            if match is None:
                continue
            place = folder / entry.name
            with suppress(OSError):
                hidden = match["dot"] and entry.is_dir(
                    follow_symlinks=False
                )  # of a folder the dot is ours
                if abandoned(match["mark"], place):
                    found.append((place, match["name"] if hidden else match["dot"] + match["name"]))
    return sorted(found)


def move(source: Path, to: Path) -> None:
    """Rename a file or link to `to`, where nothing is; to another disk, copy it."""
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
    """The cache, where feature stores live: $ZSLKIT_CACHE, else the user's cache folder."""
    if given := os.environ.get("ZSLKIT_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zslkit"


def partial_of(final: Path) -> Path:
    """Where the files of a run are while it is in progress."""
    return final.with_name(final.name + ".partial")
