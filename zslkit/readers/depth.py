"""Conversion of images with more than 8 bits a channel to 8-bit RGB.

The range that the file states has priority. Without one, unsigned integers up to 65535 are scaled
by the smallest of 8, 10, 12, 14 and 16 bits that holds their maximum, and floats between 0 and 1
by 1. All other numbers (negative, larger) are scaled from their minimum to their maximum. Alpha is
dropped; of an animation, the first frame is used.
"""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

SCALED = "zslkit-scaled"
"""Key in `Image.info`: how the numbers were scaled to 8 bits; absent where scaling is trivial."""

_BITS = (8, 10, 12, 14, 16)
_FULL = (0.0, 65535.0)
"""Range of 16-bit numbers, of which the upper byte is kept."""
_BITS_TAG, _PHOTOMETRIC, _LEAST, _MOST = 258, 262, 280, 281
_FORMAT, _S_LEAST, _S_MOST = 339, 340, 341
"""Tags of TIFF 6.0."""

Range = tuple[float, float]


def to_rgb(image: Image, stream: IO[bytes]) -> Image:
    """Convert an opened, not yet decoded image to upright 8-bit RGB.

    `stream` is its file, read again where Pillow drops the lower bytes.

    Raises:
        ValueError: Some numbers are not finite.
        Exception: Any error of Pillow for a damaged file.
    """
    from PIL import ImageOps

    # Read before the image is decoded: decoding discards some of these facts.
    raw_mode, grey = _raw_mode_16(image), _is_deep_grey(image)
    stated = _stated_range(image, stream) if raw_mode or grey else None
    # 0 may be white; Pillow inverts images of 8 bits only.
    invert = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    orientation = image.getexif().get(0x0112)
    if grey:
        return _upright(_scaled(_values(image), stated, invert), orientation)
    if raw_mode:
        upper = np.asarray(image)
        # From 64 on, all 16 bits are in use and the upper byte is the result.
        if upper[..., :3].max(initial=0) < 64:
            lower = _lower_bytes(image, stream, raw_mode)
            if "LA;16" in raw_mode:
                upper, lower = lower[..., [0]], lower[..., [1]]
            values = upper[..., :3].astype(np.int64) * 256 + lower[..., :3]
            if values.shape[2] == 1:
                values = np.repeat(values, 3, axis=2)
            return _upright(_scaled(values, stated, False), orientation)
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def is_deep(image: Image) -> bool:
    """Whether an opened, not yet decoded image has more than 8 bits a channel."""
    return bool(_is_deep_grey(image) or _raw_mode_16(image))


def _is_deep_grey(image: Image) -> bool:
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


def _scaled(
    values: NDArray[Any], stated: Range | None, invert: bool
) -> tuple[NDArray[np.uint8], str]:
    """Scale numbers of any shape to 0 to 255.

    Args:
        stated: Black and white as the file states them, None if it does not.
        invert: Whether 0 is white.

    Returns:
        The 8-bit numbers, and how they were scaled ("" if the full 16-bit range was used).

    Raises:
        ValueError: Some numbers are not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("some of its pixels are not finite; save it with 8 bits a channel")
    least, most = float(values.min()), float(values.max())
    source = "as the file says"
    if stated is None or least < stated[0] or most > stated[1]:
        stated, source = _own_range(values, least, most), "by its own range"
    low, high = stated
    if stated == _FULL and values.dtype.kind in "iu":
        scaled = (values.astype(np.int64) >> 8).astype(np.uint8)
    else:
        spread = (values.astype(np.float64) - low) * (255 / max(high - low, 1e-300))
        scaled = np.rint(spread).clip(0, 255).astype(np.uint8)
    how = f"values {least:g} to {most:g}, black {low:g} and white {high:g} {source}"
    how = "" if stated == _FULL else how
    return (255 - scaled if invert else scaled), how


def _own_range(values: NDArray[Any], least: float, most: float) -> Range:
    """Black and white for numbers of a file that does not state them."""
    if values.dtype.kind in "iu" and least >= 0 and most <= 65535:
        return 0.0, float(2 ** next(b for b in _BITS if most < 2**b) - 1)
    if values.dtype.kind == "f" and least >= 0 and most <= 1:
        return 0.0, 1.0
    return (least, most) if most > least else (least, least + 1)


def _values(image: Image) -> NDArray[Any]:
    values: NDArray[Any] = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    unsigned = tags.get(_BITS_TAG) == (32,) and tags.get(_FORMAT, (1,))[0] == 1
    # Pillow has no mode for unsigned 32-bit integers.
    return values.view(np.uint32) if unsigned and values.dtype == np.int32 else values


def _stated_range(image: Image, stream: IO[bytes]) -> Range | None:
    """Black and white as the file states them, None if it does not."""
    if image.format == "PNG":
        bits = _significant_bits(stream)
        return (0.0, float(2**bits - 1)) if bits else None
    if image.format == "PPM":  # Pillow has scaled the numbers to 16 bits by the header's maximum
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


def _significant_bits(stream: IO[bytes]) -> int:
    """Bits a channel in the sBIT chunk of a PNG; 0 if the chunk is absent or not useful."""
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


def _raw_mode_16(image: Image) -> str:
    """Raw mode of a colour image with 16 bits a channel (Pillow keeps the upper 8), else ""."""
    args = _decoder_args(image)
    raw = args[0] if isinstance(args, (tuple, list)) and args else args
    deep = isinstance(raw, str) and ";16" in raw and image.mode in ("RGB", "RGBA", "RGBX")
    return str(raw) if deep else ""


def _decoder_args(image: Image) -> Any:
    """Arguments of the decoder; None for an image that is already decoded."""
    tiles: Any = getattr(image, "tile", None)
    return tiles[0].args if tiles else None


def _lower_bytes(image: Image, stream: IO[bytes], raw: str) -> NDArray[np.uint8]:
    """Decode the image again with swapped bytes: the lower byte of each number, (H, W, C).

    For grey with alpha (raw mode LA;16), the upper bytes precede the lower ones: (H, W, 4).
    """
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
