"""From the pixels that a file holds to 8 bits a channel: what its numbers mean where they may be larger, signed or real.

What the file says of its range goes first. Where it says nothing, whole numbers are taken to have the fewest bits of 8, 10,
12, 14 and 16 that hold the largest of them, and numbers that are negative, larger or real to reach from the least to the
greatest. Alpha is dropped, and an animation is its first picture.
"""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

SCALED = "zslkit-scaled"
"""Key in an image's info: how its numbers became 8 bits, where that is no matter of course."""

_BITS = (8, 10, 12, 14, 16)
_FULL = (0.0, 65535.0)
_PHOTOMETRIC, _LEAST, _MOST, _FORMAT, _S_LEAST, _S_MOST, _BITS_TAG = (
    262,
    280,
    281,
    339,
    340,
    341,
    258,
)
"""Tags of TIFF 6.0."""

Range = tuple[float, float]


def to_rgb(image: Image, stream: IO[bytes]) -> Image:
    """An opened image as upright RGB. stream: its file, which is read again where Pillow drops the lower bytes.

    Raises ValueError for numbers that are not finite, and whatever Pillow raises for a damaged file.
    """
    from PIL import ImageOps

    # Asked before the decoding, which forgets some of it.
    wide, deep = _wide(image), _grey_numbers(image)
    said, invert = (_said(image, stream), _inverted(image)) if wide or deep else (None, False)
    orientation = image.getexif().get(0x0112)
    if deep:
        return _upright(_grey(_numbers(image), said, invert), orientation)
    if wide:
        lower = None
        upper = np.asarray(image)
        if (
            upper[..., :3].max(initial=0) < 64
        ):  # else no more than 16 bits are needed, and the upper byte says it all
            lower = _lower_bytes(image, stream, wide)
        if lower is not None:
            upper, lower = (lower[..., [0]], lower[..., [1]]) if "LA;16" in wide else (upper, lower)
            values = upper[..., :3].astype(np.int64) * 256 + lower[..., :3]
            return _upright(
                _grey(
                    np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values, said, False
                ),
                orientation,
            )
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def is_deep(image: Image) -> bool:
    """Whether an image that is opened and not decoded holds more than 8 bits a channel."""
    return bool(_grey_numbers(image) or _wide(image))


def _grey_numbers(image: Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _upright(pixels: tuple[NDArray[np.uint8], str], orientation: Any) -> Image:
    from PIL import Image as pil
    from PIL import ImageOps

    array, how = pixels
    image = pil.fromarray(array).convert("RGB")
    if orientation:
        image.getexif()[0x0112] = orientation
        ImageOps.exif_transpose(image, in_place=True)
    if how:
        image.info[SCALED] = how
    return image


def _grey(values: NDArray[Any], said: Range | None, invert: bool) -> tuple[NDArray[np.uint8], str]:
    """The same numbers from 0 to 255, and how that was done, "" if they fill 16 bits."""
    if not np.isfinite(values).all():
        raise ValueError("some of its pixels are not finite; save it with 8 bits a channel")
    least, most = float(values.min()), float(values.max())
    source = "as the file says"
    if said is None or least < said[0] or most > said[1]:
        said, source = _own(values, least, most), "by its own range"
    low, high = said
    if said == _FULL and values.dtype.kind in "iu":
        scaled = (values.astype(np.int64) >> 8).astype(np.uint8)
    else:
        scaled = (
            np.rint((values.astype(np.float64) - low) * (255 / max(high - low, 1e-300)))
            .clip(0, 255)
            .astype(np.uint8)
        )
    how = (
        ""
        if said == _FULL
        else f"values {least:g} to {most:g}, black {low:g} and white {high:g} {source}"
    )
    return (255 - scaled if invert else scaled), how


def _own(values: NDArray[Any], least: float, most: float) -> Range:
    if values.dtype.kind in "iu" and least >= 0 and most <= 65535:
        return 0.0, float(2 ** next(b for b in _BITS if most < 2**b) - 1)
    if values.dtype.kind == "f" and least >= 0 and most <= 1:
        return 0.0, 1.0
    return (least, most) if most > least else (least, least + 1)


def _numbers(image: Image) -> NDArray[Any]:
    values: NDArray[Any] = np.asarray(image)
    tags = getattr(image, "tag_v2", None)
    if (
        values.dtype == np.int32
        and tags is not None
        and tags.get(_BITS_TAG) == (32,)
        and tags.get(_FORMAT, (1,))[0] == 1
    ):
        return values.view(np.uint32)  # Pillow has no type of its own for these
    return values


def _said(image: Image, stream: IO[bytes]) -> Range | None:
    """The range of its numbers that a file tells, None if it tells none."""
    if image.format == "PNG":
        bits = _significant_bits(stream)
        return (0.0, float(2**bits - 1)) if bits else None
    if image.format == "PPM":  # Pillow has brought what the header says to 16 bits
        args = _decoder_args(image)
        maximum = args[-1] if isinstance(args, tuple) else 65535
        return None if maximum in (65535, -1, 1) else _FULL
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return None
    for low, high in ((_S_LEAST, _S_MOST), (_LEAST, _MOST)):
        if high in tags:
            ends = _first(tags.get(low, 0)), _first(tags[high])
            if ends[0] < ends[1]:
                return ends
    bits = int(max(tags.get(_BITS_TAG, (0,))))
    return (0.0, float(2**bits - 1)) if 8 < bits < 16 else None


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, tuple) else value)


def _inverted(image: Image) -> bool:
    """Whether 0 is white, which Pillow heeds for 8 bits alone."""
    tags = getattr(image, "tag_v2", None)
    return tags is not None and tags.get(_PHOTOMETRIC) == 0


def _significant_bits(stream: IO[bytes]) -> int:
    """What the chunk sBIT of a PNG says, 0 if it says nothing of use."""
    place = stream.tell()
    try:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"sBIT" and length <= 4:
                bits = max(stream.read(length)[:3], default=0)
                return bits if 8 <= bits < 16 else 0
            if kind in (b"IDAT", b"IEND"):
                break
            stream.seek(length + 4, 1)
        return 0
    finally:
        stream.seek(place)


def _wide(image: Image) -> str:
    """The raw mode of colours with 16 bits each, of which Pillow keeps the upper 8; "" for all else."""
    args = _decoder_args(image)
    raw = (
        args
        if isinstance(args, str)
        else args[0]
        if isinstance(args, (tuple, list)) and args
        else ""
    )
    return (
        raw
        if isinstance(raw, str) and ";16" in raw and image.mode in ("RGB", "RGBA", "RGBX")
        else ""
    )


def _decoder_args(image: Image) -> Any:
    """What the decoder of an image that is not decoded yet is told, None once it is."""
    tiles: Any = getattr(image, "tile", None)
    return tiles[0].args if tiles else None


def _lower_bytes(image: Image, stream: IO[bytes], raw: str) -> NDArray[np.uint8]:
    """The same pixels, decoded with the other byte of each number; both bytes, upper first, for grey with alpha."""
    from PIL import Image as pil

    if raw.endswith("N"):
        raw = raw[:-1] + ("L" if sys.byteorder == "little" else "B")
    other = "RGBA" if "LA;16" in raw else raw[:-1] + {"L": "B", "B": "L"}[raw[-1]]
    stream.seek(0)
    again = pil.open(stream, formats=[str(image.format)])
    tiles: Any = again.tile
    again.tile = [
        t._replace(args=other if isinstance(t.args, str) else (other, *t.args[1:])) for t in tiles
    ]
    return np.asarray(again)
