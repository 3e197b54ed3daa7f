"""Combines a model's figures on several validation folds under one gamma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from zslkit.evaluation.gzsl import peak
from zslkit.evaluation.metrics import Curve, harmonic_mean


@dataclass(frozen=True)
class Judged:
    """A model's figures on one fold under its best gamma, in percent (AUSUC 0..1).

    Without calibration gamma is 0. The curve is None then, and with one fold.
    """

    gamma: float
    figures: Mapping[str, float]
    curve: Curve | None = None

    def under(self, gamma: float) -> Mapping[str, float]:
        """The figures under another gamma, which must not be a breakpoint of the curve."""
        if self.curve is None or gamma == self.gamma:
            return self.figures
        s, u = self.curve.at(gamma)
        return {**self.figures, "S": s, "U": u, "H": float(harmonic_mean(s, u))}


def together(judged: Sequence[Judged]) -> tuple[float, dict[str, float]]:
    """The gamma with the highest mean H over the folds, and the mean figures under it."""
    curves = [j.curve for j in judged if j.curve is not None]
    gamma = peak(*curves)[0] if curves else judged[0].gamma
    figures = [j.under(gamma) for j in judged]
    return gamma, {name: fmean(f[name] for f in figures) for name in figures[0]}
