"""The word vectors that attributes start from, as DAZLE, MSDN, TransZero and GEM-ZSL have them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F_

from zslkit.errors import UserError
from zslkit.model import Task

Words = Literal["given", "random"]


def attribute_words(model: str, task: Task, how: Words, width: int, unit: bool = True) -> Tensor:
    """V (A, W): the dataset's word vectors, L2-normalised per attribute (unit) or as they are, or N(0, 1) of that width.

    Raises UserError that names the model if they are to be given and the dataset has none.
    """
    if how == "random":
        return torch.randn(task.n_attributes, width)
    if task.word_vectors is None:
        raise UserError(
            f"{task.dataset} has no word vectors of its attributes and {model} starts from them; "
            "set word_vectors=random"
        )
    words = torch.from_numpy(task.word_vectors).float()
    return F_.normalize(words, dim=1) if unit else words
