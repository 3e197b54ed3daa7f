"""Datasets by name: those that are registered, and those that a YAML card describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zslkit.data.folder import load_folder
from zslkit.dataset import Dataset, DatasetSource
from zslkit.errors import ZslkitError
from zslkit.registry import BrokenPlugin, Entry, Registry


def check_source(entry: Entry, loaded: Any) -> None:
    """Raises BrokenPlugin, which names the distribution, unless `loaded` is a DatasetSource that can be made."""
    if not (isinstance(loaded, type) and issubclass(loaded, DatasetSource)):
        raise BrokenPlugin(entry, f"it is {loaded!r}, and no subclass of zslkit.dataset.DatasetSource")
    if loaded.__abstractmethods__:
        raise BrokenPlugin(entry, f"{loaded.__name__} lacks {', '.join(sorted(loaded.__abstractmethods__))}")


DATASETS = Registry("zslkit.datasets", "dataset", check_source)
"""All registered datasets."""


def is_card(name: str) -> bool:
    """Whether `name` means a card in a file rather than a registered dataset."""
    return name.lower().endswith((".yaml", ".yml"))


def load_dataset(name: str, root: str | Path = "data") -> Dataset:
    """The dataset `name`: a registered one, read below `root`, or the path of a `.yaml` card.

    Raises UnknownName (with a suggestion), NameClash, BrokenPlugin, or DataError that says which file is missing where.
    """
    if is_card(name):
        return load_folder(Path(name))
    entry, source = DATASETS.load(name)
    try:
        dataset = source().load(entry.name, Path(root))
    except ZslkitError:
        raise
    except Exception as error:
        if entry.built_in:
            raise
        raise BrokenPlugin(entry, f"{type(error).__name__}: {error}") from error
    if not isinstance(dataset, Dataset):
        raise BrokenPlugin(entry, f"its load gives {type(dataset).__name__}, and no zslkit.dataset.Dataset")
    return dataset
