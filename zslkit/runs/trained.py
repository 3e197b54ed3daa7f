"""A trained model that takes photos, or a tensor of what it eats, and says so if given another."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from zslkit.errors import UserError
from zslkit.model import AttentionMaps, Model, Task
from zslkit.readers.image_file import is_picture

if TYPE_CHECKING:
    from zslkit.readers.image_file import Photo
    from zslkit.runs.load import LoadedRun
    from zslkit.runs.load_portable import LoadedModel

    Opened: TypeAlias = LoadedRun | LoadedModel
    """A finished run with its model, loaded with its dataset or without it."""
    Eaten = Tensor | np.ndarray[Any, Any] | Photo | Sequence[Photo]
    """Photos, or an array of what the model eats."""

EATEN = {
    "pooled": "pooled features of a backbone",
    "map": "feature maps of a backbone",
    "image": "normalised images",
}
"""Input type -> what it is, in messages."""


class TrainedModel:
    """The model of a finished run (`opened`), in evaluation mode.

    All methods take photos (a path, an image of Pillow, or a list of them) or a tensor `(B, ...)`
    of what the model eats, and answer on the CPU without gradients.
    """

    def __init__(self, opened: Opened) -> None:
        self.opened = opened

    def __repr__(self) -> str:
        return f"TrainedModel({self._who}, eats {self.eats})"

    @property
    def _who(self) -> str:
        run = self.opened.run
        return f"{run.record.model.name} of {run.folder}"

    def __call__(self, x: Eaten) -> Tensor:
        """As `scores`."""
        return self.scores(x)

    @property
    def module(self) -> Model:
        """The network itself, a `torch.nn.Module` on its device."""
        return self.opened.model

    @property
    def task(self) -> Task:
        """Classes, which of them are seen, and class attributes."""
        return self.module.task

    @property
    def eats(self) -> str:
        """What the model eats, such as 'pooled features of a backbone, (B, 1280)'."""
        shape = ", ".join(map(str, self.task.feature_shape))
        return f"{EATEN[self.task.input]}, (B, {shape})"

    def scores(self, x: Eaten) -> Tensor:
        """Uncalibrated scores (B, C) of all classes; `Result.gamma` belongs on unseen classes.

        Raises:
            UserError: A tensor is not what the model eats, or the run cannot take photos.
            DataError: A photo cannot be read.
        """
        scores = self._asked(self.module.scores, x)
        assert scores is not None
        return scores.float()

    def evidence(self, x: Eaten) -> Tensor | None:
        """Attribute scores (B, A), None if the model has none; raises as `scores`."""
        return self._asked(self.module.evidence, x)

    def attention(self, x: Eaten) -> dict[str, AttentionMaps]:
        """Attention maps of each part, {} if the model has none; raises as `scores`."""
        with torch.inference_mode():
            return self.module.attention(self.inputs(x).to(self.opened.device))

    def inputs(self, x: Eaten) -> Tensor:
        """What the model eats, (B, ...) float32 on the CPU; raises as `scores`."""
        if isinstance(x, np.ndarray):
            x = torch.from_numpy(x)
        if isinstance(x, Tensor):
            return self._checked(x)
        one = is_picture(x) or isinstance(x, (str, os.PathLike))
        photos: Sequence[Photo] = [x] if one else list(x)  # type: ignore[list-item,arg-type]
        if not photos:
            raise UserError("There is no photo in the list; give at least one")
        preprocessor = self.opened.preprocessor
        return preprocessor.inputs([preprocessor.photo(photo) for photo in photos])

    def _asked(self, answer: Callable[[Tensor], Tensor | None], x: Eaten) -> Tensor | None:
        with torch.inference_mode():
            found = answer(self.inputs(x).to(self.opened.device))
        return None if found is None else found.cpu()

    def _checked(self, x: Tensor) -> Tensor:
        wanted = self.task.feature_shape
        if tuple(x.shape[1:]) == wanted:
            return x.float()
        if tuple(x.shape) == wanted:
            way = "put one in front: x[None]"
        elif self.task.input != "image" and x.ndim == 4 and x.shape[1] == 3:
            way = (
                "that looks like photos: give their paths or images of Pillow, "
                "and the run's backbone makes features of them"
            )
        else:
            way = "give such a tensor, or photos as paths or images of Pillow"
        raise UserError(f"{self._who} eats {self.eats}, and this tensor is {tuple(x.shape)}; {way}")
