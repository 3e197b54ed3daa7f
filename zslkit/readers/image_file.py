"""One image file, opened as upright 8-bit RGB: accepted formats, size limits, and errors."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from zslkit.errors import DataError, UserError
from zslkit.readers.depth import SCALED, is_deep, to_rgb
from zslkit.utils.files import need_plain, not_permitted
from zslkit.utils.printable import reason_of

if TYPE_CHECKING:
    from PIL.Image import Image

    Photo = str | os.PathLike[str] | Image
    """A photo of a caller: the path of a file, or an image of Pillow."""

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp",
    ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
"""File extensions (lower case) that count as images in every search of a folder."""

_EXTRA = {".avif": "AVIF", ".avifs": "AVIF", ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF"}
"""Extensions that count only where their decoder is installed."""
_COMMANDS = {"AVIF": "pip install 'pillow>=11.3'", "HEIF": "pip install 'zslkit[heic]'"}

# A closed list: Pillow starts another program for some formats, for example EPS.
_FORMATS = ("PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")

MAX_PIXELS = 80_000_000
"""Pixel limit, checked before decoding; a larger JPEG is decoded at a reduced size if possible."""
_FEWER = {"WEBP": 40_000_000, "AVIF": 40_000_000, "HEIF": 64_000_000}
"""Pixel limits of formats whose decoders hold several copies of the image."""
_MOST_JPEG = 260_000_000
"""Pixel limit of a JPEG decoded at a reduced size; the largest phone cameras make 200 million."""
THIN = 200
LEAST_THIN = 64 << 20
"""A file that claims over LEAST_THIN bytes of pixels and THIN times its own size is refused."""


@cache
def endings() -> tuple[str, ...]:
    """File extensions that count here: SUFFIXES, and those whose decoder is installed."""
    return (*SUFFIXES, *(end for end, kind in _EXTRA.items() if _readable(kind)))


def extra_for(ending: str) -> str:
    """Command that installs the decoder for an extension, "" if there is none."""
    return _COMMANDS.get(_EXTRA.get(ending, ""), "")


def _readable(kind: str) -> bool:
    """Whether the decoder of AVIF or HEIF is installed."""
    if kind == "HEIF":
        return importlib.util.find_spec("pillow_heif") is not None
    from PIL import features

    return "avif" in features.modules and bool(features.check("avif"))


def read_image(file: Path) -> Image:
    """Read an image as RGB, turned upright by its EXIF orientation.

    `info[SCALED]` of the image says how grey of more than 8 bits was scaled.

    Raises:
        DataError: Names the file that is empty, damaged, not an image, or too large.
    """
    try:
        need_plain(file)
        with file.open("rb") as stream, _opened(file, stream) as image:
            return to_rgb(image, stream)
    except DataError:
        raise
    except PermissionError as error:
        raise not_permitted(file) from error
    except Exception as error:  # a damaged file makes Pillow raise errors of any type
        raise DataError(
            f"The image {file} cannot be read ({_reason(file, error)}); replace it"
        ) from error


def is_picture(photo: object) -> bool:
    """Whether a photo is an image of Pillow. Imports nothing: without Pillow there is none."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(photo, pil.Image)


def read_photo(photo: Photo) -> Image:
    """A photo as upright 8-bit RGB, as `read_image` for a file; a given image stays as it is.

    Raises:
        DataError: As `read_image`, or the file is missing.
        UserError: It is neither a path nor an image.
    """
    if is_picture(photo):
        try:
            return to_rgb(photo.copy(), io.BytesIO())  # type: ignore[union-attr]
        except Exception as error:  # Pillow decodes now, and the file behind may be damaged
            raise DataError(
                f"The image {photo_name(photo)} cannot be read ({reason_of(error)}); open another"
            ) from error
    if not isinstance(photo, (str, os.PathLike)):
        raise UserError(
            f"A photo is a path or an image of Pillow (PIL.Image.open), and not "
            f"{type(photo).__name__}; of an array PIL.Image.fromarray makes one"
        )
    path = Path(photo)
    if not path.exists():
        raise DataError(f"There is no image {path}; check the path")
    if not path.is_file():
        raise DataError(f"{path} is no image file; name the images one by one")
    return read_image(path)


def photo_name(photo: Photo) -> str:
    """The path of a photo, "in memory" for an image without a file."""
    if is_picture(photo):
        return str(getattr(photo, "filename", "")) or "in memory"
    return os.fspath(photo)  # type: ignore[arg-type]


def scaling(file: Path, content: bytes) -> str:
    """How the numbers of an image were scaled to 8 bits, "" where scaling is trivial.

    `content` is the content of the file.
    """
    if not _may_be_deep(content):
        return ""
    try:
        return str(read_image(file).info.get(SCALED, ""))
    except DataError:
        return ""


def _may_be_deep(content: bytes) -> bool:
    """Whether an image may have more than 8 bits a channel, by its first bytes."""
    from PIL import Image as pil

    if content.startswith(b"\x89PNG"):
        return content[24:25] == b"\x10"
    if not content.startswith((b"II*\0", b"MM\0*", b"P2", b"P3", b"P5", b"P6")):
        return False
    try:
        with pil.open(io.BytesIO(content), formats=["TIFF", "PPM"]) as image:
            return is_deep(image)
    except Exception:  # `read_image` reports the fault
        return False


def _opened(file: Path, stream: IO[bytes]) -> Image:
    """Open an image and check its size; nothing is decoded."""
    from PIL import Image as pil

    head = stream.read(12)
    stream.seek(0)
    if head.startswith(b"\xff\xd8"):
        return _jpeg(file, stream)
    pil.init()
    kind = _container(head)
    if kind == "HEIF":
        _register_heif()
    wanted = (kind,) if kind else _FORMATS
    # Pillow may have been built without some of the formats.
    image = pil.open(stream, formats=[f for f in wanted if f in pil.OPEN])
    pixels = image.width * image.height
    if pixels > (most := _FEWER.get(image.format or "", MAX_PIXELS)):
        raise _too_large(file, image, most)
    size = os.fstat(stream.fileno()).st_size
    if 3 * pixels > LEAST_THIN and 3 * pixels > THIN * size:
        raise DataError(
            f"The image {file} claims {image.width} x {image.height} pixels in {size:,} bytes, "
            "which is no photo; make it smaller"
        )
    return image


def _jpeg(file: Path, stream: IO[bytes]) -> Image:
    """Open a JPEG; one that is too large will be decoded at 1/2, 1/4 or 1/8 of its size."""
    from PIL.JpegImagePlugin import jpeg_factory

    # PIL.Image.open warns of large images and refuses those of the largest cameras.
    image = jpeg_factory(stream)
    pixels = image.width * image.height
    # A progressive JPEG is held in memory at full size, whatever the scale.
    if pixels > (most := MAX_PIXELS if "progressive" in image.info else _MOST_JPEG):
        raise _too_large(file, image, most)
    scale = next(s for s in (1, 2, 4, 8) if pixels <= MAX_PIXELS * s * s)
    if scale > 1:
        image.draft(None, (-(-image.width // scale), -(-image.height // scale)))
    return image


def _too_large(file: Path, image: Image, most: int) -> DataError:
    return DataError(
        f"The image {file} has {image.width} x {image.height} pixels, over {most:,}; make it "
        "smaller"
    )


def _container(head: bytes) -> str:
    """Container format of the file: "AVIF", "HEIF", or "" for any other."""
    if head[4:8] != b"ftyp":
        return ""
    return "AVIF" if head[8:12] in (b"avif", b"avis") else "HEIF"


def _register_heif() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ValueError(
            f"it is HEIC, whose reader is not installed: {_COMMANDS['HEIF']}"
        ) from error
    register_heif_opener()


def _reason(file: Path, error: Exception) -> str:
    """Why an image cannot be read."""
    from PIL import UnidentifiedImageError

    if not isinstance(error, (UnidentifiedImageError, SyntaxError)):
        return reason_of(error)
    with file.open("rb") as stream:
        head = stream.read(12)
    if not head:
        return "it is empty"
    if _container(head) == "AVIF" and not _readable("AVIF"):
        return f"it is AVIF, whose reader is not installed: {_COMMANDS['AVIF']}"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return (
                f"it is {kind}, damaged or of a kind that Pillow does not read; save it with 8 "
                "bits a channel"
            )
    return "it is no JPEG, PNG, BMP, GIF, WebP, TIFF or PPM"


_MAGIC: dict[bytes, Any] = {
    b"\xff\xd8": "a JPEG", b"\x89PNG\r\n\x1a\n": "a PNG", b"GIF8": "a GIF",
    b"II*\0": "a TIFF", b"MM\0*": "a TIFF", b"II+\0": "a TIFF",
}  # fmt: skip
