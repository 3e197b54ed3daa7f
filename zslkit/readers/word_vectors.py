"""Word vectors of attributes, from numpy files, pickles (which are not run), or text files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError, did_you_mean, listed
from zslkit.readers.names import match, same_look, some
from zslkit.readers.stream import as_float32, existing
from zslkit.readers.vectors_pickle import read_array_pickle
from zslkit.readers.vectors_text import look_up
from zslkit.utils.files import parse_json, read_small

Vectors = NDArray[np.float32]

# Some published vocabularies lack these words; a phrase keeps its meaning without them.
_FILLERS = frozenset({"a", "an", "and", "of", "or", "the", "to"})


@dataclass(frozen=True)
class Phrase:
    """Name of one attribute, and its words in lower case."""

    name: str
    words: tuple[str, ...]

    def missing_words(self, vectors: Container[str]) -> tuple[str, ...]:
        """Words that leave the phrase without a vector; the name itself if it has no words."""
        fillers = _FILLERS if len(self.words) > 1 else ()
        missing = tuple(w for w in self.words if w not in vectors and w not in fillers)
        return missing or (() if any(w in vectors for w in self.words) else (repr(self.name),))


def clean_phrase(name: str) -> str:
    """Convert an attribute name to plain lower-case words.

    >>> clean_phrase("has_bill_shape::curved_(up_or_down)")
    'bill shape curved up or down'
    >>> clean_phrase("wood (not part of a tree)")
    'wood not part of a tree'
    >>> clean_phrase("man-made")
    'man made'
    """
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", name).lower())
    return " ".join(words[1:] if len(words) > 1 and words[0] == "has" else words)


_STANDS_FOR_NAME = re.compile(
    r"(?:attributes?|attrs?|atts?|features?|feats?|dimensions?|dims?|columns?|cols?|channels?"
    r"|components?|properties|property|props?"
    r"|variables?|vars?|values?|concepts?|class|index|idx|items?|labels?|names?|number|nr|no"
    r"|unnamed|unknown|pc)?\d+"
)
_LETTER_AND_NUMBER = re.compile(r"[a-z]\d+")


def placeholders(names: Sequence[str]) -> list[str]:
    """Names that only number the attributes, such as "attribute 1", "attr_3", "0" or "a7".

    A letter and a number may be a name (vitamin "b6"), unless most names have this form.

    >>> placeholders(["attr_3", "Unnamed: 0", "12", "2 wheels", "b6"])
    ['attr_3', 'Unnamed: 0', '12']
    >>> placeholders(["a0", "a1", "a2"])
    ['a0', 'a1', 'a2']
    """
    bare = {name: clean_phrase(name).replace(" ", "") for name in names}
    short = {name for name, text in bare.items() if _LETTER_AND_NUMBER.fullmatch(text)}
    if 2 * len(short) <= len(names):
        short = set()
    short |= {name for name, text in bare.items() if _STANDS_FOR_NAME.fullmatch(text)}
    return [name for name in bare if name in short]


def read_word_vectors(path: Path, names: Sequence[str] | None = None) -> Vectors:
    """Read the word vectors (A, W) of A attributes.

    `.pkl`, `.pickle` and `.npy` hold the table itself; a pickle is read as data, and nothing in it
    runs. `.txt` and `.vec`, also with `.gz` appended, are GloVe, word2vec or fastText text: an
    attribute gets the mean vector of its words (`clean_phrase`). Where a note beside a `.npy` file
    says of which attributes the vectors are (`zslkit data words` writes it), they are joined by
    name.

    Args:
        names: The A attribute names. Text files need them; other formats are checked against them.

    Raises:
        DataError: The file is missing, damaged, of another shape, not finite, lacks words, or is of
            other attributes.
    """
    path = existing(Path(path), "file of word vectors")
    suffix = Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()
    if suffix in (".pkl", ".pickle"):
        table = read_array_pickle(path)
    elif suffix == ".npy":
        table = _read_npy(path)
    elif suffix in (".txt", ".vec"):
        if names is None:
            raise DataError(
                f"{path}: word vectors in text form need the attribute names; none are known here"
            )
        phrases = phrases_of(names)
        words = {word for phrase in phrases for word in phrase.words}
        return means(phrases, look_up(path, words)[0], path)
    else:
        given = suffix or "a file without ending"
        raise DataError(
            f"{path}: word vectors are read from .pkl, .npy, .txt or .vec (or .gz of these two), "
            f"not from {given!r}"
        )
    vectors = checked(path, table, names)
    return vectors if names is None or suffix != ".npy" else _by_name(path, vectors, names)


def _by_name(path: Path, vectors: Vectors, names: Sequence[str]) -> Vectors:
    """Vectors (A, W) in the order of the A names; as they are if no note tells their attributes."""
    try:
        note = parse_json(read_small(path.with_suffix(".json")))
        made_for = list(note["phrases"])
        told = note["sha256"] == digest_of(vectors)
    except (OSError, ValueError, KeyError, TypeError):
        return vectors
    if not told or made_for == list(names):
        return vectors
    joined = match(names, made_for, same_look)
    if other := [name for name in names if name not in joined]:
        raise DataError(
            f"{path}: {len(other)} of {len(names)} attributes have no vector in it "
            f"({some(other, 3)}), since it was made for others; make it anew with zslkit data "
            "words and --again"
        )
    return vectors[[made_for.index(joined[name]) for name in names]]


def digest_of(vectors: Vectors) -> str:
    """sha256 of the vectors as little-endian float32."""
    return sha256(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).hexdigest()


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        table: NDArray[Any] = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises errors of many types for a damaged header
        raise DataError(
            f"{path}: this is no whole .npy file of numbers; make it anew with numpy.save"
        ) from error
    return table


def checked(path: Path, table: NDArray[Any], names: Sequence[str] | None) -> Vectors:
    """Check a table of word vectors (A, W) against the attribute names.

    Raises:
        DataError: Names `path` if the table has another type or shape, or is not finite.
    """
    is_array = isinstance(table, np.ndarray)
    if not is_array or table.dtype.kind not in "fiu" or table.ndim != 2 or 0 in table.shape:
        shape = f"{table.dtype} {table.shape}" if is_array else type(table).__name__
        raise DataError(
            f"{path}: word vectors are a table (attributes, width) of numbers, and this is "
            f"{shape}; make it anew"
        )
    if names is not None and len(table) != len(names):
        raise DataError(
            f"{path}: {len(table)} word vectors for {len(names)} attributes; they must be one to "
            "one"
        )
    vectors = as_float32(table)
    if not np.isfinite(vectors).all():
        row = int(np.argwhere(~np.isfinite(vectors))[0][0])
        raise DataError(f"{path}: the word vector in row {row} is not finite; mend that row")
    return vectors


def empty_words(names: Sequence[str], vectors: Vectors | None) -> tuple[str, ...]:
    """Remark on attributes whose word vector (A, W) says nothing; none if all say something."""
    if vectors is None:
        return ()
    zero = [name for name, row in zip(names, vectors, strict=True) if not row.any()]
    if zero:
        return (f"the word vectors of {len(zero)} attributes are zero ({some(zero, 3)})",)
    if len(vectors) > 1 and (vectors == vectors[0]).all():
        return (f"all {len(vectors)} attributes have one and the same word vector",)
    return ()


def phrases_of(names: Sequence[str], reword: Mapping[str, str] | None = None) -> tuple[Phrase, ...]:
    """Phrases of the attribute names; `reword` maps a name to words to use instead.

    Raises:
        DataError: `reword` has an unknown name, or a name is only a number and not reworded.
    """
    replaced = reword or {}
    for name in replaced:
        if name not in names:
            raise DataError(f"There is no attribute {name!r} to reword{did_you_mean(name, names)}")
    if numbered := [name for name in placeholders(names) if name not in replaced]:
        raise DataError(
            f"{len(numbered)} of {len(names)} attributes have a number in place of a name "
            f"({some(numbered, 3)}), and a number says nothing; give the attributes names in "
            "words, or reword them"
        )
    return tuple(
        Phrase(name, tuple(clean_phrase(replaced.get(name, name)).split())) for name in names
    )


def means(
    phrases: Sequence[Phrase], vectors: Mapping[str, NDArray[np.float64]], path: Path
) -> Vectors:
    """Mean vector of the words of each phrase, (A, W).

    Raises:
        DataError: Names the words without a vector.
    """
    missing = sorted({word for phrase in phrases for word in phrase.missing_words(vectors)})
    if missing:
        raise DataError(
            f"{path}: there are no vectors for {len(missing)} words of the attribute names "
            f"({listed(missing, 12)}); reword them or take a larger vocabulary"
        )
    rows = [
        np.mean([vectors[w] for w in phrase.words if w in vectors], axis=0) for phrase in phrases
    ]
    return checked(
        path, np.stack(rows) if rows else np.zeros((0, 0)), [phrase.name for phrase in phrases]
    )
