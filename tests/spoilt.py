"""Mutated files for the readers: valid ones whose bytes are flipped, cut off, doubled or pushed
apart."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from zslkit.acquire.feature_files import open_features
from zslkit.errors import DataError
from zslkit.readers.image_file import read_image
from zslkit.readers.word_vectors import read_word_vectors

N, C, A, D = 8, 3, 4, 5
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2])
PARTS = {
    "trainval_loc": np.array([0, 1, 3, 4]),
    "test_seen_loc": np.array([2, 5]),
    "test_unseen_loc": np.array([6, 7]),
}


def cells(texts: list[str]) -> np.ndarray:
    """A MATLAB cell array of texts."""
    return np.array([[np.array([text])] for text in texts] + [[0]], dtype=object)[:-1]


def arrays(*shape: int) -> dict[str, np.ndarray]:
    """What the authors' caches hold, features of that shape (N, ...)."""
    table = np.arange(1.0, C * A + 1).reshape(C, A)
    features = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 8
    words = np.arange(A * 2, dtype=np.float32).reshape(A, 2)
    att = table / np.linalg.norm(table, axis=1, keepdims=True)
    return {
        "feature_map": features,
        "labels": LABELS,
        **PARTS,
        "original_att": table,
        "att": att,
        "w2v_att": words,
    }


def mat() -> dict[str, Any]:
    """Variables of one file that holds both features and split as xlsa17 writes them."""
    held = arrays(N, D)
    made = {"features": held["feature_map"].T.astype(np.float64), "labels": LABELS[:, None] + 1.0}
    made |= {part: index[:, None].astype(np.uint16) + 1 for part, index in PARTS.items()}
    made |= {
        "att": held["att"].T,
        "original_att": held["original_att"].T,
        "allclasses_names": cells(["auk", "crow", "wren"]),
    }
    return made | {
        "image_files": cells(
            [f"/BS/x/images/{['auk', 'crow', 'wren'][k]}/{i}.jpg" for i, k in enumerate(LABELS)]
        )
    }


def _mat(compressed: bool) -> bytes:
    out = io.BytesIO()
    savemat(out, mat(), do_compression=compressed)
    return out.getvalue()


def _h5(**how: Any) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, values in arrays(N, D, 2, 2).items():
            file.create_dataset(name, data=values, **how)
    return out.getvalue()


def _npz() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays(N, D, 2, 2))
    return out.getvalue()


def _npy() -> bytes:
    out = io.BytesIO()
    np.save(out, np.ones((A, 300), np.float32))
    return out.getvalue()


def _image(kind: str, mode: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray((np.arange(108) * 37 % 256).astype(np.uint8).reshape(6, 6, 3)).convert(
        mode
    ).save(out, kind)
    return out.getvalue()


def _drain(path: Path) -> None:
    with open_features(path) as found:
        if found.features is None:
            raise DataError(f"{path}: no features")
        for _ in found.features.blocks():
            pass


SEEDS: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], Any]]] = {
    "mat": ("x.mat", lambda: _mat(False), _drain),
    "mat compressed": ("x.mat", lambda: _mat(True), _drain),
    "hdf5": ("x.h5", _h5, _drain),
    "hdf5 gzip": ("x.h5", lambda: _h5(compression="gzip", chunks=True), _drain),
    "npz": ("x.npz", _npz, _drain),
    "npy": ("x.npy", _npy, _drain),
    "pkl": ("x.pkl", lambda: np.ones((A, 3), np.float32).dumps(), read_word_vectors),
    **{f"image {k} {m}": ("x", lambda k=k, m=m: _image(k, m), read_image) for k, m in
       (("PNG", "RGB"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("GIF", "P"), ("TIFF", "RGB"), ("BMP",
           "RGB"), ("WEBP", "RGB"), ("PPM", "RGB"))},
}  # fmt: skip
"""Reader -> the file's name, a valid file, and what reads it."""


WORDS = (0, 1, 2, 14, 15, 2**31 - 1, 2**31, 2**32 - 1)
"""Numbers that readers trip over."""


@st.composite
def mutations(draw: st.DrawFn, size: int) -> list[tuple[str, int, bytes]]:
    """Up to four changes: a byte or a word replaced (sizes and counts are words), bytes put in,
    taken out, or the end cut off."""
    place = st.integers(0, size - 1)
    word = st.one_of(st.sampled_from(WORDS), st.integers(0, 2**32 - 1))
    one = st.one_of(
        st.tuples(st.just("set"), place, st.binary(min_size=1, max_size=1)),
        st.tuples(
            st.just("set"),
            place.map(lambda p: p // 4 * 4),
            word.map(lambda w: struct.pack("<I", w)),
        ),
        st.tuples(
            st.just("set"),
            place.map(lambda p: p // 8 * 8),
            word.map(lambda w: struct.pack("<Q", w << 20)),
        ),
        st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=16)),
        st.tuples(st.just("delete"), place, st.binary(min_size=1, max_size=64)),
        st.tuples(st.just("cut"), place, st.just(b"")),
    )
    return draw(st.lists(one, min_size=1, max_size=4))


def random_changes(rng: random.Random, size: int) -> list[tuple[str, int, bytes]]:
    """The same, drawn quickly."""
    changes = []
    for _ in range(rng.randint(1, 4)):
        how, place = (
            rng.choice(("set", "word", "long", "insert", "delete", "cut")),
            rng.randrange(size),
        )
        word = rng.choice(WORDS) if rng.random() < 0.5 else rng.getrandbits(32)
        if how == "word":
            changes.append(("set", place // 4 * 4, struct.pack("<I", word)))
        elif how == "long":
            changes.append(("set", place // 8 * 8, struct.pack("<Q", word << 20)))
        else:
            changes.append(
                (
                    how,
                    place,
                    rng.randbytes(
                        {"set": 1, "insert": rng.randint(1, 16), "delete": rng.randint(1, 64)}.get(
                            how, 0
                        )
                    ),
                )
            )
    return changes


def mutate(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    data = bytearray(content)
    for how, place, what in changes:
        if how == "set":
            data[place : place + len(what)] = what
        elif how == "insert":
            data[place:place] = what
        elif how == "delete":
            del data[place : place + len(what)]
        else:
            del data[place:]
    return bytes(data)
