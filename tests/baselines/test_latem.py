from __future__ import annotations

import pytest
import torch
from linear_toys import SEEN, TABLE, learnable, noise, task, trained
from zslkit_baselines.ale import ALE
from zslkit_baselines.compatibility import Compatibility, hinges, sum_of_hinges
from zslkit_baselines.devise import DeViSE
from zslkit_baselines.latem import LATEM, LATEMConfig
from zslkit_baselines.sje import SJE

from zslkit.config import TrainConfig

TRAIN = TrainConfig(epochs=5, batch_size=10, optimizer="sgd", lr=0.1, weight_decay=0.0)


def test_an_image_takes_the_matrix_that_suits_it_for_each_class() -> None:
    model = LATEM(LATEMConfig(K=3, centre=False, normalise="none"), task(TABLE, SEEN, width=4))
    torch.nn.init.normal_(model.W, generator=torch.Generator().manual_seed(1))
    x = noise(0, 5, 4)
    scores = model.scores(x).detach()
    for i in range(5):
        for k in range(6):
            a = torch.from_numpy(TABLE[k]).float()
            assert float(scores[i, k]) == pytest.approx(
                max(float((x[i] @ W @ a).detach()) for W in model.W), abs=1e-5
            )


def test_the_loss_is_the_sum_of_hinges_of_that_maximum() -> None:
    model = LATEM(
        LATEMConfig(K=3, margin=0.5, centre=False, normalise="none"), task(TABLE, SEEN, width=4)
    )
    torch.nn.init.normal_(model.W, generator=torch.Generator().manual_seed(1))
    x, label = noise(0, 4, 4), torch.tensor([0, 1, 2, 4])
    F = model.scores(x)[:, torch.tensor(SEEN)]
    assert torch.equal(
        model.loss(x, label)["ranking"], sum_of_hinges(hinges(F, torch.arange(4), 0.5)).mean()
    )


@pytest.mark.parametrize(("ranking", "other"), [("sum", DeViSE), ("largest", SJE), ("rank", ALE)])
def test_with_one_matrix_it_is_the_bilinear_model_of_its_ranking(
    ranking: str, other: type[Compatibility]
) -> None:
    given, view, x, _ = learnable()
    config = LATEMConfig(K=1, ranking=ranking, train=TRAIN)
    one, same = LATEM(config, given), other(other.Config(train=TRAIN), given)
    with torch.no_grad():
        one.W.copy_(same.W.unsqueeze(0))
    ours, theirs = (
        one.loss(view.x, torch.from_numpy(view.labels)),
        same.loss(view.x, torch.from_numpy(view.labels)),
    )
    torch.testing.assert_close(ours["ranking"], theirs["ranking"])
    torch.testing.assert_close(one.scores(x), same.scores(x))
    # Trained as well, from the same random start on the same batches.
    one, same = (
        trained(LATEM, config, given, view),
        trained(other, other.Config(train=TRAIN), given, view),
    )
    torch.testing.assert_close(one.W[0], same.W, rtol=1e-3, atol=1e-3)
