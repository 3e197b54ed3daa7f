"""Extracts the features of a dataset ahead of the runs that use them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zslkit.config import FeatureConfig
from zslkit.dataset import Dataset
from zslkit.datasets.catalog import find_dataset
from zslkit.errors import UserError
from zslkit.features.store import FeatureStore
from zslkit.features.unreadable import readable
from zslkit.runs.plan import make_features
from zslkit.training.inputs import prepare
from zslkit.training.view import MapSource
from zslkit.utils import distributed
from zslkit.utils.devices import choose_device
from zslkit.utils.progress import Reporter, Silent


@dataclass(frozen=True)
class Prepared:
    """A feature store and its dataset, `named` as the caller did (a name or a card's path)."""

    named: str
    dataset: Dataset
    config: FeatureConfig
    store: FeatureStore

    def facts(self) -> dict[str, Any]:
        """The facts as JSON values, for programs."""
        manifest, images = self.store.manifest, self.dataset.images
        assert images is not None
        return {
            "dataset": self.dataset.name,
            "images": len(images),
            "skipped": [images.key(i) for i in self.dataset.skipped],
            "map_shape": list(self.store.map_shape),
            "dtype": manifest["dtype"],
            "precision": self.config.precision,
            "backbone": manifest["backbone"],
            "weights": manifest["weights"],
            "fingerprint": self.store.fingerprint,
            "bytes": sum(f.stat().st_size for f in self.store.folder.iterdir()),
            "store": str(self.store.folder),
            "settings": self.config.model_dump(mode="json"),
        }

    def words(self) -> dict[str, str]:
        """The facts as sentences, for people, with the command of a run that uses the store."""
        facts = self.facts()
        d, h, w = self.store.map_shape
        skipped = facts["skipped"]
        kind = f"maps {d} x {h} x {w}"
        if self.config.pooling == "own":
            kind = f"vectors of width {d}, pooled by the backbone"
        source = f"{facts['backbone']} ({facts['weights']})"
        words = {
            "features": f"{facts['images']} {kind}, {facts['dtype']}, of {source}",
            "store": f"{self.store.folder} ({facts['bytes'] / 1e6:.0f} MB)",
        }
        if skipped:
            words["skipped"] = f"{len(skipped)} images that cannot be read: {', '.join(skipped)}"
        standard = FeatureConfig().model_dump(mode="json")
        changed = {k: v for k, v in facts["settings"].items() if standard.get(k) != v}
        command = ["zslkit", "run", "--model", "MODEL", "--dataset", self.named]
        for key, value in changed.items():
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            command += ["--set", f"features.{key}={text}"]
        words["used by"] = shlex.join(command)
        return words


def prepare_features(
    dataset: str,
    *,
    data_root: str | Path = "data",
    settings: Sequence[str] = (),
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
    batch: int | None = None,
    reporter: Reporter | None = None,
) -> Prepared:
    """Extract the features that a run with these settings would use, or find them.

    Args:
        settings: `key=value` pairs as of `--set`, all of the section `features`.
        overrides: Keys of the section `features` that win over all others.
        batch: Images per batch; None chooses by device.

    Raises:
        UserError: The caller can correct the cause.
    """
    distributed.join()
    reporter = (reporter if distributed.first() else None) or Silent()
    with distributed.in_turn():
        named = find_dataset(dataset)
        features = make_features(named, settings=settings, config=config, overrides=overrides)
        chosen_device = choose_device(device)
        data = named.load(data_root)
        for note in data.notes:
            reporter.note(f"{data.name}: {note}")
        if data.images is None:
            raise UserError(
                f"{data.name} brings features and has no images here, so nothing is to prepare; "
                "put its images in place first"
            )
        if features.skip_bad:
            data = readable(data, reporter)
    inputs = prepare(data, features, "map", chosen_device, reporter, batch=batch)
    assert isinstance(inputs.source, MapSource) and isinstance(inputs.source.store, FeatureStore)
    return Prepared(dataset, data, features, inputs.source.store)
