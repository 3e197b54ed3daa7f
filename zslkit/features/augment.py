"""Random crops and mirror images of photos, for models that train their backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Cut:
    """How the input of a network is cut out of one photo; by default the centre, not mirrored."""

    # Size of the resized photo, as a multiple of the smallest that holds the input
    larger: float = 1.0
    # Shares (down, across), 0 <= share < 1, of the places where the crop may begin; None for the
    # centre
    place: tuple[float, float] | None = None
    mirrored: bool = False  # Whether left and right are swapped

    def corner(self, spare: tuple[int, int]) -> tuple[int, int]:
        """Top and left edge of the crop in a photo that is `spare` pixels (down, across) larger."""
        if self.place is None:
            return spare[0] // 2, spare[1] // 2
        return int(self.place[0] * (spare[0] + 1)), int(self.place[1] * (spare[1] + 1))

    def turned(self, pixels: Pixels) -> Pixels:
        """Pixels (h, w, 3), mirrored if the cut says so."""
        return np.ascontiguousarray(pixels[:, ::-1]) if self.mirrored else pixels


CENTRE = Cut()


def draw_cut(larger: float, flip: bool, seed: list[int]) -> Cut:
    """Draw the cut of one photo; `larger` as in Cut, mirrored with probability 1/2 if `flip`."""
    rng: Any = np.random.default_rng(seed)
    down, across, coin = rng.random(3).tolist()
    return Cut(larger, (down, across) if larger > 1 else None, flip and coin < 0.5)
