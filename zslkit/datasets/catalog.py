"""Datasets by name: those that are registered, and those that a YAML card describes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from zslkit.dataset import Dataset, DatasetSource
from zslkit.datasets import card, imported
from zslkit.datasets.attribute_table import read_class_table
from zslkit.errors import UserError, ZslkitError, did_you_mean
from zslkit.registry import BrokenPlugin, Entry, Registry, is_card
from zslkit.utils.stops import is_stop, told


def check_source(entry: Entry, loaded: Any) -> None:
    """Raises BrokenPlugin, which names the distribution, unless `loaded` is a DatasetSource that can be made."""
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
    """A card's own settings for the section `features`, read without its data. Raises UserError if the card is wrong."""
    return (
        imported.card_defaults(path) if _kind(path) == imported.KIND else card.card_defaults(path)
    )


def read_card(path: Path) -> card.FolderCard | imported.ImportedCard:
    """What the card at `path` says, of whichever kind it is. Raises UserError that names what is wrong with it."""
    return imported.read_card(path) if _kind(path) == imported.KIND else card.read_card(path)


def _kind(path: Path) -> str:
    kinds = ("folder", imported.KIND)
    kind = card.card_settings(path).values.get("kind", "folder")
    if kind not in kinds:
        raise UserError(
            f"{path}: there is no kind of card {kind!r}{did_you_mean(str(kind), kinds)}"
        )
    return str(kind)


def load_dataset(name: str, root: str | Path = "data") -> Dataset:
    """The dataset `name`: a registered one, read below `root`, or the path of a `.yaml` card.

    Raises UnknownName (with a suggestion), NameClash, BrokenPlugin, or DataError that says which file is missing where.
    """
    if is_card(name):
        path = Path(name)
        return (
            imported.load_imported(path) if _kind(path) == imported.KIND else card.load_folder(path)
        )
    entry, dataset = _ask(name, lambda source, entry: source.load(entry.name, Path(root)))
    if not isinstance(dataset, Dataset):
        raise BrokenPlugin(
            entry, f"its load gives {type(dataset).__name__}, and no zslkit.dataset.Dataset"
        )
    return dataset


def attribute_names(name: str, root: str | Path = "data") -> tuple[str, ...]:
    """The attribute names of the dataset `name`, without its images where that can be. Raises what `load_dataset` raises."""
    if is_card(name):
        return read_class_table(
            card.file_of(Path(name), "attributes", read_card(Path(name)).attributes)
        ).attributes
    return tuple(
        _ask(name, lambda source, entry: source.attribute_names(entry.name, Path(root)))[1]
    )


def attribute_words(name: str, root: str | Path = "data") -> dict[str, str]:
    """Attribute name -> plain words, where the dataset `name` says that the name itself is none. Raises what `load_dataset` raises."""
    return (
        {}
        if is_card(name)
        else dict(_ask(name, lambda source, entry: source.attribute_words(Path(root)))[1])
    )


def word_vector_files(name: str, root: str | Path = "data") -> tuple[Path, ...]:
    """Where the dataset `name` looks for word vectors, first found wins; empty if nowhere."""
    if is_card(name):
        named = read_card(Path(name)).word_vectors
        return () if named is None else (card.inside(Path(name), "word_vectors", named),)
    return _ask(name, lambda source, entry: source.word_vector_files(Path(root)))[1]


def _ask(name: str, question: Callable[[DatasetSource, Entry], T]) -> tuple[Entry, T]:
    """The answer of a registered dataset's source; whatever a plugin's raises is told as the plugin's fault."""
    entry, source = DATASETS.load(name)
    try:
        return entry, question(source(), entry)
    except ZslkitError:
        raise
    except BaseException as error:  # a stranger's source may even call exit()
        if entry.built_in or is_stop(error):
            raise
        raise BrokenPlugin(entry, told(error)) from error
