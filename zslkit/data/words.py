"""Word vectors of attributes: numpy files, numpy pickles read without running them, GloVe and word2vec text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from zslkit.data.words_pickle import read_array_pickle
from zslkit.errors import DataError

Vectors = NDArray[np.float32]

# Published vectors leave some of these out; a phrase keeps its meaning without them.
_FILLERS = frozenset({"a", "an", "and", "of", "or", "the", "to"})
_LONGEST_LINE = 1 << 20


def clean_phrase(name: str) -> str:
    """An attribute name as plain lower-case words.

    >>> clean_phrase("has_bill_shape::curved_(up_or_down)")
    'bill shape curved up or down'
    >>> clean_phrase("wood (not part of a tree)")
    'wood not part of a tree'
    >>> clean_phrase("man-made")
    'man made'
    """
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", name).lower())
    return " ".join(words[1:] if len(words) > 1 and words[0] == "has" else words)


def read_word_vectors(path: Path, names: Sequence[str] | None = None) -> Vectors:
    """The word vectors (A, W) of A attributes.

    `.pkl`, `.pickle`, `.npy`: the table itself; a pickle is read as data, and nothing in it is run.
    `.txt`, `.vec`: GloVe or word2vec text, of which each attribute takes the mean of the vectors of its words (`clean_phrase`).
    names: the A attribute names; text needs them, the other formats are checked against their number.

    Raises DataError if the file is missing, damaged, of another shape, not finite, or lacks words.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no file of word vectors {path}; check the path")
    suffix = path.suffix.lower()
    if suffix in (".pkl", ".pickle"):
        table = read_array_pickle(path)
    elif suffix == ".npy":
        table = _read_npy(path)
    elif suffix in (".txt", ".vec"):
        if names is None:
            raise DataError(f"{path}: word vectors in text form need the attribute names; none are known here")
        return _means(path, names)
    else:
        raise DataError(f"{path}: word vectors are read from .pkl, .npy, .txt or .vec, and not from {suffix or 'a file without ending'!r}")
    return _checked(path, table, names)


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        table: NDArray[Any] = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises many kinds for a damaged header
        raise DataError(f"{path}: this is no whole .npy file of numbers; make it anew with numpy.save") from error
    return table


def _checked(path: Path, table: NDArray[Any], names: Sequence[str] | None) -> Vectors:
    if not isinstance(table, np.ndarray) or table.dtype.kind not in "fiu" or table.ndim != 2 or 0 in table.shape:
        shape = f"{table.dtype} {table.shape}" if isinstance(table, np.ndarray) else type(table).__name__
        raise DataError(f"{path}: word vectors are a table (attributes, width) of numbers, and this is {shape}; make it anew")
    if names is not None and len(table) != len(names):
        raise DataError(f"{path}: {len(table)} word vectors for {len(names)} attributes; they must be one to one")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(table, dtype=np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.argwhere(~np.isfinite(vectors))[0][0])
        raise DataError(f"{path}: the word vector in row {row} is not finite; mend that row")
    return vectors


def _means(path: Path, names: Sequence[str]) -> Vectors:
    phrases = [clean_phrase(name).split() for name in names]
    found = _look_up(path, {word for phrase in phrases for word in phrase})
    lost = sorted({w for phrase in phrases for w in phrase if w not in found and (w not in _FILLERS or len(phrase) == 1)})
    lost += [
        repr(name)
        for name, phrase in zip(names, phrases, strict=True)
        if not any(w in found for w in phrase) and not set(phrase) & set(lost)
    ]
    if lost:
        shown = ", ".join(lost[:12]) + (", ..." if len(lost) > 12 else "")
        raise DataError(
            f"{path}: there are no vectors for {len(lost)} words of the attribute names ({shown}); reword them or take a larger vocabulary"
        )
    rows = [np.mean([found[w] for w in phrase if w in found], axis=0) for phrase in phrases]
    return _checked(path, np.stack(rows) if rows else np.zeros((0, 0)), names)


def _look_up(path: Path, words: set[str]) -> dict[str, NDArray[np.float64]]:
    """Vectors of those of the lower-case `words` that the file has; the spelling in lower case wins over capitals."""
    found: dict[str, NDArray[np.float64]] = {}
    exact: set[str] = set()
    width = 0
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in _lines(path, stream):
            if number == 1 and re.fullmatch(r"\d+ \d+", line):
                width = int(line.split()[1])
                continue
            width = width or line.count(" ")
            word, *values = line.rsplit(" ", width) if width else [line]
            if len(values) != width or not width:
                raise DataError(
                    f"{path}, line {number}: a line of word vectors is a word and its {width or ''} numbers; mend or replace the file"
                )
            key = word if word in words else word.lower()
            if key not in words or key in exact or (key in found and key != word):
                continue
            try:
                found[key] = np.array(values, dtype=np.float64)
            except ValueError as error:
                raise DataError(
                    f"{path}, line {number}: the vector of {word!r} holds something that is no number; mend that line"
                ) from error
            if key == word:
                exact.add(key)
    return found


def _lines(path: Path, stream: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise DataError(f"{path}, line {number}: no word vector is that long; is this GloVe or word2vec in text form?")
        if text := line.strip():
            yield number, text.replace("\t", " ")
