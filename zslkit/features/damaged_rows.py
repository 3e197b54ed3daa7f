"""Detection of features left by an interrupted extraction: zeros, constants, non-finite, copies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

_SHOWN = 8
_STEP = 61
"""Maps are compared by their means and every 61st value: different maps may have equal means."""


@dataclass
class FeatureRows:
    """Collects suspicious features of all images, block by block, by 0-based indices."""

    zero: list[int] = field(default_factory=list)  # Images whose features are all zero
    # Images whose features all have the same value other than zero
    constant: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)  # Images with a value that is not finite
    count: int = 0  # Number of images examined
    _seen: dict[bytes, list[int]] = field(default_factory=dict)

    def add(self, values: Tensor, means: Tensor | None = None) -> int:
        """Examine the next block; returns the number of broken images in it.

        Args:
            values: (n, D) or maps (n, D, H, W), float32 on the CPU.
            means: (n, D) means of maps over their positions. They select the maps to examine in
                full, which saves most of the work.
        """
        flat = values.reshape(len(values), -1)
        short = flat if means is None else means
        low, high = short.amin(1), short.amax(1)
        finite = torch.isfinite(low) & torch.isfinite(high)
        flat_rows = finite & (high - low <= 1e-5 * torch.maximum(high.abs(), low.abs()))
        broken, before = len(self.broken), self.count
        for i, (is_finite, is_level) in enumerate(
            zip(finite.tolist(), flat_rows.tolist(), strict=True)
        ):
            row = flat[i]
            if not is_finite and not bool(torch.isfinite(row).all()):
                self.broken.append(before + i)
                continue
            if is_level and bool((row == row[0]).all()):
                if row[0] == 0:
                    self.zero.append(before + i)
                    continue
                if len(row) > 1:
                    self.constant.append(before + i)
            digest = hashlib.blake2b(short[i].contiguous().numpy().data, digest_size=16)
            if means is not None:
                digest.update(row[::_STEP].contiguous().numpy().data)
            self._seen.setdefault(digest.digest(), []).append(before + i)
        self.count += len(flat)
        return len(self.broken) - broken

    def groups(self) -> list[list[int]]:
        """Groups of two or more images with the same features, the largest group first."""
        groups = (group for group in self._seen.values() if len(group) > 1)
        return sorted(groups, key=lambda group: (-len(group), group))

    def notes(self) -> Iterator[str]:
        """One line for each kind of suspicious features."""
        hint = "was the extraction stopped?"
        if self.zero:
            yield (
                f"{len(self.zero)} of {self.count} images have features that are all zero "
                f"({spans(self.zero)}); {hint}"
            )
        if self.constant:
            yield (
                f"{len(self.constant)} of {self.count} images have one value in all features "
                f"({spans(self.constant)}); {hint}"
            )
        if groups := self.groups():
            copies = sum(map(len, groups))
            shown = "; ".join([*map(spans, groups[:3]), *["..."][: len(groups) > 3]])
            yield f"{copies} of {self.count} images have the features of another image ({shown})"


def spans(numbers: Sequence[int], offset: int = 0) -> str:
    """Format image indices, consecutive ones as a range; at most eight ranges.

    >>> spans([3, 26, 27, 28])
    'images 3, 26-28, counted from 0'
    """
    shown = []
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        ends = [n + offset for _, n in run]
        shown.append(f"{ends[0]}-{ends[-1]}" if len(ends) > 1 else f"{ends[0]}")
    shown[_SHOWN:] = ["..."] if len(shown) > _SHOWN else []
    return f"image{'s' if len(numbers) > 1 else ''} {', '.join(shown)}, counted from {offset}"
