"""ALE, DeViSE and SJE: each ranks as its paper does, over the seen classes alone."""

from __future__ import annotations

import pytest
import torch
from linear_toys import TABLE, noise, task
from test_compatibility import by_loop
from zslkit_baselines.ale import ALE
from zslkit_baselines.compatibility import Compatibility
from zslkit_baselines.devise import DeViSE
from zslkit_baselines.sje import SJE

SEEN = [False, True, True, True, False, True]


@pytest.mark.parametrize(("kind", "how"), [(ALE, "rank"), (DeViSE, "sum"), (SJE, "largest")])
def test_the_loss_is_the_mean_over_images_of_a_loop_over_the_seen_classes(
    kind: type[Compatibility], how: str
) -> None:
    given = task(TABLE, SEEN, width=4)
    model = kind(kind.Config(centre=False, normalise="none", margin=0.5), given).double()
    torch.nn.init.normal_(model.W, generator=torch.Generator().manual_seed(1))
    x, label = noise(2, 7, 4).double(), [1, 2, 3, 5, 5, 3, 1]
    seen = [k for k, known in enumerate(SEEN) if known]
    W, losses = model.W.tolist(), []
    for i, true in enumerate(label):
        F = [
            sum(float(x[i, d]) * W[d][m] * TABLE[k, m] for d in range(4) for m in range(3))
            for k in seen
        ]
        losses.append(by_loop(F, seen.index(true), 0.5, how))
    found = model.loss(x, torch.tensor(label))["ranking"]
    torch.testing.assert_close(
        found.detach(), torch.tensor(sum(losses) / len(losses), dtype=torch.float64)
    )


@pytest.mark.parametrize("kind", [ALE, DeViSE, SJE])
def test_scores_are_the_compatibility_with_all_classes(kind: type[Compatibility]) -> None:
    model = kind(kind.Config(centre=False, normalise="none"), task(TABLE, SEEN, width=4))
    x = noise(2, 7, 4)
    torch.testing.assert_close(model.scores(x), x @ model.W @ torch.from_numpy(TABLE).float().T)
