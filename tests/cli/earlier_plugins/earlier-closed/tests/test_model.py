"""EarlierClosed keeps the contract, and stronger regularisation makes a smaller W."""

import torch
from zslkit.testing import parametrize_with_checks, tiny_dataset, tiny_inputs, tiny_task

from earlier_closed.model import EarlierClosed, EarlierClosedConfig


@parametrize_with_checks([EarlierClosed])
def test_contract(check):
    check()


class Everything:
    """A view and a trainer in one: all that this model's `fit` asks for."""

    device = torch.device("cpu")

    def everything(self):
        data = tiny_dataset()
        index = data.split.trainval
        return tiny_inputs(data).source.batch(index), torch.from_numpy(data.labels[index])

    def log(self, **values):
        pass


def test_a_stronger_regulariser_makes_a_smaller_solution():
    norms = []
    for lam in (0.01, 1.0, 100.0):
        model = EarlierClosed(EarlierClosedConfig(lam=lam), tiny_task())
        model.fit(Everything(), Everything())
        norms.append(float(model.W.norm()))
    assert norms[0] > norms[1] > norms[2] > 0
