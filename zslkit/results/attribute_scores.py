"""The attribute scores of both test sets, kept with a run whose model has them: `attributes.npz`, half the size of float32.

Only their order by one attribute is ever looked at, so each attribute is stored in units of its own (less an offset, by a scale), in
which float16 tells images apart to about a thousandth of their spread.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.files import need_plain
from zslkit.results.scores import LONGEST_HEADER, UNREADABLE, put

MOST: Final = 60_000.0
"""The largest stored value: float16 ends at 65,504."""
_TYPES: dict[str, tuple[Any, int]] = {
    "test_seen": (np.float16, 2),
    "test_unseen": (np.float16, 2),
    "offset": (np.float32, 1),
    "scale": (np.float32, 1),
    "present": (np.bool_, 2),
    "names": (np.str_, 1),
}


@dataclass(frozen=True, eq=False)
class KeptAttributes:
    """test_seen (Ns, A), test_unseen (Nu, A) float16, of which value * scale + offset is what the model said; NaN: not told.

    offset, scale (A,) float32; present (C, A) bool: which class has which attribute; names: A attribute names.
    """

    test_seen: NDArray[np.float16]
    test_unseen: NDArray[np.float16]
    offset: NDArray[np.float32]
    scale: NDArray[np.float32]
    present: NDArray[np.bool_]
    names: tuple[str, ...]

    def write(self, file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name in _TYPES:
                put(archive, name, np.asarray(getattr(self, name), dtype=_TYPES[name][0]))


def pack(
    test_seen: Iterable[NDArray[np.float32]],
    test_unseen: Iterable[NDArray[np.float32]],
    present: NDArray[np.bool_],
    names: tuple[str, ...],
) -> KeptAttributes:
    """Attribute scores that come in batches (B, A) float32; the first batch decides the units."""
    units: list[NDArray[np.float32]] = []

    def packed(batches: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        parts = [np.empty((0, len(names)), dtype=np.float16)]
        for batch in batches:
            if not units:
                spread = batch.std(axis=0)
                units.extend((batch.mean(axis=0), np.where(spread > 0, spread, np.float32(1)).astype(np.float32)))
            parts.append(np.clip((batch - units[0]) / units[1], -MOST, MOST).astype(np.float16))
        return np.concatenate(parts)

    seen, unseen = packed(test_seen), packed(test_unseen)
    return KeptAttributes(seen, unseen, units[0], units[1], present, names)


def read_attributes(path: Path) -> KeptAttributes | None:
    """What an `attributes.npz` holds, None if there is no such file. Raises DataError that names the file and the next step."""
    mend = f"remove it to do without, or move the folder {path.parent} away and run again"
    if not path.exists():
        return None
    try:
        need_plain(path)
        with zipfile.ZipFile(path) as archive:
            arrays: dict[str, Any] = {name: _array(archive, name) for name in _TYPES}
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}; {mend}") from error
    except UNREADABLE as error:
        raise DataError(f"{path} is cut off or damaged ({error}); {mend}") from error
    for name, (kind, dimensions) in _TYPES.items():
        array = arrays[name]
        if not np.issubdtype(array.dtype, kind) or array.ndim != dimensions or array.shape[-1] != len(arrays["names"]):
            raise DataError(f"{path}: {name} is {array.dtype} of shape {array.shape} for {len(arrays['names'])} attributes; {mend}")
    return KeptAttributes(**{**arrays, "names": tuple(arrays["names"].tolist())})


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False, max_header_size=LONGEST_HEADER)
        return array
