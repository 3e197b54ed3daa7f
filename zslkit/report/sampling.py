"""What the luck of the test images leaves of a table: the interval of each figure, and which rows really differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05
"""Significance level of the sentences about pairs, after Holm's correction over all pairs of a block."""


@dataclass(frozen=True)
class RowPair:
    """Row a against row b of a block, by their places in it, a < b.

    difference: H of a minus H of b in points, low and high its 95 % interval over draws of the test images; p: of no
    difference, by paired bootstrap. only_a, only_b: unseen images that only one of them answers right among the unseen
    classes, and McNemar's p. p_holm, mcnemar_p_holm: corrected over all pairs of the block. seeds: those both have, on
    which they were paired; none in common: all runs of each. seeds_each: seeds of each model with which seeds alone
    would tell them apart, None if that cannot be said, seeds_said: the same in words.
    """

    a: int
    b: int
    seeds: tuple[int, ...]
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    only_a: int
    only_b: int
    mcnemar_p: float
    mcnemar_p_holm: float
    seeds_each: int | None
    seeds_said: str

    @property
    def significant(self) -> bool:
        return self.p_holm <= LEVEL


@dataclass(frozen=True)
class Sampling:
    """How the intervals and p-values of a block were made. pairs: all of its rows whose scores can be read.

    approximated: there are so many pairs that the smallest p-values are normal approximations.
    """

    resamples: int
    seed: int
    pairs: tuple[RowPair, ...]
    approximated: bool = False


def said(sampling: Sampling, names: Sequence[str]) -> list[str]:
    """The sampling in sentences. names: of the block's rows."""
    sentences = [
        "In brackets: 95 % interval of H over draws of the test images (bootstrap within classes, "
        f"{sampling.resamples} resamples); ± is the standard deviation over seeds."
    ]
    pairs = sampling.pairs
    if sampling.approximated:
        sentences.append(
            f"{len(pairs)} pairs are more than {sampling.resamples} resamples can tell apart by "
            "counting, so where none of them "
            "contradicts a difference its p is the normal approximation."
        )
    over = f"paired bootstrap, 5 % after Holm over {len(pairs)} pair{'s' if len(pairs) > 1 else ''}"
    if differ := [_above(pair, names) for pair in pairs if pair.significant]:
        sentences.append(f"H differs significantly ({over}): {'; '.join(differ)}.")
    if alike := [_beside(pair, names) for pair in pairs if not pair.significant]:
        sentences.append(f"H does not differ significantly ({over}): {'; '.join(alike)}.")
    return sentences


def pair_sentence(pair: RowPair, names: Sequence[str]) -> str:
    """One pair in words, as `said` lists it. names: of the block's rows."""
    return (_above if pair.significant else _beside)(pair, names)


def _above(pair: RowPair, names: Sequence[str]) -> str:
    a, b = names[pair.a], names[pair.b]
    if pair.difference >= 0:
        return f"{a} above {b} by {pair.difference:.1f} [{pair.low:.1f}, {pair.high:.1f}]"
    return f"{b} above {a} by {-pair.difference:.1f} [{-pair.high:.1f}, {-pair.low:.1f}]"


def _beside(pair: RowPair, names: Sequence[str]) -> str:
    interval = f"{pair.difference:+.1f} [{pair.low:.1f}, {pair.high:.1f}]"
    return (
        f"{names[pair.a]} and {names[pair.b]} ({interval}, p {pair.p_holm:.2g}; seeds: "
        f"{pair.seeds_said})"
    )
