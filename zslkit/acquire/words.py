"""Making word vectors of a dataset's attributes, with a note of how they were made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from zslkit.errors import CannotWrite, DataError, UserError
from zslkit.readers.stream import existing
from zslkit.readers.vectors_text import look_up
from zslkit.readers.word_vectors import Phrase, Vectors, checked, means
from zslkit.utils.files import parse_json, read_small, replacing, why
from zslkit.utils.progress import Reporter, Silent

_MIB = 1 << 20


@dataclass(frozen=True)
class TextSource:
    """A file of word vectors in text form. known: those of the phrases' words that it has, and sha256 of the file."""

    path: Path
    known: Mapping[str, Any]
    sha256: str

    @classmethod
    def read(
        cls, path: Path, phrases: Sequence[Phrase], reporter: Reporter | None = None
    ) -> TextSource:
        """Look the words of all phrases up. Raises DataError if the file is missing or no text of word vectors."""
        existing(path, "file of word vectors")
        if path.suffix.lower() in (".npy", ".pkl", ".pickle"):
            raise DataError(
                f"{path} holds a table without words; --vectors takes text such as GloVe's, or fastText's .vec"
            )
        done = 0
        with (reporter or Silent()).phase(
            f"read {path.name} (MiB)", -(-path.stat().st_size // _MIB)
        ) as phase:

            def advance(count: int) -> None:
                nonlocal done
                before, done = done, done + count
                phase.advance(-(-done // _MIB) - -(-before // _MIB))

            found = look_up(path, {word for phrase in phrases for word in phrase.words}, advance)
        return cls(path, found.vectors, found.sha256)

    def vectors(self, phrases: Sequence[Phrase]) -> Vectors:
        """(A, W), the mean of the vectors of each phrase's words. Raises DataError that names the words without a vector."""
        return means(phrases, self.known, self.path)

    def note(self) -> dict[str, Any]:
        return {
            "method": "mean of the vectors of the words",
            "vectors": self.path.name,
            "sha256_of_vectors": self.sha256,
        }


@dataclass(frozen=True)
class Encoder:
    """A sentence encoder of the package sentence-transformers, which embeds each phrase whole."""

    model: str
    encode: Callable[[list[str]], Any]
    version: str
    known: None = field(default=None, init=False)

    @classmethod
    def load(cls, model: str) -> Encoder:
        """Raises UserError if the package is not installed or has no such model."""
        try:
            import sentence_transformers
        except ImportError as error:
            raise UserError(
                "--encoder needs the package sentence-transformers; install it with: pip install 'zslkit[words]'"
            ) from error
        try:
            loaded = sentence_transformers.SentenceTransformer(model, device="cpu")
        except Exception as error:  # files, network and models can fail in any way
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"The encoder {model!r} cannot be loaded ({reason}); name one of sentence-transformers or a folder"
            ) from error
        return cls(model, loaded.encode, str(getattr(sentence_transformers, "__version__", "")))

    def vectors(self, phrases: Sequence[Phrase]) -> Vectors:
        """(A, W), the embedding of each phrase. Raises DataError if a phrase is empty or the encoder gives no such table."""
        if empty := [phrase.name for phrase in phrases if not phrase.words]:
            raise DataError(f"The attribute name {empty[0]!r} holds no word to encode; reword it")
        table = np.asarray(self.encode([" ".join(phrase.words) for phrase in phrases]))
        return checked(Path(self.model), table, [phrase.name for phrase in phrases])

    def note(self) -> dict[str, Any]:
        return {
            "method": "embedding of the phrase",
            "encoder": self.model,
            "sentence_transformers": self.version,
        }


def half_made(out: Path) -> bool:
    """Whether vectors stand at `out` without a note of how they were made, as when a process is killed between the two files."""
    if not out.is_file():
        return False
    try:
        note = parse_json(read_small(out.with_suffix(".json")))
        return bool(note["sha256"] != _digest(np.load(out, allow_pickle=False)))
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return True


def _digest(vectors: Vectors) -> str:
    return sha256(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).hexdigest()


def same(out: Path, phrases: Sequence[Phrase], source: TextSource | Encoder) -> bool:
    """Whether the vectors at `out` are those that would be made."""
    try:
        return _digest(np.load(out, allow_pickle=False)) == _digest(source.vectors(phrases))
    except (OSError, EOFError, ValueError, DataError):
        return False


def write(
    out: Path, dataset: str, phrases: Sequence[Phrase], source: TextSource | Encoder
) -> dict[str, Any]:
    """Write the vectors to `out` (.npy) and how they were made beside it (.json); each file whole or not at all.

    Returns the note. Raises DataError before anything is written if a phrase has no vector, CannotWrite as on a full disk.
    """
    vectors = source.vectors(phrases)
    known = source.known
    note = {
        "dataset": dataset,
        "made_by": f"zslkit {version('zslkit')}",
        **source.note(),
        "attributes": len(vectors),
        "width": int(vectors.shape[1]),
        "sha256": _digest(vectors),
        "phrases": {
            p.name: " ".join(w for w in p.words if known is None or w in known) for p in phrases
        },
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as beside, beside.open("wb") as stream:
            np.save(stream, vectors)
        with replacing(out.with_suffix(".json")) as beside:
            beside.write_text(
                json.dumps(note, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
    except OSError as error:
        raise CannotWrite(
            f"The word vectors {out} cannot be written ({why(error)}); mend that, or name another place with --out FILE.npy"
        ) from error
    return note
