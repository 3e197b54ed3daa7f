"""Split of photos in class folders: a share of each seen class is held out for the test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zslkit.dataset import Index, Split, members_of


def hold_out(
    labels: Index, seen: Sequence[int], unseen: Sequence[int], share: float = 0.2, seed: int = 0
) -> Split:
    """Split images: `share` of each seen class is test_seen, all of the unseen classes test_unseen.

    One generator draws for the classes in the order of `seen`: it permutes the n images of a class
    and holds out the first round(share * n), but never all.

    Args:
        labels: (N,) class ids, images in sorted path order.
        share: Share held out, between 0 and 1.
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
