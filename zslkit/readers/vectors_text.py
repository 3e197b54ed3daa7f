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
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.utils.files import is_utf16, need_plain, permitted

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LONGEST_LINE = 1 << 20
_CHUNK = 1 << 20
_HEADER = re.compile(r" ?\d+ [1-9]\d{0,5}( \d+)?")
_LOOKED_AT = 100
"""Lines whose numbers are counted, to find out whether a header tells the truth."""
_MOST_EMPTY = 1000
"""Empty lines in a row."""
_UNFOLDED, _RATIO = 1 << 20, 50
"""Bytes up to which packed text may be as compressible as it likes, and how many times it may shrink beyond. Numbers shrink four times."""


@dataclass(frozen=True)
class FoundVectors:
    """vectors: word -> (W,) for the words that the file has. sha256: of the whole file as it lies on the disk."""

    vectors: Mapping[str, NDArray[np.float64]]
    sha256: str


def look_up(
    path: Path, words: Collection[str], advance: Callable[[int], Any] = lambda n: None
) -> FoundVectors:
    """Vectors of those of the lower-case `words` that the file has; the spelling in lower case wins over capitals.

    One line is held at a time, so memory does not grow with the file. advance: told how many bytes were read from the disk.
    Raises DataError that names file and line if this is no text of word vectors.
    """
    wanted = frozenset(words)
    found: dict[str, NDArray[np.float64]] = {}
    exact: set[str] = set()
    width = 0
    with _opened(path, advance) as (stream, digest):
        lines = _Lines(path, _lines(path, stream))
        for number, line in lines:
            width = width or lines.width or _trailing_numbers(line)
            if not width or line.count(" ") < width:
                raise DataError(
                    f"{path}, line {number}: a line of word vectors is a word and its {width or ''} numbers{lines.as_said}; "
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
        return FoundVectors(found, digest())


class _Lines:
    """The lines of word vectors by number, the header taken off and held against them.

    width: numbers of a word as the header says, 0 where there is none. as_said: that it says so, for errors.
    """

    def __init__(self, path: Path, lines: Iterator[tuple[int, str]]) -> None:
        self._path, self._lines = path, lines
        self.width, self.as_said = 0, ""
        first, second = next(lines, None), next(lines, None)
        self._begin = [line for line in (first, second) if line is not None]
        self._count: int | None = None
        if first is not None and _HEADER.fullmatch(first[1]):
            self._take_header(first[1].split(), "" if second is None else second[1])

    def _take_header(self, fields: list[str], second: str) -> None:
        # "2 5 6" is the word 2 and its vector, unless what follows has the five numbers that a header of three fields says.
        if len(fields) == 3 and _trailing_numbers(second) != int(fields[1]):
            return
        self._count, self.width = int(fields[0]), int(fields[1])
        self.as_said = f", as the header ({' '.join(fields)}) says"
        del self._begin[0]

    def __iter__(self) -> Iterator[tuple[int, str]]:
        count, said, fewest = 0, self.width, 0
        for number, line in chain(self._begin, self._lines):
            count += 1
            if count <= _LOOKED_AT:
                numbers = _trailing_numbers(line)
                if not said:
                    said = numbers
                else:
                    fewest = min(fewest or numbers, numbers)
            if count == _LOOKED_AT:
                self._hold(said, fewest)
            yield number, line
        if count < _LOOKED_AT:
            self._hold(said, fewest)
        if self._count is not None and count != self._count:
            raise DataError(
                f"{self._path}: the header says {self._count:,} words and {count:,} follow; is the file cut off? If not, mend the header"
            )

    def _hold(self, said: int, fewest: int) -> None:
        # A word may end in numbers of its own, but not all of them.
        if fewest > said:
            what = "the header says" if self.width else "line 1 has"
            raise DataError(
                f"{self._path}: {what} {said} numbers for each word, and {fewest} follow; mend that line or remove it"
            )


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
    number, last = 0, 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if number - last > _MOST_EMPTY:
            raise DataError(
                f"{path}, line {number}: {_MOST_EMPTY:,} lines in a row are empty; is this GloVe or word2vec in text form?"
            )
        if len(line) == _LONGEST_LINE:
            raise DataError(
                f"{path}, line {number}: no word vector is that long; is this GloVe or word2vec in text form?"
            )
        if "\0" in line:
            raise DataError(
                f"{path}, line {number}: there are bytes that are no text; the binary form of word vectors is not read, save it as text"
            )
        if text := line.rstrip(" \t\r\n"):
            text = text.replace("\t", " ")
            yield number, re.sub("  +", " ", text) if "  " in text else text
            last = number


@contextmanager
def _opened(
    path: Path, advance: Callable[[int], Any]
) -> Iterator[tuple[TextIO, Callable[[], str]]]:
    """The text of a file and a function that gives the digest of the bytes read so far."""
    try:
        need_plain(path)
    except ValueError as error:
        raise DataError(f"{path}: {error}; name the file of word vectors itself") from error
    with permitted(path):
        opened = path.open("rb", buffering=0)
    with opened as file:
        watched = _Watched(file, advance)
        buffered = io.BufferedReader(watched, _CHUNK)
        head = buffered.peek(4)[:4]
        if head == b"PK\x03\x04":
            raise DataError(f"{path} is a zip archive; unpack it and name the text file in it")
        zipped = head[:2] == b"\x1f\x8b"
        plain = (
            io.BufferedReader(_Unfolded(path, buffered, watched), _CHUNK) if zipped else buffered
        )
        # Only \n ends a line: some vocabularies hold other signs that Python would take for an end.
        try:
            if is_utf16(plain.peek(2)):
                raise DataError(f"{path} is UTF-16 text; save it as UTF-8")
            yield (
                io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace", newline="\n"),
                watched.hexdigest,
            )
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path} is no whole gzip file ({error}); fetch it again") from error


class _Watched(io.RawIOBase):
    """A file that counts and digests what is read from it."""

    def __init__(self, file: io.RawIOBase | io.FileIO, advance: Callable[[int], Any]) -> None:
        self._file, self._advance, self._hash = file, advance, hashlib.sha256()
        self.read_so_far = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        count = self._file.readinto(buffer)
        self._hash.update(memoryview(buffer)[:count])
        self._advance(count or 0)
        self.read_so_far += count or 0
        return count

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class _Unfolded(io.RawIOBase):
    """What a gzipped file unfolds to. Raises DataError where it is more than text can be."""

    def __init__(self, path: Path, packed: Any, watched: _Watched) -> None:
        self._path, self._watched = path, watched
        self._file = gzip.GzipFile(fileobj=packed, mode="rb")
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        count = self._file.readinto(buffer)
        self._count += count
        if self._count > _UNFOLDED and self._count > _RATIO * self._watched.read_so_far:
            raise DataError(
                f"{self._path} unfolds to more than {_RATIO} times its size, and no word vectors do; is it another file?"
            )
        return count
