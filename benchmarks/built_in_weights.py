"""`python benchmarks/built_in_weights.py`: the backbone weights of built-in datasets that zslkit
ships.

It trains them from the trainval images, as every machine would without them, and writes them to
zslkit/datasets/weights: for all of trainval, and for the first validation fold.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch

from zslkit.datasets.catalog import load_dataset
from zslkit.features.backbones import load_backbone
from zslkit.runs.plan import make_features
from zslkit.training import pretrain
from zslkit.utils.progress import reporter_for

DATASETS = ("digits",)


def main(to: Path) -> list[Path]:
    """Train the weights and write them to the folder `to`. Returns the files."""
    to.mkdir(exist_ok=True)
    made = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ZSLKIT_CACHE"], pretrain.SHIPPED = cache, Path(cache)
        for name in DATASETS:
            dataset, config = load_dataset(name), make_features(name)
            start = load_backbone(config.model_copy(update={"weights": "random"}))
            for data in (dataset, dataset.fold(0)):
                file = pretrain.trainval_weights(
                    data, start, config.pretrain_epochs, torch.device("cpu"), reporter_for()
                )
                made.append(to / pretrain.shipped_file(data, start, config.pretrain_epochs).name)
                made[-1].write_bytes(file.read_bytes())
    return made


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for file in main(Path(__file__).parents[1] / "zslkit" / "datasets" / "weights"):
        print(file.name, file.stat().st_size)
