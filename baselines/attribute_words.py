"""Initial word vectors of attributes, shared by DAZLE, MSDN, TransZero and GEM-ZSL."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F_

from zslkit.errors import UserError
from zslkit.model import Task

Words = Literal["given", "random", "auto"]


def attribute_words(model: str, task: Task, how: Words, width: int, unit: bool = True) -> Tensor:
    """Word vectors V `(A, W)`.

    Args:
        model: Name of the model, for errors.
        task: Task with the dataset's word vectors.
        how: "given" for the dataset's, "random" for N(0, 1), "auto" for the dataset's if it has
            any, else random ones.
        width: W of random vectors.
        unit: L2-normalise the dataset's vectors per attribute.

    Raises:
        UserError: They are to be given, but the dataset has none.
    """
    if how == "random" or (how == "auto" and task.word_vectors is None):
        return torch.randn(task.n_attributes, width)
    if task.word_vectors is None:
        raise UserError(
            f"{task.dataset} has no word vectors of its attributes and {model} starts from them; "
            "set word_vectors=random"
        )
    words = torch.from_numpy(task.word_vectors).float()
    return F_.normalize(words, dim=1) if unit else words


def words_remarks(task: Task, how: Words) -> tuple[str, ...]:
    """What "auto" settled if the dataset has no word vectors (`Model.remarks`)."""
    if how != "auto" or task.word_vectors is not None:
        return ()
    return ("the word vectors of the attributes are random, since the dataset has none",)
