"""Settings with which the generative baselines learn the toys of linear_toys in a second."""

from __future__ import annotations

from typing import Any

from zslkit_baselines.cadavae import CADAVAE
from zslkit_baselines.cegzsl import CEGZSL
from zslkit_baselines.fclswgan import FCLSWGAN
from zslkit_baselines.generative import Generative
from zslkit_baselines.tfvaegan import TFVAEGAN

from zslkit.config.merge import nested

MODELS: dict[str, type[Generative]] = {
    "cadavae": CADAVAE,
    "cegzsl": CEGZSL,
    "fclswgan": FCLSWGAN,
    "tfvaegan": TFVAEGAN,
}
EPOCHS = {"cadavae": 40, "cegzsl": 40, "fclswgan": 25, "tfvaegan": 20}


def settings(name: str, **changes: Any) -> Any:
    """The model's config for toys. changes: keys with __ in the place of a dot."""
    kind = MODELS[name]
    values = {**kind.check_settings, "epochs": EPOCHS[name], "classifier.epochs": 20}
    return kind.Config.model_validate(
        nested({**values, **{k.replace("__", "."): v for k, v in changes.items()}})
    )
