"""Images by index, always opened as RGB: files below a folder, or an array in memory."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import DataError
from zslkit.readers.faults import reading
from zslkit.readers.image_file import read_image, scaling

if TYPE_CHECKING:
    from PIL.Image import Image

_RULES = ("", b"digests say how numbers of more than 8 bits are scaled")
"""Part of a signature: digests cached under older rules of scaling are computed again."""


@dataclass(frozen=True)
class FileImages:
    """Images in files below `root`.

    Args:
        root: Folder of the images.
        paths: Paths relative to `root`, with "/" as separator; also the keys of the images.
        left_out: Indices of images that are not used; their content enters no fingerprint.

    Raises:
        DataError: A path is absolute, leaves `root`, or appears twice. `open` raises it for a link
            that leads out of `root`.
    """

    root: Path
    paths: Sequence[str]
    left_out: frozenset[int] = field(default=frozenset(), kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).resolve())
        object.__setattr__(self, "paths", tuple(self.paths))
        if len(set(self.paths)) < len(self.paths):
            twice = next(path for path, n in Counter(self.paths).items() if n > 1)
            raise DataError(
                f"The image path {twice!r} stands twice in the list of images of {self.root}; "
                "leave it in one place"
            )
        for path in self.paths:
            if not _stays_below(path):
                raise DataError(
                    f"The image path {path!r} leads out of {self.root}; image paths are relative "
                    "to that folder and stay in it"
                )

    def __len__(self) -> int:
        return len(self.paths)

    def key(self, index: int) -> str:
        return self.paths[index]

    def file(self, index: int) -> Path:
        """Get the file of an image; links are followed.

        Raises:
            DataError: The file is missing, not a regular file, or outside `root`.
        """
        path = self.root / self.paths[index]
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise DataError(
                f"The image {path} cannot be found; restore it, or is the data root another folder?"
            ) from error
        if not real.is_relative_to(self.root):
            raise DataError(
                f"The image {path} is a link to a place outside {self.root}; copy the image into "
                "that folder"
            )
        if not real.is_file():
            raise DataError(f"The image {path} is no file; remove it or put the image there")
        return real

    def open(self, index: int) -> Image:
        return read_image(self.file(index))

    def leaving_out(self, index: Iterable[int]) -> FileImages:
        """Copy in which the images at `index` keep their indices but are never read."""
        return replace(self, left_out=frozenset(index))

    def looks_whole(self, index: int) -> bool:
        """Whether the file begins and ends like a whole JPEG or PNG.

        False only means "in doubt": files of other formats give False too.
        """
        try:
            with (self.root / self.paths[index]).open("rb") as stream:
                head = stream.read(8)
                stream.seek(-12, os.SEEK_END)
                tail = stream.read()
        except (OSError, ValueError):
            return False
        return (head.startswith(b"\xff\xd8") and tail.endswith(b"\xff\xd9")) or (
            head == b"\x89PNG\r\n\x1a\n" and b"IEND" in tail
        )

    def digest(self) -> str:
        """blake2b over key and content of every file, in order; reads all files."""
        return _digest(item for i, key in enumerate(self.paths) for item in self._facts(i, key))

    def stat_signature(self) -> str:
        """Fast fingerprint over key, size and modification time of every file.

        While it stays the same, `digest` stays the same.
        """
        return _digest([_RULES, *((key, self._stat(i)) for i, key in enumerate(self.paths))])

    def _facts(self, index: int, key: str) -> Iterator[tuple[str, bytes]]:
        content = self._content(index)
        yield key, content
        if how := scaling(self.root / key, content):
            yield f"{key} scaled", how.encode()

    def _content(self, index: int) -> bytes:
        if index in self.left_out:
            return b""
        file = self.file(index)
        with reading(file, f"The image {file}", "its permissions"):
            return file.read_bytes()

    def _stat(self, index: int) -> bytes:
        if index in self.left_out:
            return b""
        stat = self.file(index).stat()
        return f"{stat.st_size} {stat.st_mtime_ns}".encode()


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images in memory.

    Args:
        array: uint8, (N, H, W) for grey or (N, H, W, 3) for RGB.
        keys: N names; 000000, 000001, ... by default.

    Raises:
        DataError: The array has another type or shape, or the number of keys is not N.
    """

    array: NDArray[np.uint8]
    keys: Sequence[str] | None = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        grey, rgb = array.ndim == 3, array.ndim == 4 and array.shape[-1] == 3
        if array.dtype != np.uint8 or not (grey or rgb):
            raise DataError(
                "Images in memory are uint8 (N, H, W) or (N, H, W, 3), and this array is "
                f"{array.dtype} {array.shape}; convert it"
            )
        keys = (
            tuple(f"{i:06d}" for i in range(len(array))) if self.keys is None else tuple(self.keys)
        )
        if len(keys) != len(array):
            raise DataError(
                f"There are {len(keys)} keys for {len(array)} images in memory; give one each"
            )
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "keys", keys)

    def __len__(self) -> int:
        return len(self.array)

    def key(self, index: int) -> str:
        assert self.keys is not None
        return self.keys[index]

    def open(self, index: int) -> Image:
        from PIL import Image as pil

        return pil.fromarray(self.array[index]).convert("RGB")

    def digest(self) -> str:
        """blake2b over shape, keys and pixels, in order."""
        shape = repr(self.array.shape[1:]).encode()
        return _digest(
            (self.key(i), shape + np.ascontiguousarray(self.array[i]).tobytes())
            for i in range(len(self))
        )

    def stat_signature(self) -> str:
        return self.digest()


def _stays_below(path: str) -> bool:
    pure = PurePosixPath(path)
    if "\0" in path or not pure.parts or pure.is_absolute() or {"..", "."} & set(path.split("/")):
        return False
    # A backslash separates folders on Windows only; elsewhere it is an ordinary character.
    return "\\" not in path or (os.sep == "/" and ".." not in path.split("\\"))


def _digest(items: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for key, content in items:
        name = key.encode("utf-8", "surrogateescape")
        # Lengths first: otherwise two lists of files could give the same bytes.
        digest.update(len(name).to_bytes(8, "little") + name + len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()
