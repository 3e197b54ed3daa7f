"""Datasets by name: registered sources and YAML cards; the entry point to load any dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from zslkit.dataset import Dataset, DatasetSource
from zslkit.datasets import card, card_keys, imported
from zslkit.datasets.attribute_table import read_class_table
from zslkit.errors import UserError, ZslkitError, did_you_mean
from zslkit.registry import BrokenPlugin, Entry, Registry, is_card
from zslkit.utils.stops import error_sentence, is_stop


def check_source(entry: Entry, loaded: Any) -> None:
    """Raise BrokenPlugin unless a registered object is a DatasetSource that can be instantiated."""
    if not (isinstance(loaded, type) and issubclass(loaded, DatasetSource)):
        raise BrokenPlugin(
            entry, f"it is {loaded!r}, and no subclass of zslkit.dataset.DatasetSource"
        )
    if loaded.__abstractmethods__:
        raise BrokenPlugin(
            entry, f"{loaded.__name__} lacks {', '.join(sorted(loaded.__abstractmethods__))}"
        )


T = TypeVar("T")

DATASETS = Registry("zslkit.datasets", "dataset", check_source)
"""All registered datasets."""


def card_defaults(path: Path) -> dict[str, Any]:
    """Settings of a card for the section `features`; raises UserError if it is invalid."""
    return dict(read_card(path).features)


def read_card(path: Path) -> card_keys.FolderCard | imported.ImportedCard:
    """Read and validate a card of any kind; raises UserError, which names the invalid key."""
    return imported.read_card(path) if _kind(path) == imported.KIND else card_keys.read_card(path)


def _kind(path: Path) -> str:
    kinds = ("folder", imported.KIND)
    kind = card_keys.card_settings(path).values.get("kind", "folder")
    if kind not in kinds:
        raise UserError(
            f"{path}: there is no kind of card {kind!r}{did_you_mean(str(kind), kinds)}"
        )
    return str(kind)


def load_dataset(name: str | Path, root: str | Path = "data") -> Dataset:
    """Load a dataset.

    Args:
        name: Name of a registered dataset, or path of a `.yaml` card.
        root: Data root, below which registered datasets are read.

    Raises:
        UnknownName: No dataset has this name; suggests a similar one.
        NameClash: Two distributions register this name.
        BrokenPlugin: The registered source fails.
        DataError: Names the file that is missing or damaged.
    """
    if is_card(name):
        load = imported.load_imported if _kind(Path(name)) == imported.KIND else card.load_folder
        return load(Path(name))
    entry, dataset = _query(str(name), lambda source, entry: source.load(entry.name, Path(root)))
    if not isinstance(dataset, Dataset):
        raise BrokenPlugin(
            entry, f"its load gives {type(dataset).__name__}, and no zslkit.dataset.Dataset"
        )
    return dataset


def attribute_names(name: str, root: str | Path = "data") -> tuple[str, ...]:
    """Attribute names of a dataset, without its images where possible; errors as `load_dataset`."""
    if is_card(name):
        table = read_card(Path(name)).attributes
        if table is None:
            raise UserError(
                f"{name} has no table of attributes, so that there are no names to look up; add "
                "the key attributes"
            )
        return read_class_table(card.file_of(Path(name), "attributes", table)).attributes
    return tuple(
        _query(name, lambda source, entry: source.attribute_names(entry.name, Path(root)))[1]
    )


def attribute_words(name: str, root: str | Path = "data") -> dict[str, str]:
    """Attribute name -> plain words, for names that are no words; errors as `load_dataset`."""
    if is_card(name):
        return {}
    return dict(_query(name, lambda source, entry: source.attribute_words(Path(root)))[1])


def word_vector_files(name: str, root: str | Path = "data") -> tuple[Path, ...]:
    """Paths at which the dataset looks for word vectors, in order of priority; may be empty."""
    if is_card(name):
        named = read_card(Path(name)).word_vectors
        return () if named is None else (card.inside(Path(name), "word_vectors", named),)
    return _query(name, lambda source, entry: source.word_vector_files(Path(root)))[1]


def _query(name: str, question: Callable[[DatasetSource, Entry], T]) -> tuple[Entry, T]:
    """Ask the source of a registered dataset; raises BrokenPlugin for errors of a plugin's own."""
    entry, source = DATASETS.load(name)
    try:
        return entry, question(source(), entry)
    except ZslkitError:
        raise
    except BaseException as error:  # a plugin may even call exit()
        if entry.built_in or is_stop(error):
            raise
        raise BrokenPlugin(entry, error_sentence(error)) from error
