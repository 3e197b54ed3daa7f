"""Results of bootstrap intervals and pairwise tests of one block, and their wording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zslkit.evaluation.significance import McNemar

LEVEL = 0.05
"""Significance level for pairs, after Holm's correction over all pairs of a block."""


@dataclass(frozen=True)
class RowPair:
    """Row a compared with row b of a block.

    Attributes:
        a: Index of row a, below that of row b.
        seeds: Common seeds, on which the rows are paired; without any, all runs are used.
        leaves_out: Whether a row has further seeds, so that the difference is not that of the rows'
            means.
        difference: H of a minus H of b in percent points.
        low: Lower end of its 95 % interval over draws of the test images; `high` is the upper one.
        p: p-value of no difference, by paired bootstrap.
        p_holm: p corrected over all pairs of the block.
        images: McNemar's test on unseen images, right among the unseen classes.
        seeds_each: Seeds per model with which the spread over seeds alone would separate them; None
            if unknown. `seeds_said` is the same as text.
    """

    a: int
    b: int
    seeds: tuple[int, ...]
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    images: McNemar
    seeds_each: int | None
    seeds_said: str
    leaves_out: bool = False

    @property
    def significant(self) -> bool:
        return self.p_holm <= LEVEL


@dataclass(frozen=True)
class Sampling:
    """Intervals and p-values of a block.

    Attributes:
        pairs: All pairs of rows with readable scores.
        approximated: Whether there are so many pairs that the smallest p-values are normal
            approximations.
    """

    resamples: int
    seed: int
    pairs: tuple[RowPair, ...]
    approximated: bool = False


def sentences_of(sampling: Sampling, names: Sequence[str]) -> list[str]:
    """Sentences for a block with rows of these names."""
    sentences = [
        "In brackets: 95 % interval of H over draws of the test images (bootstrap within classes, "
        f"{sampling.resamples} resamples); ± is the standard deviation over seeds."
    ]
    pairs = sampling.pairs
    if sampling.approximated:
        sentences.append(
            f"With {len(pairs)} pairs, {sampling.resamples} resamples are too few for the smallest "
            "p-values; where no resample reverses a difference, its p is computed from a normal "
            "distribution."
        )
    over = f"paired bootstrap, 5 % after Holm over {len(pairs)} pair{'s' if len(pairs) > 1 else ''}"
    if differ := [_above(pair, names) for pair in pairs if pair.significant]:
        sentences.append(f"H differs significantly ({over}): {'; '.join(differ)}.")
    if alike := [_beside(pair, names) for pair in pairs if not pair.significant]:
        sentences.append(f"H does not differ significantly ({over}): {'; '.join(alike)}.")
    return sentences


def pair_sentence(pair: RowPair, names: Sequence[str]) -> str:
    """Sentence for one pair, as in `sentences_of`."""
    return (_above if pair.significant else _beside)(pair, names)


def _above(pair: RowPair, names: Sequence[str]) -> str:
    a, b = names[pair.a], names[pair.b]
    if pair.difference >= 0:
        by = f"{pair.difference:.1f} [{pair.low:.1f}, {pair.high:.1f}]"
        return f"{a} above {b} by {by}{_on(pair)}"
    return f"{b} above {a} by {-pair.difference:.1f} [{-pair.high:.1f}, {-pair.low:.1f}]{_on(pair)}"


def _on(pair: RowPair) -> str:
    """The seeds that a difference is over, where they are not all of both rows."""
    if not pair.leaves_out:
        return ""
    return f" on seed{'s' if len(pair.seeds) > 1 else ''} {', '.join(map(str, pair.seeds))}"


def _beside(pair: RowPair, names: Sequence[str]) -> str:
    interval = f"{pair.difference:+.1f} [{pair.low:.1f}, {pair.high:.1f}]{_on(pair)}"
    return (
        f"{names[pair.a]} and {names[pair.b]} ({interval}, p {pair.p_holm:.2g}; seeds: "
        f"{pair.seeds_said})"
    )
