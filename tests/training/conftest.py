"""A dataset on which settings are picked."""

from __future__ import annotations

import numpy as np
import pytest

from zslkit.dataset import Dataset, Split
from zslkit.semantics import Semantics


@pytest.fixture
def data() -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 10)
    table = rng.random((8, 6), dtype=np.float32)
    features = (
        table[labels] @ rng.standard_normal((6, 12)) + 0.1 * rng.standard_normal((80, 12))
    ).astype(np.float32)
    order = np.arange(80)
    seen = order[labels < 6]
    split = Split(seen[seen % 5 > 0], seen[seen % 5 == 0], order[labels >= 6])
    names = tuple(f"a{i}" for i in range(6))
    return Dataset(
        "made", tuple("abcdefgh"), labels, split, Semantics(table, names), features=features
    )
