"""Photos in one folder per class: some of each seen class are held out for the test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zslkit.dataset import Index, Split, members_of


def hold_out(
    labels: Index, seen: Sequence[int], unseen: Sequence[int], share: float = 0.2, seed: int = 0
) -> Split:
    """A split in which `share` of every seen class's images are test_seen, and all of the unseen classes' test_unseen.

    labels (N,): class ids, images in sorted path order. One generator of numpy draws for the classes in the order of
    `seen`: it permutes a class's n images, and the first int(round(share * n)) are held out (never all of them).
    """
    rng = np.random.default_rng(seed)
    train: list[Index] = [np.zeros(0, np.int64)]
    test: list[Index] = [np.zeros(0, np.int64)]
    images = members_of(labels, 1 + max(int(labels.max(initial=-1)), *seen, -1))
    for k in seen:
        members = rng.permutation(images[k])
        cut = min(round(share * len(members)), len(members) - 1)
        test.append(members[:cut])
        train.append(members[cut:])
    return Split(
        np.sort(np.concatenate(train)),
        np.sort(np.concatenate(test)),
        np.flatnonzero(np.isin(labels, list(unseen))),
    )
