"""What several validation folds say of one model: its figures under one gamma, which is used on the test sets afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from zslkit.evaluation.gzsl import peak
from zslkit.evaluation.metrics import Curve, harmonic_mean


@dataclass(frozen=True)
class Judged:
    """What a fold says of a model: its figures (percent, AUSUC 0..1) under the gamma that is best for it, 0 without calibration.

    curve: its S and U under any other gamma; None where no other is asked for, without calibration or with one fold.
    """

    gamma: float
    figures: Mapping[str, float]
    curve: Curve | None = None

    def under(self, gamma: float) -> Mapping[str, float]:
        """The figures under another gamma, which is no breakpoint of the curve."""
        if self.curve is None or gamma == self.gamma:
            return self.figures
        s, u = self.curve.at(gamma)
        return {**self.figures, "S": s, "U": u, "H": float(harmonic_mean(s, u))}


def together(with_significance: Sequence[Judged]) -> tuple[float, dict[str, float]]:
    """The gamma with the highest mean H over the folds, and the means of their figures under it."""
    curves = [j.curve for j in with_significance if j.curve is not None]
    gamma = peak(*curves)[0] if curves else with_significance[0].gamma
    figures = [j.under(gamma) for j in with_significance]
    return gamma, {name: fmean(f[name] for f in figures) for name in figures[0]}
