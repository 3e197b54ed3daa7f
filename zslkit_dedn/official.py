"""Reads and writes checkpoints of the authors' released program.

There `GNet` is cExp (rows in the dataset's attribute order) and `Snet0..` are the clusters of fExp;
`att` is the normalised class-attribute table with columns in cluster order; `mask_bias` is -1 for
seen and +1 for unseen classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from zslkit.config import build
from zslkit.config.merge import Layer, merge, read_yaml
from zslkit.errors import DataError
from zslkit.model import Task
from zslkit.utils.files import check_permitted, need_plain
from zslkit_dedn.attention import DAN
from zslkit_dedn.groups import PAPER, RELEASED, Clusters
from zslkit_dedn.model import DEDN, DEDNConfig

Names = Mapping[str, str]
_PLAIN: Names = {"V": "V", "H_1": "W1.0", "H_2": "W2", "H_3": "W3", "H_4": "W4"}
_FACTORED: Names = {"V": "V", "H_1": "W1.0", "H_3": "W1.1", "H_2": "W2", "H_4": "W3", "H_5": "W4"}
_CONSTANTS = ("att", "weight_ce", "bias", "mask_bias")


def load_state_dict(
    source: str | Path | Mapping[str, Tensor],
    *,
    dataset: Literal["cub", "sun", "awa2"],
    clusters: Literal["paper", "released"] = "paper",
    c_mix: float | None = None,
    e_mix: float | None = None,
    lambda_cal: float | None = None,
) -> DEDN:
    """Model with the weights of a checkpoint; it reproduces the scores and losses of that program.

    D, R, the width of word vectors, the number of classes and the rank come from the checkpoint;
    other settings from the dataset's preset.

    Args:
        source: State dict, or its file (read as weights only, so nothing in it is executed).
        dataset: Dataset of the checkpoint.
        clusters: Clusters of fExp.
        c_mix: Replaces the preset's value.
        e_mix: Replaces the preset's value.
        lambda_cal: Replaces the preset's value.

    Raises:
        DataError: Names are missing or unknown; the message lists them.
    """
    state = {
        k: torch.as_tensor(v)
        for k, v in (read(source) if isinstance(source, str | Path) else source).items()
    }
    groups = (PAPER if clusters == "paper" else RELEASED)[dataset]
    names = _FACTORED if "GNet.H_5" in state else _PLAIN
    _check_names(state, groups, names)
    order = np.array([i for c in groups for i in c])
    table = np.empty(tuple(state["att"].shape), dtype=np.float32)
    table[:, order] = state["att"].numpy()
    channels, regions = (
        state["GNet.H_2"].shape[1],
        state[f"GNet.{'H_5' if names is _FACTORED else 'H_4'}"].shape[1],
    )
    task = Task(
        dataset=dataset,
        classes=tuple(f"class {k}" for k in range(len(table))),
        seen=state["mask_bias"].reshape(-1).numpy() < 0,
        attributes=table,
        attribute_names=tuple(f"attribute {i}" for i in range(table.shape[1])),
        input="map",
        feature_shape=(channels, regions, 1),
        map_shape=(channels, regions, 1),
        groups={f"cluster {i}": c for i, c in enumerate(groups)},
        word_vectors=state["GNet.V"].numpy(),
    )
    given = {"c_mix": c_mix, "e_mix": e_mix, "lambda_cal": lambda_cal}
    chosen: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    chosen |= {
        "clusters": "groups",
        "bias": float(state["bias"]),
        "rank": state["GNet.H_1"].shape[1] if names is _FACTORED else None,
    }
    preset = read_yaml(Path(str(files("zslkit_dedn") / "presets" / f"{dataset}.yaml")))
    settings = merge([preset, Layer(chosen, "load_state_dict")])
    settings.section("features")
    model = DEDN(build(DEDNConfig, settings, "dedn"), task)
    _copy(state, model, names)
    return model


def fill(model: DEDN, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of a checkpoint into a model with its `clusters` and `rank`.

    Raises:
        DataError: Names, sizes, seen classes or class attributes are not those of the model's task.
    """
    names = _FACTORED if "GNet.H_5" in state else _PLAIN
    ours = state_dict(model)
    if missing := sorted(set(ours) ^ set(state)):
        raise DataError(
            f"The checkpoint and the model differ in {', '.join(missing)}; give the checkpoint's "
            "clusters and dataset"
        )
    for name, value in ours.items():
        if name not in ("bias", "weight_ce") and value.shape != state[name].shape:
            raise DataError(
                f"{name} is {tuple(state[name].shape)} in the checkpoint and {tuple(value.shape)} "
                f"for {model.task.dataset} with these "
                "features; give the clusters, the backbone and the image size that it was trained "
                "with"
            )
    for name, what in (("mask_bias", "seen classes"), ("att", "class attributes")):
        if not torch.allclose(ours[name].float(), state[name].float(), atol=1e-4):
            raise DataError(
                f"The {what} of the checkpoint are not those of {model.task.dataset} here, class "
                "by class; is it another split or order?"
            )
    _copy(state, model, names)


def _copy(state: Mapping[str, Tensor], model: DEDN, names: Names) -> None:
    with torch.no_grad():
        for net, dan in _nets(model).items():
            for theirs, ours in names.items():
                dan.get_parameter(ours).copy_(state[f"{net}.{theirs}"])


def state_dict(model: DEDN) -> dict[str, Tensor]:
    """State under the names of the authors' program; inverse of `load_state_dict`."""
    names = _FACTORED if model.config.rank is not None else _PLAIN
    order = torch.argsort(model.experts.restore)
    classes = len(model.attributes)
    state = {
        "att": model.attributes[:, order].clone(),
        "weight_ce": torch.eye(classes),
        "bias": torch.tensor(
            int(model.config.bias)
            if model.config.bias == int(model.config.bias)
            else model.config.bias
        ),
        "mask_bias": torch.where(model.seen, -1.0, 1.0).unsqueeze(0),
    }
    for net, dan in _nets(model).items():
        state |= {
            f"{net}.{theirs}": dan.get_parameter(ours).detach().clone()
            for theirs, ours in names.items()
        }
    return state


def _nets(model: DEDN) -> dict[str, DAN]:
    fine = {f"Snet{i}": dan for i, dan in enumerate(model.experts.fine)}
    return {"GNet": model.experts.coarse, **fine}  # type: ignore[dict-item]


def _check_names(state: Mapping[str, Tensor], groups: Clusters, names: Names) -> None:
    nets = ["GNet", *(f"Snet{i}" for i in range(len(groups)))]
    expected = {*_CONSTANTS, *(f"{net}.{n}" for net in nets for n in names)}
    missing, extra = sorted(expected - set(state)), sorted(set(state) - expected)
    if missing or extra:
        parts = [
            f"{word} {', '.join(n)}"
            for word, n in (("it lacks", missing), ("it has no place for", extra))
            if n
        ]
        raise DataError(
            f"This is no checkpoint of the authors' program for this dataset: {'; '.join(parts)}"
        )
    for i, cluster in enumerate(groups):
        if (rows := len(state[f"Snet{i}.V"])) != len(cluster):
            raise DataError(
                f"Snet{i} holds {rows} attributes and the chosen clusters give it {len(cluster)}; "
                "try the other clusters (paper, released)"
            )


def read(path: str | Path) -> Mapping[str, Tensor]:
    """State dict of a file, read as weights only.

    Raises:
        DataError: There is none.
    """
    check_permitted(Path(path))
    try:
        need_plain(Path(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"There is no checkpoint at {path}; check the path") from error
    except Exception as error:
        raise DataError(
            f"{path} cannot be read as a file of weights ({type(error).__name__}); is it "
            "complete, and saved as a state dict?"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(
            f"{path} holds no state dict (name -> tensor); save model.state_dict() with the "
            "authors' program"
        )
    return state
