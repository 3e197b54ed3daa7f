"""Sentence encoders of the package sentence-transformers, for attribute names and descriptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from zslkit.errors import DataError, UserError
from zslkit.readers.word_vectors import Phrase, Vectors, checked
from zslkit.utils.network import hub
from zslkit.utils.printable import reason_of


@dataclass(frozen=True)
class Encoder:
    """Sentence encoder of the package sentence-transformers, which embeds whole phrases."""

    model: str
    encode: Callable[[list[str]], Any]
    version: str
    digest: str = ""
    """sha256 of the weights, 16 hex digits; "" for an encoder that shows none."""
    known: None = field(default=None, init=False)

    @classmethod
    def load(cls, model: str) -> Encoder:
        """Load an encoder by name or folder.

        Raises:
            UserError: The package is not installed or the model cannot be loaded.
        """
        try:
            import sentence_transformers
        except ImportError as error:
            raise UserError(
                "A sentence encoder needs the package sentence-transformers; install it with: pip "
                "install 'zslkit[words]'"
            ) from error
        folder = Path(model).expanduser()
        if model.startswith((".", "~", "/")) and not folder.is_dir():
            raise UserError(
                f"There is no folder {model} of a sentence encoder; give the folder that holds its "
                "modules.json, or the name of a model of sentence-transformers"
            )
        fault = ""
        try:
            with nullcontext("") if folder.is_dir() else hub() as fault:
                loaded = sentence_transformers.SentenceTransformer(
                    str(folder) if folder.is_dir() else model, device="cpu"
                )
        except Exception as error:  # files, network and models raise errors of any type
            raise UserError(
                f"The encoder {model!r} cannot be loaded ({fault or reason_of(error)}); "
                "name one of sentence-transformers or a folder"
            ) from error
        shown = str(getattr(sentence_transformers, "__version__", ""))
        return cls(model, loaded.encode, shown, _digest(loaded))

    def vectors(self, phrases: Sequence[Phrase]) -> Vectors:
        """Embedding of each phrase, (A, W).

        Raises:
            DataError: A phrase is empty, or the encoder returns another shape.
        """
        if empty := [phrase.name for phrase in phrases if not phrase.words]:
            raise DataError(f"The attribute name {empty[0]!r} holds no word to encode; reword it")
        table = np.asarray(self.encode([" ".join(phrase.words) for phrase in phrases]))
        return checked(Path(self.model), table, [phrase.name for phrase in phrases])

    def note(self) -> dict[str, Any]:
        """How the vectors are made, for the note beside them."""
        note = {"method": "embedding of the phrase", "encoder": self.model}
        note["sentence_transformers"] = self.version
        return note | ({"weights_digest": self.digest} if self.digest else {})

    def sentences(self, texts: Sequence[str]) -> Vectors:
        """Embedding of each text, (N, W).

        Raises:
            DataError: The encoder returns another shape or numbers that are not finite.
        """
        return checked(Path(self.model), np.asarray(self.encode(list(texts))), texts)


def _digest(loaded: Any) -> str:
    """sha256 of the weights of an encoder, in the order of their names, 16 hex digits."""
    if not callable(getattr(loaded, "state_dict", None)):
        return ""
    digest = sha256()
    for name, tensor in sorted(loaded.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()).tobytes())
    return digest.hexdigest()[:16]
