"""Word vectors in text form, of any size: GloVe (no header), word2vec and fastText (a header), plain or gzipped."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.files import permitted

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LONGEST_LINE = 1 << 20
_CHUNK = 1 << 20
_HEADER = re.compile(r"\d+ \d+")


@dataclass(frozen=True)
class Found:
    """vectors: word -> (W,) for the words that the file has. sha256: of the whole file as it lies on the disk."""

    vectors: Mapping[str, NDArray[np.float64]]
    sha256: str


def look_up(path: Path, words: Collection[str], advance: Callable[[int], Any] = lambda n: None) -> Found:
    """Vectors of those of the lower-case `words` that the file has; the spelling in lower case wins over capitals.

    One line is held at a time, so memory does not grow with the file. advance: told how many bytes were read from the disk.
    Raises DataError that names file and line if this is no text of word vectors.
    """
    wanted = frozenset(words)
    found: dict[str, NDArray[np.float64]] = {}
    exact: set[str] = set()
    width = 0
    with _opened(path, advance) as (stream, digest):
        for number, line in _lines(path, stream):
            if number == 1 and _HEADER.fullmatch(line):
                width = int(line.split()[1])
                continue
            width = width or _trailing_numbers(line)
            if not width or line.count(" ") < width:
                raise DataError(
                    f"{path}, line {number}: a line of word vectors is a word and its {width or ''} numbers; "
                    "mend the file, or is it no word vectors in text form?"
                )
            # Most lines are of no interest: their numbers are never looked at. A wanted word holds no space.
            if not _of_interest(line[: line.index(" ")], wanted) and not line.startswith(" "):
                continue
            word, *values = line.rsplit(" ", width)
            word = word.strip()
            key = word if word in wanted else word.lower()
            if key not in wanted or key in exact or (key in found and key != word):
                continue
            try:
                found[key] = np.array(values, dtype=np.float64)
            except ValueError as error:
                raise DataError(
                    f"{path}, line {number}: the vector of {word!r} holds something that is no number; mend that line"
                ) from error
            if key == word:
                exact.add(key)
        return Found(found, digest())


def _of_interest(word: str, wanted: frozenset[str]) -> bool:
    return word in wanted or word.lower() in wanted


def _trailing_numbers(line: str) -> int:
    """How many numbers end the first line: the width, where no header tells it. The word itself may hold spaces or be a number."""
    fields = line.split(" ")
    count = 0
    for text in reversed(fields[1:]):
        try:
            float(text)
        except ValueError:
            break
        count += 1
    # Fewer than half are no width: something among the numbers is none, and is told when the line is read.
    return count if 2 * count >= len(fields) - 1 else len(fields) - 1


def _lines(path: Path, stream: TextIO) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, by number, with single spaces. A word may be a sign that only looks like a space."""
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise DataError(f"{path}, line {number}: no word vector is that long; is this GloVe or word2vec in text form?")
        if "\0" in line:
            raise DataError(
                f"{path}, line {number}: there are bytes that are no text; the binary form of word vectors is not read, save it as text"
            )
        if text := line.rstrip(" \t\r\n"):
            yield number, text.replace("\t", " ")


@contextmanager
def _opened(path: Path, advance: Callable[[int], Any]) -> Iterator[tuple[TextIO, Callable[[], str]]]:
    """The text of a file and a function that gives the digest of the bytes read so far."""
    with permitted(path):
        opened = path.open("rb", buffering=0)
    with opened as file:
        watched = _Watched(file, advance)
        buffered = io.BufferedReader(watched, _CHUNK)
        head = buffered.peek(4)[:4]
        if head == b"PK\x03\x04":
            raise DataError(f"{path} is a zip archive; unpack it and name the text file in it")
        zipped = head[:2] == b"\x1f\x8b"
        plain = gzip.GzipFile(fileobj=buffered, mode="rb") if zipped else buffered
        # Only \n ends a line: some vocabularies hold other signs that Python would take for an end.
        try:
            yield io.TextIOWrapper(plain, encoding="utf-8", errors="replace", newline="\n"), watched.hexdigest
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path} is no whole gzip file ({error}); fetch it again") from error


class _Watched(io.RawIOBase):
    """A file that counts and digests what is read from it."""

    def __init__(self, file: io.RawIOBase | io.FileIO, advance: Callable[[int], Any]) -> None:
        self._file, self._advance, self._hash = file, advance, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        count = self._file.readinto(buffer)
        self._hash.update(memoryview(buffer)[:count])
        self._advance(count or 0)
        return count

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
