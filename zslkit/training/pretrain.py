"""Trains backbone weights on a dataset's trainval images only: `features.weights = trainval`.

For domains without a pretrained network and for machines without network access. The backbone
learns to predict the attributes of the seen classes. A validation fold has fewer seen classes and
therefore its own weights.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from zslkit.dataset import Dataset
from zslkit.errors import DataError, TrainingError
from zslkit.features.backbones import Backbone
from zslkit.features.forward import ImageInputs
from zslkit.features.store import images_digest
from zslkit.training.sampling import batches
from zslkit.utils.determinism import threads
from zslkit.utils.files import MADE, cache_root, replacing
from zslkit.utils.locks import acquired
from zslkit.utils.progress import Reporter

RECIPE = 3
"""Part of the cache key; raise it whenever this code trains other weights."""
BATCH = 64
PEAK_LR = 2e-3
SCALE = 20.0
"""Scale of the cosine logits; a usual value."""
SHIPPED = Path(str(files("zslkit.datasets"))) / "weights"
"""Weights of built-in datasets, as `python benchmarks/built_in_weights.py` makes them, so that
every
machine starts from the same bits and a first run trains no backbone."""


def trainval_weights(
    dataset: Dataset,
    start: Backbone,
    epochs: int,
    device: torch.device,
    reporter: Reporter,
    content: str | None = None,
) -> Path:
    """File of weights for `start`: trained from its random start on the seen classes, or cached.

    AdamW with one cycle of the learning rate. The loss is the cross entropy over the seen classes
    of the cosine between their attributes and those predicted from the averaged map, so that
    classes learn from each other. Seeded, and in one thread on a processor: the same machine always
    gives the same file. Weights are rounded to half precision. Shipped weights (`SHIPPED`) are used
    instead of a training. `content` is the digest of the images, if known.

    Raises:
        DataError: The dataset has no images.
        TrainingError: The training diverges.
    """
    if dataset.images is None:
        raise DataError(
            f"{dataset.name} has features but no images, so no backbone can be trained on it; "
            "use its pooled features"
        )
    if (shipped := shipped_file(dataset, start, epochs, content)).is_file():
        return shipped
    # Kinds of device move the sums and so the weights, and versions of libraries the random start.
    device_facts = [device.type, start.digest]
    if device.type != "cpu" and torch.are_deterministic_algorithms_enabled():
        device_facts.append("deterministic")
    key = _key(dataset, start, epochs, device_facts, content)
    path = cache_root() / "weights" / f"{dataset.name}-{key}.safetensors"
    if path.is_file():
        return path  # without a lock, which a shared cache may not allow
    path.parent.mkdir(parents=True, exist_ok=True)
    sentence = (
        f"Another process trains {start.name} on {dataset.name} for {path}; "
        "this one waits until it is done"
    )
    with acquired(f"{path}.lock", reporter.note, sentence):
        if not path.is_file():
            state = _train(dataset, start, epochs, device, reporter)
            with replacing(path) as beside:
                save_file(state, beside, MADE)
    return path


def shipped_file(
    dataset: Dataset, start: Backbone, epochs: int, content: str | None = None
) -> Path:
    """Where the weights lie if they come with zslkit, for every device and version of libraries."""
    return SHIPPED / f"{dataset.name}-{_key(dataset, start, epochs, [], content)}.safetensors"


def _key(
    dataset: Dataset, start: Backbone, epochs: int, more: list[str], content: str | None
) -> str:
    """16 hex digits of all that decides the weights: training images, their attributes, network,
    recipe."""
    assert dataset.images is not None
    index, table = dataset.split.trainval, dataset.semantics.attributes
    facts = [
        content or images_digest(dataset.images),
        start.name,
        start.reduction,
        repr(start.transform),
        [RECIPE, epochs, BATCH, PEAK_LR, SCALE],
        more,
    ]
    if start.pooling != "mean":
        facts.append(start.pooling)
    arrays = (index, dataset.labels[index], np.ascontiguousarray(table, dtype=np.float32))
    hashed = json.dumps(facts).encode() + b"".join(array.tobytes() for array in arrays)
    return hashlib.sha256(hashed).hexdigest()[:16]


def _train(
    dataset: Dataset, start: Backbone, epochs: int, device: torch.device, reporter: Reporter
) -> dict[str, torch.Tensor]:
    assert dataset.images is not None
    inputs, index = ImageInputs(dataset.images, start.transform), dataset.split.trainval
    names, target = np.unique(dataset.labels[index], return_inverse=True)
    with torch.random.fork_rng(devices=[]), threads(1):
        torch.manual_seed(0)
        network = start.build().to(device).train()
        height, width = inputs.batch(index[:1]).shape[2:]
        table = torch.from_numpy(dataset.semantics.normalised()[names]).to(device)
        head = nn.Linear(start.map_shape(height, width)[0], table.shape[1]).to(device)
        parameters = [*network.parameters(), *head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=PEAK_LR, weight_decay=0.05)
        steps = max(1, len(index) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=PEAK_LR, total_steps=max(1, epochs * steps)
        )
        title = f"{dataset.name}: train {start.name} on trainval"
        with reporter.phase(title, total=epochs * steps) as phase:
            for epoch in range(epochs):
                for chosen in batches(target, "uniform", BATCH, steps, 0, epoch):
                    maps = network(inputs.batch(index[chosen]).to(device))
                    predicted = head(maps.mean(dim=(2, 3)))
                    logits = SCALE * nn.functional.normalize(predicted, dim=1) @ table.T
                    label = torch.from_numpy(target[chosen]).to(device)
                    loss = nn.functional.cross_entropy(logits, label)
                    if not torch.isfinite(loss):
                        raise TrainingError(
                            f"Training {start.name} on trainval diverged in epoch {epoch + 1}; "
                            "choose another backbone"
                        )
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    schedule.step()
                    phase.advance(1, loss=float(loss.detach()))
    state = network.network.state_dict()  # type: ignore[union-attr]
    return {
        name: (v.half() if v.is_floating_point() else v).detach().cpu().contiguous()
        for name, v in state.items()
    }
