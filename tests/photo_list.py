"""Small photos and the list that names them, for cards with a list of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

SETS = {"v": "trainval", "s": "test_seen", "u": "test_unseen"}


def write_photo_list(sets_of: Mapping[str, str]) -> None:
    """Write photos of noise and list.csv into the working folder.

    Args:
        sets_of: For each class the sets of its photos, a letter a photo: v, s or u.
    """
    rng = np.random.default_rng(0)
    lines = ["path,label,split"]
    for label, letters in sets_of.items():
        for i, letter in enumerate(letters):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(f"{label}-{i}.png")
            lines.append(f"{label}-{i}.png,{label},{SETS[letter]}")
    Path("list.csv").write_text("\n".join(lines))
