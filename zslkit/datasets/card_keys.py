"""The keys of a card of photos, and reading them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from zslkit.config import Config, FeatureConfig, build
from zslkit.config.merge import Settings, below, merge, read_yaml
from zslkit.config.scalars import as_expected
from zslkit.errors import UserError, did_you_mean
from zslkit.utils.files import recover


class Card(Config):
    """Keys that cards of photos and of imported features share.

    Relative paths start at the folder of the card and must stay inside it; absolute paths are
    allowed.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    title: str = ""
    semantics: Literal["attributes", "sentences"] = Field(
        "attributes", description="what the CSV holds; sentences: embeddings of text"
    )
    groups: dict[str, list[str]] = Field({}, description="attribute group -> attribute names")
    word_vectors: str | None = Field(
        None, description="file of attribute word vectors: .pkl, .npy, .txt, .vec"
    )
    licence: str = ""
    citation: str = ""
    features: dict[str, Any] = Field(
        {}, description="the dataset's own settings for the section features"
    )


class FolderCard(Card):
    """Contents of a card of photos."""

    kind: Literal["folder"] = "folder"
    images: str = Field(
        description=(
            "folder with one folder of images for each class, or a CSV with the columns path, "
            "label and, where wanted, split (trainval, test_seen, test_unseen)"
        )
    )
    attributes: str | None = Field(
        None,
        description=(
            "CSV: a class in each row, its name first; the header names the attributes; needed "
            "unless there are descriptions or image_attributes"
        ),
    )
    descriptions: str | None = Field(
        None,
        description=(
            "CSV (class, description) or text (class: description) with sentences on each class, "
            "beside or instead of attributes"
        ),
    )
    encoder: str = Field(
        "all-MiniLM-L6-v2",
        description="sentence encoder of the descriptions: a model of sentence-transformers",
    )
    image_attributes: str | None = Field(
        None,
        description=(
            "CSV: a photo in each row, its path first, relative to images; the header names the "
            "attributes; attribute metrics are measured against it, and class attributes are "
            "its means unless attributes are given"
        ),
    )
    unseen: list[str] | str | None = Field(
        None,
        description=(
            "names of the unseen classes, or a text file with one a line; needed unless a list "
            "of images states the split"
        ),
    )
    test_seen_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of each seen class's images that is held out as test_seen",
    )
    seed: int = Field(0, ge=0, description="seed of that split")


def card_settings(path: Path) -> Settings:
    """Read the keys of a card of any kind.

    Raises:
        UserError: There is no card at `path`, or it is not YAML.
    """
    path = Path(path)
    recover(path.parent)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no file; name the dataset card itself")
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.yaml") if p.is_file()])
        missing = f"There is no dataset card {path}"
        if near.endswith("?"):
            raise UserError(f"{missing}{near} List registered datasets with: zslkit datasets")
        raise UserError(
            f"{missing}; check the path, or list the registered datasets with: zslkit datasets"
        )
    settings = merge([read_yaml(path)])
    if isinstance(given := settings.values.get("features"), dict):
        read = as_expected(FeatureConfig, given, below("features", settings.texts))
        settings.values["features"] = read
    return settings


def read_card(path: Path) -> FolderCard:
    """Read and validate a card; raises UserError, which names the missing or invalid key."""
    card = build(FolderCard, card_settings(path), str(path))
    check_features(path, card)
    _refuse_idle(path, card)
    return card


def check_features(path: Path, card: Card) -> None:
    """Check the settings that a card has for the section `features`."""
    build(FeatureConfig, Settings(dict(card.features)), f"{path}: features")


def _refuse_idle(path: Path, card: FolderCard) -> None:
    """Check that a card says what its classes are known by, and nothing without effect."""
    attributes = card.attributes is not None or card.image_attributes is not None
    if not attributes and card.descriptions is None:
        raise UserError(
            f"{path} lacks 'attributes'; add it, or descriptions or image_attributes in its place"
        )
    idle = {"encoder"} & card.model_fields_set if card.descriptions is None else set()
    why = "there are no descriptions"
    if not attributes:
        idle = {"groups", "word_vectors", "semantics"} & card.model_fields_set
        why = "they are of attributes, and the card has descriptions alone"
    if idle:
        raise UserError(
            f"{path}: {' and '.join(sorted(idle))} would change nothing, since {why}; remove it"
        )
