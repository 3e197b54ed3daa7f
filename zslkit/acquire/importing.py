"""Import of features made by other programs: check, convert block by block, rename into place."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from zslkit.acquire.feature_files import (
    LARGE,
    FoundArrays,
    open_features,
    read_labels,
    read_split,
)
from zslkit.acquire.import_checks import ClassAttributes, class_attributes, from_zero, refuse_odd
from zslkit.acquire.layout import Layout, Order, find_layout
from zslkit.acquire.own_join import own_class_ids
from zslkit.acquire.table_axes import Rows, Undecided, class_counts
from zslkit.dataset import PARTS, Dataset, Index, Split
from zslkit.datasets.attribute_table import alike, refuse_counter, refuse_doubles
from zslkit.datasets.imported import CARD, KIND, SplitFiles, fingerprint, load_imported
from zslkit.errors import CannotWrite, DataError, UserError, did_you_mean, listed
from zslkit.features.damaged_rows import FeatureRows, spans
from zslkit.features.store import SCHEMA, stored_dtype, to_stored
from zslkit.features.told_labels import LabelColumns
from zslkit.readers.faults import Faults
from zslkit.readers.stream import file_digest
from zslkit.readers.word_vectors import read_word_vectors
from zslkit.semantics import Semantics
from zslkit.utils.files import recover, replacing_folder, why
from zslkit.utils.progress import Reporter, Silent


@dataclass(frozen=True)
class Choices:
    """Options of an import.

    Args:
        name: Name of the dataset; the name of its folder by default.
        title: Title of the dataset; its name by default.
        split: File of the split; it has priority over the features' own file, like the next three.
        labels: File of the labels.
        attributes: CSV of the class attributes.
        words: File of the word vectors.
        table: "att" or "original_att".
        like: Shipped dataset whose attribute names and groups are used.
        sentences: Whether the class attributes are sentence embeddings.
        base: First index (0 or 1), where the range of the indices is ambiguous.
        as_labelled: Trust the labels even if the names of the image folders contradict them.
        dtype: Type of stored feature maps.
        again: Replace an earlier import.
        layout: Which axis of the features holds the channels, where the shape is ambiguous.
        table_rows: What the rows of the class attributes are, where the shape is ambiguous.
    """

    name: str | None = None
    title: str = ""
    split: Path | None = None
    labels: Path | None = None
    attributes: Path | None = None
    words: Path | None = None
    table: str | None = None
    like: str | None = None
    sentences: bool = False
    base: int | None = None
    as_labelled: bool = False
    dtype: str = "float16"
    again: bool = False
    layout: Order | None = None
    table_rows: Rows | None = None


@dataclass(frozen=True)
class Imported:
    """Result of an import.

    Args:
        card: Path of the card.
        dataset: The dataset as it opens.
        origin: Source file, its format and digest.
        notes: Notes on what was done.
        warnings: Suspicious features.
    """

    card: Path
    dataset: Dataset
    origin: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """Checked facts of an import, before the features are converted."""

    found: FoundArrays
    dataset: Dataset
    layout: Layout
    table: ClassAttributes
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layout.shape


def import_features(
    file: Path, to: Path, choices: Choices | None = None, reporter: Reporter | None = None
) -> Imported:
    """Convert features into a dataset in the folder `to`; a failure leaves no partial folder.

    Feature maps become a feature store with their means, pooled features a float32 .npy. Memory
    does not grow with the file.

    Args:
        file: File of features.
        to: Folder of the dataset.
        choices: Options.
        reporter: Receives the progress.

    Raises:
        UserError: An option is invalid, or `to` may not be replaced.
        DataError: Names the file and what is missing, damaged, ambiguous or contradictory.
        CannotWrite: There is no room on the disk.
    """
    file, to, choices, reporter = Path(file), Path(to), choices or Choices(), reporter or Silent()
    name = choices.name or to.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(
            f"{name!r} cannot be a dataset's name, which has letters, digits and . _ - only; give "
            "one with --name"
        )
    _check_target(to, choices.again)
    with open_features(file) as found:
        plan = _plan(name, found, choices)
        digest = f"sha256:{file_digest(file)}"
        with _whole_folder(to, plan) as folder:
            rows = _write_features(folder, plan, choices.dtype, digest, reporter)
            _write_rest(folder, plan, choices, digest)
            load_imported(folder / CARD)  # what cannot be opened is not kept
    origin = f"{file.name} ({found.format}, {digest[:23]})"
    return Imported(
        to / CARD,
        load_imported(to / CARD),
        origin,
        plan.notes,
        (*rows.notes(), *alike(plan.table.classes, plan.table.values)),
    )


def _check_target(to: Path, again: bool) -> None:
    """Check that `to` is new, or an earlier import that may be replaced."""
    recover(to)
    if not to.exists() and not to.is_symlink():
        return
    card = to / CARD
    is_import = card.is_file() and f"kind: {KIND}" in card.read_text(
        encoding="utf-8", errors="replace"
    )
    if not is_import:
        raise UserError(
            f"{to} is there already and holds no imported dataset; give another folder with --out"
        )
    if not again:
        raise UserError(f"{to} holds an imported dataset already; --again replaces it")
    _refuse_foreign_files(to)


_OURS = frozenset(
    [
        CARD,
        "attributes.csv",
        "labels.npy",
        "word_vectors.npy",
        "pooled.npy",
        *(f"{part}.npy" for part in SplitFiles.model_fields),
    ]
)
_OURS_OF_MAPS = frozenset(["manifest.json", "maps.npy", "pooled.npy"])


def _refuse_foreign_files(to: Path) -> None:
    """Check that a folder to be replaced holds only files of an import.

    Raises:
        UserError: Names another file in it.
    """
    for path in sorted(to.iterdir()) if to.is_dir() else []:
        inner = (
            sorted(path.iterdir())
            if path.name == "maps" and path.is_dir() and not path.is_symlink()
            else None
        )
        foreign = (
            [p for p in inner if p.name not in _OURS_OF_MAPS or not _is_plain(p)]
            if inner is not None
            else []
        )
        if inner is None and not (path.name in _OURS and _is_plain(path)):
            foreign = [path]
        if foreign:
            raise UserError(
                f"{to} holds {foreign[0].relative_to(to)}, which no import wrote, and --again "
                "replaces the folder; move it elsewhere, or give another folder with --out"
            )


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _plan(name: str, found: FoundArrays, choices: Choices) -> _Plan:
    """Check everything but the values of the features; all faults of the file give one error."""
    split_from, split_base, table_source = found.path, found.base, found
    if choices.split is not None:
        split = read_split(choices.split)
        split_from, split_base = choices.split, split.base
        words = split.words if split.words is not None else found.words
        found = replace(
            found, parts=split.parts, words=words, classes=split.classes or found.classes,
            attributes=split.attributes or found.attributes, tables=split.tables or found.tables,
        )  # fmt: skip
        # Errors name the file of the table, and its format decides the axes.
        table_source = (
            replace(found, path=split.path, format=split.format) if split.tables else found
        )
    labels_from, labels_base, raw = found.path, found.base, found.labels
    if choices.labels is not None:
        labels_from, labels_base, raw = choices.labels, None, read_labels(choices.labels).ravel()
    faults = Faults(found.path)
    if found.features is None:
        faults.add(f"{found.path} holds no {' or '.join(LARGE)}; name the file with the features")
    if raw is None:
        faults.add(f"{found.path} holds no labels; give them with --labels FILE")
    missing = [f"{part}_loc" for part in PARTS if part not in found.parts]
    if missing:
        faults.add(
            f"{found.path} comes without {', '.join(missing)}; give the split with --split FILE, "
            "such as att_splits.mat"
        )
    layout = table = labels = parts = None
    counts = class_counts(raw, labels_base if labels_base is not None else choices.base)
    if found.features is not None and raw is not None:
        with faults.noted():
            layout = find_layout(found.path, found.features, len(raw), choices.layout, found.format)
    if raw is not None and raw.dtype.kind != "U":
        with faults.noted():
            refuse_odd(labels_from, "labels", "classes", raw)
    # After other faults an ambiguous table is no fault of its own: valid labels may decide it.
    with faults.noted(), suppress(*([Undecided] if faults.found else [])):
        named = raw is not None and raw.dtype.kind == "U"
        table = class_attributes(
            table_source,
            choices.attributes,
            choices.table,
            choices.like,
            choices.sentences,
            counts,
            choices.table_rows,
            named,
        )
    if raw is not None and table is not None:
        with faults.noted():
            labels = _labels(labels_from, raw, table, choices.base, labels_base)
    if raw is not None and not missing:
        with faults.noted():
            parts = _parts(split_from, found, len(raw), choices.base, split_base)
    unused = f"not read: {listed(found.unused, 12)}" if found.unused else ""
    faults.warn(f"; {unused}" if unused else "")
    assert (
        found.features is not None
        and layout is not None
        and table is not None
        and labels is not None
        and parts is not None
    )
    notes = [
        *table.notes,
        *filter(None, [layout.note(found.features.shape), unused]),
    ]
    notes += found.notes
    if (
        found.files is not None
        and (found.classes is not None or choices.attributes is not None)
        and not choices.as_labelled
    ):
        labels, join_notes = own_class_ids(found.path, table.classes, labels, found.files)
        notes += join_notes
    refuse_doubles(found.path, "attribute", table.names)
    refuse_doubles(found.path, "class", table.classes)
    refuse_counter(choices.attributes or table_source.path, table.names, table.values)
    vectors = _words(found, table, choices)
    semantics = Semantics(
        table.values, table.names, {}, vectors, "sentences" if choices.sentences else "attributes"
    )
    stand_in: NDArray[np.float32] = np.broadcast_to(np.float32(0), (len(labels), 1))
    # Dataset checks its parts here, before the conversion, which may take an hour.
    dataset = Dataset(name, table.classes, labels, Split(**parts), semantics, features=stand_in)
    return _Plan(found, dataset, layout, table, tuple(notes))


def _labels(
    path: Path, raw: NDArray[Any], table: ClassAttributes, base: int | None, stated: int | None
) -> Index:
    """Class ids (N,) of labels that are numbers or class names."""
    if raw.dtype.kind != "U":
        return from_zero(path, "labels", raw, len(table.classes), "classes", base, stated)
    number = {name.strip(): k for k, name in enumerate(table.classes)}
    named = [str(label).strip() for label in raw]
    if unknown := sorted(set(named) - set(number)):
        raise DataError(
            f"{path}: labels are names, and {len(unknown)} of them are no class of the class "
            f"attributes ({unknown[0]!r}){did_you_mean(unknown[0], number)}"
        )
    return np.array([number[label] for label in named], dtype=np.int64)


def _parts(
    path: Path, found: FoundArrays, count: int, base: int | None, stated: int | None
) -> dict[str, Index]:
    """0-based image indices of each part of the split.

    The parts share one base, and only together need they contain the first or last image.
    """
    for part in PARTS:
        refuse_odd(path, f"{part}_loc", "images", found.parts[part].ravel())
    sizes = np.cumsum([found.parts[part].size for part in PARTS])[:-1]
    every = np.concatenate([found.parts[part].ravel() for part in PARTS])
    numbers = from_zero(
        path, ", ".join(f"{part}_loc" for part in PARTS), every, count, "images", base, stated
    )
    return {
        part: np.sort(index) for part, index in zip(PARTS, np.split(numbers, sizes), strict=True)
    }


def _words(
    found: FoundArrays, table: ClassAttributes, choices: Choices
) -> NDArray[np.float32] | None:
    """Word vectors (A, W) of the attributes, None if there are none."""
    if choices.words is not None:
        return read_word_vectors(choices.words, table.names)
    if found.words is None:
        return None
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(found.words, dtype=np.float32)
    names = None if found.attributes is None else [name.strip() for name in found.attributes]
    if choices.attributes is not None and names is not None and len(names) == len(vectors):
        row = {name: k for k, name in enumerate(names)}
        if missing := [name for name in table.names if name not in row]:
            raise DataError(
                f"{choices.attributes}: w2v_att in {found.path} has no vector of {len(missing)} "
                f"attributes ({missing[0]!r}){did_you_mean(missing[0], row)}"
            )
        vectors = vectors[[row[name] for name in table.names]]
    if len(vectors) != len(table.names) or not np.isfinite(vectors).all():
        raise DataError(
            f"{found.path}: w2v_att holds {len(vectors)} vectors for {len(table.names)} "
            "attributes, or numbers that are not finite; give others with --words FILE"
        )
    return vectors


@contextmanager
def _whole_folder(to: Path, plan: _Plan) -> Iterator[Path]:
    """Temporary folder that replaces `to` at the end, and is deleted if anything fails."""
    try:
        to.resolve().parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(to, lambda: _refuse_foreign_files(to)) as folder:
            yield folder
    except OSError as error:
        raise CannotWrite(
            f"Importing {plan.found.path} into {to} failed ({why(error)}); free some space or "
            "choose another folder"
        ) from error


def _write_features(
    folder: Path, plan: _Plan, dtype: str, digest: str, reporter: Reporter
) -> FeatureRows:
    """Write the features to `folder`, after a check for room on the disk."""
    kinds = (
        {"pooled": np.dtype("<f4")}
        if len(plan.shape) == 2
        else {"maps": stored_dtype(dtype), "pooled": np.dtype("<f4")}
    )
    needed = sum(
        int(np.prod(plan.shape if kind != "pooled" else plan.shape[:2])) * d.itemsize
        for kind, d in kinds.items()
    )
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CannotWrite(
            f"{plan.found.path}: the dataset needs {needed / 1e6:,.0f} MB and {folder.parent} has "
            f"{free / 1e6:,.0f} MB left; free some space or choose another folder"
        )
    home = folder
    if "maps" in kinds:
        home = folder / "maps"
        home.mkdir()
        key = fingerprint(digest, plan.shape, dtype, plan.layout.key)
        facts = {"schema": SCHEMA, "key": key, "shape": plan.shape, "dtype": dtype}
        source = {
            "source": plan.found.path.name,
            "format": plan.found.format,
            "digest": digest,
            "layout": plan.layout.key,
        }
        (home / "manifest.json").write_text(
            json.dumps({**facts, **source}, indent=1), encoding="utf-8"
        )
    files: dict[str, IO[bytes]] = {kind: (home / f"{kind}.npy").open("wb") for kind in kinds}
    try:
        for kind, kept in kinds.items():
            shape = plan.shape if kind == "maps" else plan.shape[:2]
            np.lib.format.write_array_header_1_0(
                files[kind], {"descr": kept.str, "fortran_order": False, "shape": shape}
            )
        return _convert(plan, files, dtype, reporter)
    finally:
        for file in files.values():
            file.close()


def _convert(
    plan: _Plan, files: dict[str, IO[bytes]], dtype: str, reporter: Reporter
) -> FeatureRows:
    """Convert the features block by block."""
    path, stream = plan.found.path, plan.found.features
    assert stream is not None
    rows, told = FeatureRows(), LabelColumns(plan.dataset.labels)
    with reporter.phase(f"import {path.name}", total=plan.shape[0]) as phase:
        for block in stream.blocks():
            with np.errstate(over="ignore"):
                values = plan.layout.turn(
                    torch.from_numpy(np.require(block, np.float32, ["C", "W"]))
                )
            means = values.mean(dim=(2, 3)) if "maps" in files else None
            told.add((values if means is None else means).numpy())
            # After a damaged block nothing more is written; the rest is only checked.
            if not rows.add(values, means) and not rows.broken:
                _write_block(path, values, means, files, dtype)
            phase.advance(len(block))
    if rows.broken:
        raise DataError(
            f"{path}: the features of {len(rows.broken)} of {rows.count} images hold a number "
            f"that is not finite ({spans(rows.broken)}); mend or extract them again"
        )
    if fault := told.fault():
        raise DataError(f"{path}: {fault}")
    return rows


def _write_block(
    path: Path,
    values: torch.Tensor,
    means: torch.Tensor | None,
    files: dict[str, IO[bytes]],
    dtype: str,
) -> None:
    if means is not None:
        try:
            stored = to_stored(values, dtype)
        except DataError as error:
            raise DataError(
                f"{path}: a feature is too large for {dtype}; choose --dtype bfloat16 or float32"
            ) from error
        files["maps"].write(stored.data.cast("B"))
    pooled = values if means is None else means
    files["pooled"].write(pooled.contiguous().numpy().astype("<f4", copy=False).data.cast("B"))


def _write_rest(folder: Path, plan: _Plan, choices: Choices, digest: str) -> None:
    """Write labels, split, class attributes, word vectors and the card."""
    dataset, table = plan.dataset, plan.table
    np.save(folder / "labels.npy", dataset.labels)
    for part, index in dataset.split.parts().items():
        np.save(folder / f"{part}.npy", index)
    with (folder / "attributes.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["class", *table.names])
        writer.writerows(
            [name, *map(str, row)] for name, row in zip(table.classes, table.values, strict=True)
        )
    card: dict[str, Any] = {
        "kind": KIND,
        "name": dataset.name,
        "title": choices.title or dataset.name,
    }
    card |= (
        {"pooled": "pooled.npy"}
        if len(plan.shape) == 2
        else {"maps": "maps", "features": {"dtype": choices.dtype}}
    )
    if dataset.semantics.word_vectors is not None:
        np.save(folder / "word_vectors.npy", dataset.semantics.word_vectors)
        card["word_vectors"] = "word_vectors.npy"
    card["semantics"] = dataset.semantics.kind
    card["source"] = {"file": plan.found.path.name, "format": plan.found.format, "digest": digest}
    if table.groups:
        card["groups"] = table.groups
    (folder / CARD).write_text(
        yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=1000), encoding="utf-8"
    )
