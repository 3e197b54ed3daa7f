"""Scales of charts, linear or logarithmic, with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps values low..high to positions start..end, of which either may be the greater one."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float, log: bool = False) -> Scale:
        """Scale with all values and a margin. `log` requires positive values."""
        known = list(values)
        low, high = min(known), max(known)
        if log:
            room = max((high / low) ** 0.08, 1.3)
            return cls(low / room, high * room, start, end, True)
        room = (high - low) * 0.06 if high - low > 1e-6 * abs(high) else max(abs(high) * 0.1, 1e-9)
        return cls(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        """Position of a value."""
        share = self._of(value) - self._of(self.low)
        return self.start + (self.end - self.start) * share / (
            self._of(self.high) - self._of(self.low)
        )

    def ticks(self, count: int = 5) -> list[float]:
        """About `count` round values on the scale: 1, 2 or 5 times a power of ten."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in ((1,), (1, 3), (1, 2, 5)):
                found = [
                    k * 10.0**p
                    for p in powers
                    for k in steps
                    if self.low <= k * 10.0**p <= self.high
                ]
                if len(found) >= 3:
                    return found
            # Less than a power of ten.
            return Scale(self.low, self.high, self.start, self.end).ticks(3)
        rough = (self.high - self.low) / count
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(k * unit for k in (1, 2, 5, 10) if k * unit >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [
            float(f"{k * step:.12g}") for k in range(first, math.floor(self.high / step + 1e-9) + 1)
        ]

    def _of(self, value: float) -> float:
        return math.log(value) if self.log else value


def path(x: Scale, y: Scale, points: Iterable[tuple[float, float]]) -> str:
    """Points of an SVG polyline."""
    return " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)
