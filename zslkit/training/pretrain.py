"""Backbone weights from nothing but a dataset's own trainval images: `features.weights = trainval`.

For domains that no pretrained network knows, and for machines without a network. The backbone learns to name the seen
classes of trainval by their attributes and is then used like any other. A validation fold has fewer seen classes, hence weights of its own.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from zslkit.dataset import Dataset
from zslkit.errors import DataError, TrainingError
from zslkit.features.backbones import Backbone, MapNetwork
from zslkit.features.extract import ImageInputs
from zslkit.features.store import cache_root, images_digest
from zslkit.training.sampling import batches
from zslkit.utils.files import MADE, replacing
from zslkit.utils.locks import acquired
from zslkit.utils.progress import Reporter

RECIPE = 2
"""Raised whenever the code below trains other weights than before, so that a kept file is never stale."""
BATCH = 64
PEAK_LR = 2e-3
SCALE = 20.0
"""Of the cosine between predicted and given attributes; a usual value."""


def trainval_weights(
    dataset: Dataset,
    start: Backbone,
    epochs: int,
    device: torch.device,
    reporter: Reporter,
    content: str | None = None,
) -> Path:
    """A file of weights for `start`'s network, trained from its random start on the seen classes; made once.

    AdamW with one cycle of the learning rate; cross entropy over the seen classes of the cosine between their attributes and
    those predicted from the averaged map, so that classes learn from each other. Seeded: the same file on every run of one machine.
    content: fingerprint of the images, where it is known. Raises DataError if the dataset has no images.
    """
    if dataset.images is None:
        raise DataError(
            f"{dataset.name} has features but no images, so no backbone can be trained on it; use its pooled features"
        )
    index = dataset.split.trainval
    # Device and number of threads move the sums and so the weights: without them a result would hang on who trained them first.
    recipe: list[object] = [
        RECIPE,
        epochs,
        BATCH,
        PEAK_LR,
        SCALE,
        device.type,
        torch.get_num_threads(),
    ]
    if device.type != "cpu" and torch.are_deterministic_algorithms_enabled():
        recipe.append("deterministic")
    facts = [
        content or images_digest(dataset.images),
        start.name,
        start.reduction,
        start.digest,
        repr(start.transform),
        recipe,
    ]
    key = hashlib.sha256(
        json.dumps(facts).encode()
        + index.tobytes()
        + dataset.labels[index].tobytes()
        + dataset.semantics.normalised().tobytes()
    ).hexdigest()[:16]
    path = cache_root() / "weights" / f"{dataset.name}-{key}.safetensors"
    if path.is_file():
        return path  # of a cache that others share, perhaps, in which no lock can be made
    path.parent.mkdir(parents=True, exist_ok=True)
    sentence = f"Another process trains {start.name} on {dataset.name} for {path}; this one waits until it is done"
    with acquired(f"{path}.lock", reporter.note, sentence):
        if not path.is_file():
            state = _train(dataset, start, epochs, device, reporter)
            with replacing(path) as beside:
                save_file(state, beside, MADE)
    return path


def _train(
    dataset: Dataset, start: Backbone, epochs: int, device: torch.device, reporter: Reporter
) -> dict[str, torch.Tensor]:
    assert dataset.images is not None
    inputs, index = ImageInputs(dataset.images, start.transform), dataset.split.trainval
    names, target = np.unique(dataset.labels[index], return_inverse=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = start.build().to(device).train()
        assert isinstance(network, MapNetwork)  # a model's own encoder is never trained here
        height, width = inputs.batch(index[:1]).shape[2:]
        table = torch.from_numpy(dataset.semantics.normalised()[names]).to(device)
        head = nn.Linear(start.map_shape(height, width)[0], table.shape[1]).to(device)
        parameters = [*network.parameters(), *head.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=PEAK_LR, weight_decay=0.05)
        steps = max(1, len(index) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=PEAK_LR, total_steps=max(1, epochs * steps)
        )
        with reporter.phase(
            f"{dataset.name}: train {start.name} on trainval", total=epochs * steps
        ) as phase:
            for epoch in range(epochs):
                for chosen in batches(target, "uniform", BATCH, steps, 0, epoch):
                    predicted = head(
                        network(inputs.batch(index[chosen]).to(device)).mean(dim=(2, 3))
                    )
                    logits = SCALE * nn.functional.normalize(predicted, dim=1) @ table.T
                    loss = nn.functional.cross_entropy(
                        logits, torch.from_numpy(target[chosen]).to(device)
                    )
                    if not torch.isfinite(loss):
                        raise TrainingError(
                            f"Training {start.name} on trainval diverged in epoch {epoch + 1}; choose another backbone"
                        )
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    schedule.step()
                    phase.advance(1, loss=float(loss.detach()))
    return {k: v.detach().cpu().contiguous() for k, v in network.network.state_dict().items()}
