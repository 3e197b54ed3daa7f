"""Import of features made by other programs: check, convert block by block, rename into place."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from zslkit.acquire.class_join import own_class_ids
from zslkit.acquire.feature_files import LARGE, FoundArrays, open_features, read_labels, read_split
from zslkit.acquire.import_checks import class_counts, class_ids, refuse_odd, split_parts
from zslkit.acquire.import_classes import (
    Choices,
    ClassAttributes,
    attribute_vectors,
    class_attributes,
)
from zslkit.acquire.layout import Layout, Undecided, find_layout
from zslkit.dataset import PARTS, Dataset, Split
from zslkit.datasets.attribute_table import alike, refuse_counter, refuse_doubles, refuse_side
from zslkit.datasets.catalog import load_dataset
from zslkit.datasets.imported import CARD, KIND, SplitFiles, fingerprint
from zslkit.errors import CannotWrite, DataError, UserError, listed
from zslkit.features.damaged_rows import FeatureRows, spans
from zslkit.features.store import SCHEMA, stored_dtype, to_stored
from zslkit.features.told_labels import LabelColumns
from zslkit.readers.faults import Faults, writing
from zslkit.readers.stream import Stream, file_digest
from zslkit.semantics import Semantics
from zslkit.utils.files import recover, replacing_folder
from zslkit.utils.progress import Reporter, Silent


@dataclass(frozen=True)
class Imported:
    """Result of an import; `warnings` are on suspicious features."""

    card: Path
    dataset: Dataset
    origin: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """Checked facts of an import, before the features are converted."""

    found: FoundArrays
    features: Stream
    dataset: Dataset
    layout: Layout
    table: ClassAttributes
    notes: tuple[str, ...]


def import_features(
    file: Path, to: Path, choices: Choices | None = None, reporter: Reporter | None = None
) -> Imported:
    """Convert features into a dataset in the folder `to`; a failure leaves no partial folder.

    Feature maps become a feature store with their means, pooled features a float32 .npy. Memory
    does not grow with the file.

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
        with _whole_folder(to, file) as folder:
            rows = _write_features(folder, plan, choices.dtype, digest, reporter)
            _write_rest(folder, plan, choices, digest)
            load_dataset(folder / CARD)  # what cannot be opened is not kept
    made = load_dataset(to / CARD)
    origin = f"{file.name} ({found.format}, {digest[:23]})"
    return Imported(
        to / CARD,
        made,
        origin,
        plan.notes,
        (*rows.notes(), *alike(plan.table.classes, plan.table.values), *made.notes),
    )


def _check_target(to: Path, again: bool) -> None:
    """Check that `to` is new, or an earlier import that may be replaced."""
    recover(to)
    if not to.exists() and not to.is_symlink():
        return
    card = to / CARD
    if not card.is_file() or f"kind: {KIND}" not in card.read_text("utf-8", errors="replace"):
        raise UserError(
            f"{to} is there already and holds no imported dataset; give another folder with --out"
        )
    if not again:
        raise UserError(f"{to} holds an imported dataset already; --again replaces it")
    _refuse_foreign_files(to)


_OURS = frozenset(
    [
        *(CARD, "attributes.csv", "labels.npy", "word_vectors.npy", "pooled.npy"),
        *(f"{part}.npy" for part in SplitFiles.model_fields),
        *(f"maps/{name}" for name in ("manifest.json", "maps.npy", "pooled.npy")),
    ]
)


def _refuse_foreign_files(to: Path) -> None:
    """Raise UserError if a folder to be replaced holds a file that is not of an import."""
    for path in sorted(to.rglob("*")) if to.is_dir() else []:
        name = path.relative_to(to).as_posix()
        ours = path.is_dir() if name == "maps" else path.is_file() and name in _OURS
        if path.is_symlink() or not ours:
            raise UserError(
                f"{to} holds {name}, which no import wrote, and --again replaces the folder; move "
                "it elsewhere, or give another folder with --out"
            )


def _plan(name: str, found: FoundArrays, choices: Choices) -> _Plan:
    """Check everything but the values of the features; all faults of the file give one error."""
    split = table_source = found
    if choices.split is not None:
        split = read_split(choices.split)
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
    named = raw is not None and raw.dtype.kind == "U"
    faults = Faults(found.path)
    if found.features is None:
        faults.add(f"{found.path} holds no {' or '.join(LARGE)}; name the file with the features")
    if raw is None:
        faults.add(f"{found.path} holds no labels; give them with --labels FILE")
    if missing := [f"{part}_loc" for part in PARTS if part not in found.parts]:
        faults.add(
            f"{found.path} comes without {', '.join(missing)}; give the split with --split FILE, "
            "such as att_splits.mat"
        )
    layout = table = labels = parts = None
    counts = class_counts(raw, labels_base if labels_base is not None else choices.base)
    if found.features is not None and raw is not None:
        with faults.noted():
            layout = find_layout(found.path, found.features, len(raw), choices.layout, found.format)
    if raw is not None and not named:
        with faults.noted():
            refuse_odd(labels_from, "labels", "classes", raw)
    # After other faults an ambiguous table is no fault of its own: valid labels may decide it.
    with faults.noted(), suppress(*([Undecided] if faults.found else [])):
        table = class_attributes(table_source, choices, counts, named)
    if raw is not None and table is not None:
        with faults.noted():
            labels = class_ids(labels_from, raw, table.classes, choices.base, labels_base)
    if raw is not None and not missing:
        with faults.noted():
            parts = split_parts(split.path, found.parts, len(raw), choices.base, split.base)
    unused = f"not read: {listed(found.unused, 12)}" if found.unused else ""
    faults.warn(f"; {unused}" if unused else "")
    assert found.features is not None and layout is not None and table is not None
    assert labels is not None and parts is not None
    read_as = layout.note(found.features.shape)
    notes = [*table.notes, *filter(None, [read_as, unused]), *found.notes]
    has_names = found.classes is not None or choices.attributes is not None
    if found.files is not None and has_names and not choices.as_labelled:
        labels, join_notes = own_class_ids(found.path, table.classes, labels, found.files)
        notes += join_notes
    refuse_doubles(found.path, "attribute", table.names)
    refuse_doubles(found.path, "class", table.classes)
    refuse_counter(choices.attributes or table_source.path, table.names, table.values)
    sides = (labels[parts[part]] for part in ("trainval", "test_unseen"))
    refuse_side(choices.attributes or table_source.path, table.names, table.values, *sides)
    kind = "sentences" if choices.sentences else "attributes"
    vectors = attribute_vectors(found, table, choices)
    semantics = Semantics(table.values, table.names, {}, vectors, kind)
    stand_in: NDArray[np.float32] = np.broadcast_to(np.float32(0), (len(labels), 1))
    # Dataset checks its parts here, before the conversion, which may take an hour.
    dataset = Dataset(name, table.classes, labels, Split(**parts), semantics, features=stand_in)
    if idle := len(labels) - sum(map(len, parts.values())):
        notes.append(f"{idle} of {len(labels)} images are in no part of the split and not used")
    return _Plan(found, found.features, dataset, layout, table, tuple(notes))


@contextmanager
def _whole_folder(to: Path, file: Path) -> Iterator[Path]:
    """Temporary folder that replaces `to` at the end, and is deleted if anything fails."""
    mend = "free some space or choose another folder"
    with writing(f"Importing {file} into {to} failed", mend):
        to.resolve().parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(to, lambda: _refuse_foreign_files(to)) as folder:
            yield folder


def _write_features(
    folder: Path, plan: _Plan, dtype: str, digest: str, reporter: Reporter
) -> FeatureRows:
    """Write the features to `folder`, after a check for room on the disk."""
    path, shape = plan.found.path, plan.layout.shape
    arrays = {"pooled": (shape[:2], np.dtype("<f4"))}
    if len(shape) == 4:
        arrays["maps"] = (shape, stored_dtype(dtype))
    needed = sum(math.prod(sides) * kept.itemsize for sides, kept in arrays.values())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CannotWrite(
            f"{path}: the dataset needs {needed / 1e6:,.0f} MB and {folder.parent} has "
            f"{free / 1e6:,.0f} MB left; free some space or choose another folder"
        )
    home = folder
    if "maps" in arrays:
        home = folder / "maps"
        home.mkdir()
        manifest = {
            "schema": SCHEMA,
            "key": fingerprint(digest, shape, dtype, plan.layout.key),
            "shape": shape,
            "dtype": dtype,
            "source": path.name,
            "format": plan.found.format,
            "digest": digest,
            "layout": plan.layout.key,
        }
        (home / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        for kind, (sides, kept) in arrays.items():
            files[kind] = stack.enter_context((home / f"{kind}.npy").open("wb"))
            np.lib.format.write_array_header_1_0(
                files[kind], {"descr": kept.str, "fortran_order": False, "shape": sides}
            )
        return _convert(plan, files, dtype, reporter)


def _convert(
    plan: _Plan, files: dict[str, IO[bytes]], dtype: str, reporter: Reporter
) -> FeatureRows:
    """Convert the features block by block."""
    path, rows, told = plan.found.path, FeatureRows(), LabelColumns(plan.dataset.labels)
    with reporter.phase(f"import {path.name}", total=plan.layout.shape[0]) as phase:
        for block in plan.features.blocks():
            with np.errstate(over="ignore"):
                floats = np.require(block, np.float32, ["C", "W"])
            values = plan.layout.turn(torch.from_numpy(floats))
            means = values.mean(dim=(2, 3)) if "maps" in files else None
            pooled = values if means is None else means
            told.add(pooled.numpy())
            # After a damaged block nothing more is written; the rest is only checked.
            if not rows.add(values, means) and not rows.broken:
                files["pooled"].write(_bytes(pooled.contiguous().numpy().astype("<f4", copy=False)))
                if means is not None:
                    try:
                        files["maps"].write(_bytes(to_stored(values, dtype)))
                    except DataError as error:
                        raise DataError(
                            f"{path}: a feature is too large for {dtype}; choose --dtype bfloat16 "
                            "or float32"
                        ) from error
            phase.advance(len(block))
    if rows.broken:
        raise DataError(
            f"{path}: the features of {len(rows.broken)} of {rows.count} images hold a number "
            f"that is not finite ({spans(rows.broken)}); mend or extract them again"
        )
    if fault := told.fault():
        raise DataError(f"{path}: {fault}")
    return rows


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.data.cast("B")


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
    card: dict[str, Any] = {"kind": KIND, "name": dataset.name}
    card["title"] = choices.title or dataset.name
    if len(plan.layout.shape) == 2:
        card["pooled"] = "pooled.npy"
    else:
        card |= {"maps": "maps", "features": {"dtype": choices.dtype}}
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
