"""Word vectors in text form, of any size: GloVe, word2vec and fastText, plain or gzip."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
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
"""Number of lines whose numbers are counted to verify the header."""
_MOST_EMPTY = 1000
"""Limit of consecutive empty lines."""
_ANY_RATIO, _RATIO = 1 << 20, 50
"""Bytes up to which any compression ratio is accepted, and the limit beyond; numbers reach 4."""


def look_up(
    path: Path, words: Collection[str], advance: Callable[[int], Any] = lambda n: None
) -> tuple[dict[str, NDArray[np.float64]], str]:
    """Find the vectors of words in lower case in a text file, plain or gzip.

    One line is held in memory at a time. The lower-case spelling of a word in the file has priority
    over other spellings. `advance` gets the number of bytes after each read from disk.

    Returns:
        Word -> vector (W,) for the words that the file has, and the sha256 of the file as stored.

    Raises:
        DataError: Names file and line that is not a line of word vectors.
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
                    f"{path}, line {number}: a line of word vectors is a word and its "
                    f"{width or ''} numbers{lines.by_header}; mend the file, or is it no word "
                    "vectors in text form?"
                )
            # The numbers of most lines are not parsed. A wanted word contains no space.
            begin = line[: line.index(" ")]
            if begin and begin not in wanted and begin.lower() not in wanted:
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
                    f"{path}, line {number}: the vector of {word!r} holds something that is no "
                    "number; mend that line"
                ) from error
            if key == word:
                exact.add(key)
        return found, digest()


class _Lines:
    """Numbered lines of word vectors without the header, which is verified against them.

    `width` is the count of numbers that the header states, 0 without one; `by_header` quotes it.
    """

    def __init__(self, path: Path, lines: Iterator[tuple[int, str]]) -> None:
        self._path, self._lines = path, lines
        self.width, self.by_header = 0, ""
        first, second = next(lines, None), next(lines, None)
        self._begin = [line for line in (first, second) if line is not None]
        self._count: int | None = None
        if first is not None and _HEADER.fullmatch(first[1]):
            self._take_header(first[1].split(), "" if second is None else second[1])

    def _take_header(self, fields: list[str], second: str) -> None:
        # "2 5 6" is the word 2 and its vector, unless the next line has five numbers.
        if len(fields) == 3 and _trailing_numbers(second) != int(fields[1]):
            return
        self._count, self.width = int(fields[0]), int(fields[1])
        self.by_header = f", as the header ({' '.join(fields)}) says"
        del self._begin[0]

    def __iter__(self) -> Iterator[tuple[int, str]]:
        count, expected, fewest = 0, self.width, 0
        for number, line in chain(self._begin, self._lines):
            count += 1
            if count <= _LOOKED_AT:
                numbers = _trailing_numbers(line)
                if not expected:
                    expected = numbers
                else:
                    fewest = min(fewest or numbers, numbers)
            if count == _LOOKED_AT:
                self._check_width(expected, fewest)
            yield number, line
        if count < _LOOKED_AT:
            self._check_width(expected, fewest)
        if self._count is not None and count != self._count:
            raise DataError(
                f"{self._path}: the header says {self._count:,} words and {count:,} follow; is "
                "the file cut off? If not, mend the header"
            )

    def _check_width(self, expected: int, fewest: int) -> None:
        """Raise DataError if every line has more numbers than expected."""
        # Some words may end in numbers of their own, but not all of them.
        if fewest > expected:
            what = "the header says" if self.width else "line 1 has"
            raise DataError(
                f"{self._path}: {what} {expected} numbers for each word, and {fewest} follow; "
                "mend that line or remove it"
            )


def _trailing_numbers(line: str) -> int:
    """Count the numbers at the end of a line: the width, where no header states it.

    The word itself may contain spaces or be a number.
    """
    fields = line.split(" ")
    count = 0
    for text in reversed(fields[1:]):
        try:
            float(text)
        except ValueError:
            break
        count += 1
    # Under half of the fields: one of them is not a number, which is reported when it is parsed.
    return count if 2 * count >= len(fields) - 1 else len(fields) - 1


def _lines(path: Path, stream: TextIO) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not empty, with single spaces.

    Only ASCII spaces and tabs separate fields: a word may contain other characters that look like
    spaces.
    """
    number, last_text = 0, 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if number - last_text > _MOST_EMPTY:
            raise DataError(
                f"{path}, line {number}: {_MOST_EMPTY:,} lines in a row are empty; is this GloVe "
                "or word2vec in text form?"
            )
        if len(line) == _LONGEST_LINE:
            raise DataError(
                f"{path}, line {number}: no word vector is that long; is this GloVe or word2vec "
                "in text form?"
            )
        if "\0" in line:
            raise DataError(
                f"{path}, line {number}: there are bytes that are no text; the binary form of "
                "word vectors is not read, save it as text"
            )
        if text := line.rstrip(" \t\r\n"):
            text = text.replace("\t", " ")
            yield number, re.sub("  +", " ", text) if "  " in text else text
            last_text = number


@contextmanager
def _opened(
    path: Path, advance: Callable[[int], Any]
) -> Iterator[tuple[TextIO, Callable[[], str]]]:
    """A file opened as text, and a function that returns the digest of the bytes read so far."""
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
        plain: Any = buffered
        if zipped:
            plain = io.BufferedReader(_Unfolded(path, buffered, watched), _CHUNK)
        # Only \n ends a line: vocabularies contain other characters that Python treats as an end.
        try:
            if is_utf16(plain.peek(2)):
                raise DataError(f"{path} is UTF-16 text; save it as UTF-8")
            text = io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace", newline="\n")
            yield text, watched.hexdigest
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path} is no whole gzip file ({error}); fetch it again") from error


class _Watched(io.RawIOBase):
    """File that counts and digests the bytes read from it."""

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
    """Decompressed content of a gzip file; DataError if the compression ratio is too high."""

    def __init__(self, path: Path, packed: Any, watched: _Watched) -> None:
        self._path, self._watched = path, watched
        self._file = gzip.GzipFile(fileobj=packed, mode="rb")
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        count = self._file.readinto(buffer)
        self._count += count
        if self._count > _ANY_RATIO and self._count > _RATIO * self._watched.read_so_far:
            raise DataError(
                f"{self._path} unfolds to more than {_RATIO} times its size, and no word vectors "
                "do; is it another file?"
            )
        return count
