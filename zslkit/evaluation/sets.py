"""Validated scores and labels of both test sets: the input of every metric.

Most metrics need the answers only, a few numbers per image. Ranks and confidences read the scores
again, in chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from zslkit.errors import DataError
from zslkit.evaluation.chunks import row_chunks
from zslkit.evaluation.metrics import (
    Curve,
    Index,
    Mask,
    ScoreTable,
    SeenUnseenMargin,
    seen_unseen_curve,
    seen_unseen_margin,
    seen_unseen_margin_of,
)

TEST_NAMES = ("test_seen", "test_unseen")


@dataclass(frozen=True, eq=False)
class AnsweredSet:
    """The answers of one test set of labels (N,) under any gamma, without scores."""

    labels: Index
    seen_unseen_margin: SeenUnseenMargin


@dataclass(frozen=True, eq=False)
class TestSet(AnsweredSet):
    """One test set with uncalibrated, finite scores (N, C), which may be memory-mapped."""

    __test__ = False  # not a class of tests for pytest

    scores: ScoreTable


@dataclass(frozen=True, eq=False)
class AnsweredSets:
    """The answers of both test sets; seen (C,) bool."""

    test_seen: AnsweredSet
    test_unseen: AnsweredSet
    seen: Mask

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return len(self.seen)

    def parts(self) -> Mapping[str, AnsweredSet]:
        """Both test sets by name."""
        return {"test_seen": self.test_seen, "test_unseen": self.test_unseen}

    def curve(self) -> Curve:
        """S and U under all gammas."""
        left, right = self.test_seen, self.test_unseen
        return seen_unseen_curve(
            left.seen_unseen_margin, left.labels, right.seen_unseen_margin, right.labels
        )


@dataclass(frozen=True, eq=False)
class TestSets(AnsweredSets):
    """Both test sets with their scores."""

    __test__ = False

    test_seen: TestSet
    test_unseen: TestSet

    def parts(self) -> Mapping[str, TestSet]:
        return {"test_seen": self.test_seen, "test_unseen": self.test_unseen}


def checked_sets(
    test_seen_scores: ScoreTable,
    test_seen_labels: Index,
    test_unseen_scores: ScoreTable,
    test_unseen_labels: Index,
    seen: Mask,
    names: tuple[str, str] = TEST_NAMES,
) -> TestSets:
    """Validate scores and labels.

    Args:
        test_seen_scores: (Ns, C).
        test_seen_labels: (Ns,) class ids.
        test_unseen_scores: (Nu, C).
        test_unseen_labels: (Nu,) class ids.
        seen: (C,) bool.
        names: Names of the two sets in error messages.

    Raises:
        DataError: Scores are not finite, shapes differ, a set has no images, a label is of the
            other side, or there is no seen or no unseen class.
    """
    seen = _checked_classes(seen)
    left = _checked_set(names[0], test_seen_scores, test_seen_labels, seen, seen)
    return TestSets(
        left, _checked_set(names[1], test_unseen_scores, test_unseen_labels, seen, ~seen), seen
    )


def answered_sets(
    test_seen: Iterable[ScoreTable],
    test_seen_labels: Index,
    test_unseen: Iterable[ScoreTable],
    test_unseen_labels: Index,
    seen: Mask,
    names: tuple[str, str] = TEST_NAMES,
) -> AnsweredSets:
    """As `checked_sets` for scores in batches (B, C), finite, of which only the answers are kept.

    Raises:
        DataError: As `checked_sets`, or the number of scores differs from that of the labels.
    """
    seen = _checked_classes(seen)
    left = _answered(names[0], test_seen, test_seen_labels, seen, seen)
    return AnsweredSets(
        left, _answered(names[1], test_unseen, test_unseen_labels, seen, ~seen), seen
    )


def _answered(
    name: str, batches: Iterable[ScoreTable], labels: Index, seen: Mask, own: Mask
) -> AnsweredSet:
    labels = _checked_labels(name, labels, own)
    answers = seen_unseen_margin_of(batches, seen)
    if len(answers.breakpoint) != len(labels):
        raise DataError(
            f"{name}: there are scores of {len(answers.breakpoint)} images for {len(labels)} labels"
        )
    return AnsweredSet(labels, answers)


def _checked_classes(seen: Mask) -> Mask:
    seen = np.asarray(seen)
    if seen.dtype != np.bool_ or seen.ndim != 1:
        raise DataError(
            "seen must be a (C,) array of True and False, "
            f"and it is {seen.dtype} of shape {seen.shape}"
        )
    if seen.all() or not seen.any():
        side = "unseen" if seen.all() else "seen"
        raise DataError(
            f"None of the {len(seen)} classes is {side}; "
            "generalized zero-shot learning needs seen and unseen classes"
        )
    return seen


def _checked_set(name: str, scores: ScoreTable, labels: Index, seen: Mask, own: Mask) -> TestSet:
    """One test set, validated; own (C,) bool: classes that it may hold."""
    scores, labels = np.asarray(scores), _integers(name, labels)
    if scores.shape != (len(labels), len(seen)):
        raise DataError(
            f"{name}: the scores of {len(labels)} images for {len(seen)} classes "
            f"have shape {scores.shape}"
        )
    if len(labels) == 0:
        raise DataError(f"{name}: there are no images, so nothing can be measured; check the split")
    if not np.issubdtype(scores.dtype, np.floating):
        raise DataError(
            f"{name}: scores must be floating-point numbers, and they are {scores.dtype}"
        )
    _refuse_not_finite(name, scores)
    labels = _checked_labels(name, labels, own)
    return TestSet(labels, seen_unseen_margin(scores, seen), scores)


def _refuse_not_finite(name: str, scores: ScoreTable) -> None:
    whole = np.concatenate([np.isfinite(chunk).all(axis=1) for _, chunk in row_chunks(scores)])
    if not whole.all():
        image = int(np.argmin(whole))
        column = int(np.argmin(np.isfinite(scores[image])))
        raise DataError(
            f"{name}: {np.count_nonzero(~whole)} of {len(scores)} images have scores "
            f"that are not finite (image {image}, class {column}: "
            f"{scores[image, column]}); the model's `scores` must not overflow"
        )


def _integers(name: str, labels: Index) -> Index:
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{name}: labels must be an (N,) array of class ids, "
            f"and they are {labels.dtype} of shape {labels.shape}"
        )
    return labels


def _checked_labels(name: str, labels: Index, own: Mask) -> Index:
    """The labels as int64, validated: there are some, and all are ids of classes in own (C,)."""
    labels = _integers(name, labels)
    if len(labels) == 0:
        raise DataError(f"{name}: there are no images, so nothing can be measured; check the split")
    if labels.min() < 0 or labels.max() >= len(own):
        raise DataError(f"{name}: a label lies outside 0..{len(own) - 1}")
    strange = np.unique(labels[~own[labels]])
    if len(strange):
        raise DataError(
            f"{name}: it holds images of {len(strange)} classes "
            f"that belong to the other test set (class {strange[0]}, ...)"
        )
    return labels.astype(np.int64, copy=False)
