"""Word vectors of a dataset's attributes, written with a note on how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from zslkit.errors import DataError
from zslkit.readers.faults import writing
from zslkit.readers.sentence_encoder import Encoder
from zslkit.readers.stream import existing
from zslkit.readers.vectors_text import look_up
from zslkit.readers.word_vectors import Phrase, Vectors, digest_of, means
from zslkit.utils.files import parse_json, read_small, replacing, write_text
from zslkit.utils.progress import Reporter, Silent

_MIB = 1 << 20


@dataclass(frozen=True)
class TextSource:
    """File of word vectors in text form, and the vectors of those words of the phrases it has."""

    path: Path
    known: Mapping[str, Any]
    sha256: str

    @classmethod
    def read(
        cls, path: Path, phrases: Sequence[Phrase], reporter: Reporter | None = None
    ) -> TextSource:
        """Look up the words of all phrases.

        Raises:
            DataError: The file is missing or not a text file of word vectors.
        """
        existing(path, "file of word vectors")
        if path.suffix.lower() in (".npy", ".pkl", ".pickle"):
            raise DataError(
                f"{path} holds a table without words; --vectors takes text such as GloVe's, or "
                "fastText's .vec"
            )
        done, total = 0, -(-path.stat().st_size // _MIB)
        with (reporter or Silent()).phase(f"read {path.name} (MiB)", total) as phase:

            def advance(count: int) -> None:
                nonlocal done
                before, done = done, done + count
                phase.advance(-(-done // _MIB) - -(-before // _MIB))

            known, digest = look_up(
                path, {word for phrase in phrases for word in phrase.words}, advance
            )
        return cls(path, known, digest)

    def vectors(self, phrases: Sequence[Phrase]) -> Vectors:
        """Mean vector of the words of each phrase, (A, W); a word without one raises DataError."""
        return means(phrases, self.known, self.path)

    def note(self) -> dict[str, Any]:
        """How the vectors are made, for the note beside them."""
        method = "mean of the vectors of the words"
        return {"method": method, "vectors": self.path.name, "sha256_of_vectors": self.sha256}


def half_made(out: Path) -> bool:
    """Whether the vectors at `out` lack a matching note, as after a kill between the two files."""
    if not out.is_file():
        return False
    try:
        note = parse_json(read_small(out.with_suffix(".json")))
        return bool(note["sha256"] != digest_of(np.load(out, allow_pickle=False)))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return True


def same(out: Path, phrases: Sequence[Phrase], source: TextSource | Encoder) -> bool:
    """Whether the vectors at `out` are equal to those of `source`."""
    try:
        return digest_of(np.load(out, allow_pickle=False)) == digest_of(source.vectors(phrases))
    except (OSError, EOFError, ValueError, DataError):
        return False


def write(
    out: Path, dataset: str, phrases: Sequence[Phrase], source: TextSource | Encoder
) -> dict[str, Any]:
    """Write the vectors to `out` (.npy), and the note that is returned beside it (.json).

    Raises:
        DataError: A phrase has no vector; nothing is written.
        CannotWrite: The files cannot be written, for example on a full disk.
    """
    vectors = source.vectors(phrases)
    known = source.known
    note = {
        "dataset": dataset,
        "made_by": f"zslkit {version('zslkit')}",
        **source.note(),
        "attributes": len(vectors),
        "width": int(vectors.shape[1]),
        "sha256": digest_of(vectors),
        "phrases": {
            p.name: " ".join(w for w in p.words if known is None or w in known) for p in phrases
        },
    }
    text = json.dumps(note, indent=2, ensure_ascii=False) + "\n"
    mend = "mend that, or name another place with --out FILE.npy"
    with writing(f"The word vectors {out} cannot be written", mend):
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as beside, beside.open("wb") as stream:
            np.save(stream, vectors)
        write_text(out.with_suffix(".json"), text)
    return note
