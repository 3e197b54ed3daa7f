"""Datasets by name: registered sources and YAML cards, looked up once and handed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from zslkit.dataset import Dataset, DatasetSource
from zslkit.datasets import card, card_keys, imported
from zslkit.datasets.attribute_table import read_class_table
from zslkit.errors import UserError, ZslkitError, did_you_mean
from zslkit.registry import DATASETS, BrokenPlugin, Entry, is_card
from zslkit.utils.stops import error_sentence, is_stop

T = TypeVar("T")


class RegisteredDataset:
    """A dataset of a registered source, which is imported when it is first asked something.

    Attributes:
        word: The name as the user writes it.
        name: The name as records have it, without a distribution.

    Raises:
        UnknownName: No dataset has this name; suggests a similar one.
        NameClash: Two distributions register this name.
        BrokenPlugin: The registered source fails.
    """

    is_card = False

    def __init__(self, word: str) -> None:
        self.word, self.name = word, word.rpartition(":")[2]

    @cached_property
    def _found(self) -> tuple[Entry, type[DatasetSource]]:
        return DATASETS.load(self.word)

    @property
    def entry(self) -> Entry:
        return self._found[0]

    @property
    def source(self) -> type[DatasetSource]:
        return self._found[1]

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Default settings of the section `features`."""
        return self.source.defaults

    @property
    def published_as(self) -> str:
        """Key of the dataset in the tables of published results, "" if it has none."""
        return str(self.source.published_as)

    def made_from(self, owner: Entry) -> bool:
        """Whether this is the registered dataset `owner`, or its class derives from that."""
        kinds = {f"{kind.__module__}:{kind.__qualname__}" for kind in self.source.__mro__}
        return self.entry.name == owner.name or owner.target in kinds

    def place(self, root: str | Path) -> Path:
        """Where the dataset is found again: the data root, or the card."""
        return Path(root)

    def load(self, root: str | Path) -> Dataset:
        """Read the dataset below a data root; raises DataError, which names a missing file."""
        dataset = self._ask(lambda source, entry: source.load(entry.name, Path(root)))
        if not isinstance(dataset, Dataset):
            raise BrokenPlugin(
                self.entry,
                f"its load gives {type(dataset).__name__}, and no zslkit.dataset.Dataset",
            )
        return dataset

    def attribute_names(self, root: Path) -> tuple[str, ...]:
        """Attribute names, without reading the images where possible; errors as `load`."""
        return tuple(self._ask(lambda source, entry: source.attribute_names(entry.name, root)))

    def attribute_words(self, root: Path) -> dict[str, str]:
        """Attribute name -> plain words, for names that are no words; errors as `load`."""
        return dict(self._ask(lambda source, entry: source.attribute_words(root)))

    def word_vector_files(self, root: Path) -> tuple[Path, ...]:
        """Paths at which the dataset looks for word vectors, in order of priority; may be empty."""
        return self._ask(lambda source, entry: source.word_vector_files(root))

    def _ask(self, question: Callable[[DatasetSource, Entry], T]) -> T:
        """Ask the source; raises BrokenPlugin for errors of a plugin's own."""
        entry, source = self._found
        try:
            return question(source(), entry)
        except ZslkitError:
            raise
        except BaseException as error:  # a plugin may even call exit()
            if entry.built_in or is_stop(error):
                raise
            raise BrokenPlugin(entry, error_sentence(error)) from error


class CardDataset:
    """A dataset that a YAML card describes, with what `RegisteredDataset` has.

    Raises:
        UserError: The card is missing or invalid; names the key.
    """

    is_card = True
    published_as = ""

    def __init__(self, word: str) -> None:
        self.word, self.path = word, Path(word)

    @cached_property
    def contents(self) -> card_keys.FolderCard | imported.ImportedCard:
        """The card's keys, read once."""
        kinds = ("folder", imported.KIND)
        kind = card_keys.card_settings(self.path).values.get("kind", "folder")
        if kind not in kinds:
            raise UserError(
                f"{self.path}: there is no kind of card {kind!r}{did_you_mean(str(kind), kinds)}"
            )
        read = imported.read_card if kind == imported.KIND else card_keys.read_card
        return read(self.path)

    @property
    def name(self) -> str:
        return self.contents.name

    @property
    def defaults(self) -> Mapping[str, Any]:
        return self.contents.features

    def made_from(self, owner: Entry) -> bool:
        return False

    def place(self, root: str | Path) -> Path:
        return self.path

    def load(self, root: str | Path) -> Dataset:
        """Read the dataset; raises DataError, which names the card or file that does not fit."""
        if isinstance(self.contents, imported.ImportedCard):
            return imported.load_imported(self.path, self.contents)
        return card.load_folder(self.path, self.contents)

    def attribute_names(self, root: Path) -> tuple[str, ...]:
        table = self.contents.attributes
        if table is None:
            raise UserError(
                f"{self.word} has no table of attributes, so that there are no names to look up; "
                "add the key attributes"
            )
        return read_class_table(card.file_of(self.path, "attributes", table)).attributes

    def attribute_words(self, root: Path) -> dict[str, str]:
        return {}

    def word_vector_files(self, root: Path) -> tuple[Path, ...]:
        named = self.contents.word_vectors
        return () if named is None else (card.inside(self.path, "word_vectors", named),)


NamedDataset = RegisteredDataset | CardDataset
"""A dataset that is named and not read yet."""


def find_dataset(word: str | Path | NamedDataset) -> NamedDataset:
    """The dataset that a name or the path of a `.yaml` card stands for.

    Nothing is read until it is asked for, and then once. A dataset that is found already is
    returned as it is.
    """
    if isinstance(word, NamedDataset):
        return word
    return CardDataset(str(word)) if is_card(word) else RegisteredDataset(str(word))


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
    return find_dataset(name).load(root)
