"""Descriptions of classes in plain sentences, embedded by a sentence encoder and kept in the
cache."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError, did_you_mean
from zslkit.readers.csv_file import read_csv
from zslkit.readers.faults import writing
from zslkit.readers.names import match, refuse_clash, same_name, shown, some
from zslkit.readers.sentence_encoder import Encoder
from zslkit.utils.files import cache_root, read_text, replacing

FOLDER = "descriptions"
"""Folder of the cache that keeps embeddings."""
_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])")
"""Between two sentences of one text."""
_HEADS = frozenset({"class", "label", "name"})


@dataclass(frozen=True)
class Embedded:
    """Means (C, W) float32 over the sentences of each class; name and digest of the encoder."""

    vectors: NDArray[np.float32]
    encoder: str


def read_descriptions(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the sentences of each class.

    A `.csv` has a header that begins with class; the other cells of a row are texts. In any other
    file a line is a class, a tab or colon, and a text. A text may hold several sentences, and a
    class may stand on several lines; all of its sentences count alike.

    Raises:
        DataError: The file cannot be read, or a line or class has no text; names the line.
    """
    found: dict[str, list[str]] = {}
    for line, name, texts in _csv(path) if path.suffix.lower() == ".csv" else _lines(path):
        sentences = [one for text in texts for one in _END.split(text) if one.strip()]
        if not same_name(name) or not sentences:
            lack = "description" if same_name(name) else "class"
            raise DataError(f"{path}, line {line}: there is no {lack}; write one")
        found.setdefault(name, []).extend(sentence.strip() for sentence in sentences)
    if not found:
        raise DataError(f"{path} holds no description; write a line for each class")
    refuse_clash(path, "classes", found)
    return {name: tuple(sentences) for name, sentences in found.items()}


def _csv(path: Path) -> list[tuple[int, str, list[str]]]:
    rows = read_csv(path, "a file of descriptions")
    if not rows or len(rows[0][1]) < 2 or same_name(rows[0][1][0]) not in _HEADS:
        raise DataError(
            f"{path}: a CSV of descriptions has the header class,description and a line for each "
            "class; this has not"
        )
    (_, header), *rows = rows
    for line, cells in rows:
        if len(cells) > len(header):
            raise DataError(
                f"{path}, line {line}: it has {len(cells)} cells and the header {len(header)}; put "
                "a text that holds commas in quotes"
            )
    for k, name in enumerate(header[1:] if len(header) > 2 else (), 1):
        written = [cells[k] for _, cells in rows if len(cells) > k and cells[k]]
        if written and all(map(_is_mark, written)):
            raise DataError(
                f"{path}: the column {shown(name)} holds no texts ({written[0]!r}, ...), and every "
                "column is read as one; leave it out, or write sentences"
            )
    return [(line, cells[0], cells[1:]) for line, cells in rows]


def _is_mark(cell: str) -> bool:
    """Whether a cell is a number, a single word or an address, and no sentence."""
    return cell.isascii() and len(cell.split()) == 1 and not cell.endswith((".", "!", "?"))


def text_columns(path: Path) -> tuple[str, ...]:
    """Names of the columns of a CSV that are read as texts; none for another file."""
    if path.suffix.lower() != ".csv":
        return ()
    return tuple(read_csv(path, "a file of descriptions")[0][1][1:])


def _lines(path: Path) -> list[tuple[int, str, list[str]]]:
    text = read_text(path, str(path), "save it as UTF-8 text")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, sign, text = line.partition("\t" if "\t" in line else ":")
        if not sign:
            raise DataError(
                f"{path}, line {number}: there is neither a tab nor a colon between class and "
                "description; write class: description"
            )
        found.append((number, name.strip(), [text.strip()]))
    return found


def in_order(
    path: Path, described: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> list[tuple[str, ...]]:
    """The sentences of each of C classes.

    Raises:
        DataError: A description is of no class, or a class has none.
    """
    joined = match(classes, described)
    if unknown := sorted(set(described) - set(joined.values())):
        raise DataError(
            f"{path} describes {len(unknown)} classes that the dataset has not "
            f"({some(unknown)}){did_you_mean(unknown[0], [c for c in classes if c not in joined])}"
        )
    if missing := [c for c in classes if c not in joined]:
        raise DataError(
            f"{path} describes {len(joined)} of {len(classes)} classes; write a line for "
            f"{some(missing)}"
        )
    return [tuple(described[joined[c]]) for c in classes]


def embed(
    path: Path, sentences: Sequence[Sequence[str]], encoder: str, home: Path = Path()
) -> Embedded:
    """Embed the sentences of C classes, or read what an earlier call kept.

    Args:
        path: File of the descriptions, for messages.
        encoder: A model of sentence-transformers, or its folder.
        home: Folder at which a relative path of that folder starts.

    Raises:
        UserError: The encoder is not there; nothing is kept.
        DataError: The encoder gives no usable vectors.
        CannotWrite: The cache cannot be written.
    """
    folder = home.absolute() / Path(encoder).expanduser()
    place = str(folder) if folder.is_dir() or encoder.startswith(".") else encoder
    facts = [encoder, _state(Path(place)), [list(one) for one in sentences]]
    key = sha256(json.dumps(facts).encode()).hexdigest()[:32]
    file = cache_root() / FOLDER / f"{key}.npz"
    if (kept := _kept(file, len(sentences))) is not None:
        return kept
    loaded = Encoder.load(place)
    flat = [sentence for one in sentences for sentence in one]
    vectors = loaded.sentences(flat).astype(np.float64)
    ends = np.cumsum([len(one) for one in sentences])
    means = [part.mean(axis=0) for part in np.split(vectors, ends[:-1])]
    named = f"{encoder} ({loaded.digest})" if loaded.digest else encoder
    made = Embedded(np.stack(means).astype(np.float32), named)
    what = f"The embeddings of {path} cannot be kept in {file.parent}"
    with writing(what, "mend that, or name another place with ZSLKIT_CACHE"):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as beside, beside.open("wb") as stream:
            np.savez(stream, vectors=made.vectors, encoder=np.array(made.encoder))
    return made


def _kept(file: Path, count: int) -> Embedded | None:
    """Embeddings in the cache; None if there are none or the file is damaged."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            vectors, encoder = arrays["vectors"], str(arrays["encoder"])
    except Exception:  # zipfile and numpy raise errors of many types for damaged files
        return None
    good = vectors.dtype == np.float32 and vectors.ndim == 2 and len(vectors) == count
    return Embedded(vectors, encoder) if good and np.isfinite(vectors).all() else None


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files of an encoder in a folder."""
    if not folder.is_dir():
        return []
    stats = [(file, file.stat()) for file in sorted(folder.rglob("*")) if file.is_file()]
    return [(file.relative_to(folder).as_posix(), s.st_size, s.st_mtime_ns) for file, s in stats]
