"""Draws many small images on one sheet, each with up to three lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from zslkit.errors import UserError, ZslkitError
from zslkit.utils.files import replacing

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE, LINE, GAP, COLUMNS = 128, 12, 8, 8
MOST = 800
"""Most images on a sheet."""


def save_sheet(images: Iterable[tuple[Image, tuple[str, ...]]], count: int, path: Path) -> None:
    """Write `count` images with their lines to a PNG, row by row.

    Raises:
        UserError: There are no images, or too many.
        ZslkitError: The file cannot be written.
    """
    from PIL import Image, ImageDraw

    if not 0 < count <= MOST:
        raise UserError(f"A sheet of {count} images cannot be drawn; it takes 1 to {MOST}")
    columns = min(COLUMNS, count)
    step = SIDE + GAP, SIDE + 3 * LINE + GAP
    sheet = Image.new(
        "RGB", (columns * step[0] + GAP, math.ceil(count / columns) * step[1] + GAP), "white"
    )
    pen = ImageDraw.Draw(sheet)
    for k, (image, lines) in enumerate(images):
        x, y = GAP + k % columns * step[0], GAP + k // columns * step[1]
        small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE))
        sheet.paste(small, (x, y))
        for n, text in enumerate(lines[:3]):
            shown = "".join(c if c.isprintable() and ord(c) < 256 else "?" for c in text)
            pen.text((x, y + SIDE + n * LINE), shown[:21], fill="black")
    try:
        with replacing(path) as beside:
            sheet.save(beside, format="PNG")
    except OSError as error:
        raise ZslkitError(
            f"{path} cannot be written ({error.strerror or error}); name another --out"
        ) from error
