"""Draws explanations: a block per image, a row per model part, a column per attribute."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zslkit.errors import UserError
from zslkit.explain.explanation import Explanation, PartView, explain
from zslkit.readers.image_file import photo_name
from zslkit.runs.load import LoadedRun
from zslkit.utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zslkit.readers.image_file import Photo

CELL = 1.9
"""Width of a photo in inches."""
GAP = 0.12
LINE = 0.13
"""Height of a title line in inches."""
MARGIN = 0.3
DPI = 150
LARGEST = 30_000
"""Most pixels of the picture's longer side; the renderer takes twice as many."""
WRAP = 30
OPACITY = 0.55


@dataclass(frozen=True, eq=False)
class HeatmapBlock:
    """One image of the picture, with the backbone's input `(h, w, 3)` uint8."""

    name: str
    photo: NDArray[np.uint8]
    explanation: Explanation


def blocks_of_photos(
    trained: LoadedRun, photos: Sequence[Photo], attributes: Sequence[str] | None, top: int
) -> list[HeatmapBlock]:
    """Explain photos, each a path or an image of Pillow; arguments and errors as `explain`."""
    pixels, names = trained.photos(photos), [photo_name(photo) for photo in photos]
    found = explain(trained, trained.preprocessor.inputs(pixels), attributes, top)
    return [HeatmapBlock(*block) for block in zip(names, pixels, found, strict=True)]


def blocks_of_test_images(
    trained: LoadedRun, count: int, attributes: Sequence[str] | None, top: int
) -> list[HeatmapBlock]:
    """Explain `count` images of each test set; other arguments and errors as `explain`."""
    index = trained.some_test_images(count)
    pixels = trained.photos_at(index)
    images = trained.dataset.images
    assert images is not None  # else there were no pixels
    names = [images.key(i) for i in index.tolist()]
    found = explain(trained, trained.inputs.source.batch(index), attributes, top)
    return [HeatmapBlock(*block) for block in zip(names, pixels, found, strict=True)]


def draw(blocks: Sequence[HeatmapBlock], names: Sequence[str]) -> Figure:
    """Draw the images with explanations.

    Each map is scaled to its own range, so colours do not compare attributes.

    Raises:
        UserError: The picture would be too large.
    """
    from matplotlib.figure import Figure

    tallest = max(block.photo.shape[0] / block.photo.shape[1] for block in blocks)
    answers = [_wrapped(f"predicted: {block.explanation.predicted}") for block in blocks]
    titles = [
        [
            f"{_wrapped(block.name)}\n{answer}",
            *(_title(part, c, names[c]) for c in block.explanation.attributes),
        ]
        for block, answer in zip(blocks, answers, strict=True)
        for part in block.explanation.parts.values()
    ]
    lines = 2 + max(title.count("\n") for row in titles for title in row)
    step = CELL * tallest + GAP + LINE * lines
    rows, count = len(titles), max(len(b.explanation.attributes) for b in blocks) + 1
    width, height = count * (CELL + GAP) + 2 * MARGIN, rows * step + MARGIN
    if max(width, height) * DPI > LARGEST:
        raise UserError(
            f"{len(blocks)} images with {count - 1} attributes make a picture of "
            f"{width * DPI:.0f}x{height * DPI:.0f} pixels; "
            "take fewer images or attributes at once"
        )
    figure = Figure(figsize=(width, height))
    row = 0
    for block in blocks:
        tall = CELL * block.photo.shape[0] / block.photo.shape[1]
        for part, view in block.explanation.parts.items():
            bottom, size = (height - (row + 1) * step) / height, (CELL / width, tall / height)
            lefts = [2 * MARGIN + k * (CELL + GAP) for k in range(len(titles[row]))]
            cells = [figure.add_axes((x / width, bottom, *size)) for x in lefts]
            for cell, title in zip(cells, titles[row], strict=True):
                cell.imshow(block.photo)
                cell.set(xticks=[], yticks=[])
                cell.set_title(title, fontsize=6.5, pad=3, parse_math=False)
            cells[0].set_ylabel(part, fontsize=8, parse_math=False)
            for cell, column in zip(cells[1:], block.explanation.attributes, strict=True):
                heat = upsampled(view.maps[column], *block.photo.shape[:2])
                cell.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=OPACITY)
            row += 1
    return figure


def upsampled(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """A map `(H, W)` at the size of the photo, bilinear, scaled to 0..1; 0 if it is constant."""
    from PIL import Image

    small = Image.fromarray(values.astype(np.float32))
    large = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))
    low, spread = large.min(), large.max() - large.min()
    scaled = (large - low) / spread if spread > 0 else np.zeros_like(large)
    return np.asarray(scaled, dtype=np.float32)


def save(figure: Figure, path: Path) -> None:
    """Write the picture as PNG."""
    with replacing(path) as beside:
        figure.savefig(beside, dpi=DPI, format="png")


def _title(view: PartView, column: int, name: str) -> str:
    lines = [_wrapped(name)]
    if view.contributions is not None:
        lines.append(f"{view.contributions[column]:+.3g}")
    if view.channels is not None:
        lines.append(f"channels {' '.join(map(str, view.channels[column]))}")
    return "\n".join(lines)


def _wrapped(text: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text)
    return "\n".join(textwrap.wrap(shown, WRAP)) or " "
