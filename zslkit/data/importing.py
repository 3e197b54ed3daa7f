"""Features that other programs made, turned into a dataset: checked first, then converted block by block, then put in place."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from zslkit.data.feature_files import PARTS, Found, open_features, read_numbers, read_split, refuse_transposed
from zslkit.data.import_checks import ClassAttributes, class_attributes, feature_shape, from_zero
from zslkit.data.imported import CARD, KIND, SplitFiles, fingerprint, load_imported
from zslkit.data.own_join import own_class_ids
from zslkit.data.store import SCHEMA, stored_dtype, to_stored
from zslkit.data.stream import file_digest
from zslkit.data.words import read_word_vectors
from zslkit.dataset import Dataset, Index, Split
from zslkit.errors import CannotWrite, DataError, UserError
from zslkit.files import recover, replacing_folder, why
from zslkit.progress import Reporter, Silent
from zslkit.semantics import Semantics


@dataclass(frozen=True)
class Choices:
    """What the user says beside the file. name: of the dataset, by default that of the folder. split, labels, attributes, words:
    files that go before what the features' own file holds. table: att or original_att. like: whose attribute names and groups.
    base: what numbers count from where their range leaves it open. as_labelled: labels are taken as they are, whatever the folders of
    images are called. dtype: of stored maps. again: replace what was imported before.
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


@dataclass(frozen=True)
class Imported:
    """The card, the dataset as it opens, whose file it was, and what was done that is worth knowing."""

    card: Path
    dataset: Dataset
    origin: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    found: Found
    dataset: Dataset
    shape: tuple[int, ...]
    table: ClassAttributes


def import_features(file: Path, to: Path, choices: Choices | None = None, reporter: Reporter | None = None) -> Imported:
    """Convert the features in `file` into a dataset in the folder `to`, which is there whole or not at all.

    Maps become a feature store with their means beside them, pooled features a float32 .npy; memory does not grow with the file.
    Raises UserError or DataError that names the file and what is missing, damaged, ambiguous or contradicts itself.
    """
    file, to, choices, reporter = Path(file), Path(to), choices or Choices(), reporter or Silent()
    name = choices.name or to.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"{name!r} cannot be a dataset's name, which has letters, digits and . _ - only; give one with --name")
    _check_target(to, choices.again)
    with open_features(file) as found:
        plan = _plan(name, found, choices)
        digest = f"sha256:{file_digest(file)}"
        with _whole_folder(to, plan) as folder:
            _write_features(folder, plan, choices.dtype, digest, reporter)
            _write_rest(folder, plan, choices, digest)
    return Imported(to / CARD, load_imported(to / CARD), f"{file.name} ({found.format}, {digest[:23]})", plan.table.notes)


def _check_target(to: Path, again: bool) -> None:
    recover(to)
    if not to.exists() and not to.is_symlink():
        return
    card = to / CARD
    ours = card.is_file() and f"kind: {KIND}" in card.read_text(encoding="utf-8", errors="replace")
    if not ours:
        raise UserError(f"{to} is there already and holds no imported dataset; give another folder with --to")
    if not again:
        raise UserError(f"{to} holds an imported dataset already; --again replaces it")
    _refuse_strangers(to)


_OURS = frozenset(
    [CARD, "attributes.csv", "labels.npy", "word_vectors.npy", "pooled.npy", *(f"{part}.npy" for part in SplitFiles.model_fields)]
)
_OURS_OF_MAPS = frozenset(["manifest.json", "maps.npy", "pooled.npy"])


def _refuse_strangers(to: Path) -> None:
    """Raises UserError if the folder holds anything that no import wrote: all in it would be replaced."""
    for path in sorted(to.iterdir()) if to.is_dir() else []:
        inner = sorted(path.iterdir()) if path.name == "maps" and path.is_dir() and not path.is_symlink() else None
        strange = [p for p in inner if p.name not in _OURS_OF_MAPS or not _is_plain(p)] if inner is not None else []
        if inner is None and not (path.name in _OURS and _is_plain(path)):
            strange = [path]
        if strange:
            raise UserError(
                f"{to} holds {strange[0].relative_to(to)}, which no import wrote, and --again replaces the folder; "
                "move it elsewhere, or give another folder with --to"
            )


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _plan(name: str, found: Found, choices: Choices) -> _Plan:
    """Everything but the features' values, checked."""
    if choices.split is not None:
        split = read_split(choices.split)
        found = replace(
            found, parts=split.parts, tables=split.tables or found.tables, words=split.words if split.words is not None else found.words,
            classes=split.classes or found.classes,
        )  # fmt: skip
        split_from, split_base = choices.split, split.base
    else:
        split_from, split_base = found.path, found.base
    labels_from, labels_base, raw = found.path, found.base, found.labels
    if choices.labels is not None:
        labels_from, labels_base, raw = choices.labels, None, read_numbers(choices.labels, "labels").ravel()
    if raw is None:
        raise DataError(f"{found.path} holds no labels; give them with --labels FILE")
    if lost := [f"{part}_loc" for part in PARTS if part not in found.parts]:
        raise DataError(f"{found.path} comes without {', '.join(lost)}; give the split with --split FILE, such as att_splits.mat")
    assert found.features is not None
    if found.format == "xlsa17":
        refuse_transposed(found.path, "features", found.features.shape, len(raw), "labels", "an image")
    shape = feature_shape(found.path, found.features, len(raw))
    words = found.words
    wide = None if words is None else len(words)
    table = class_attributes(found, choices.attributes, choices.table, choices.like, choices.sentences, wide)
    labels = from_zero(labels_from, "labels", raw, len(table.classes), "classes", choices.base, labels_base)
    notes = table.notes + found.notes
    named = found.classes is not None or choices.attributes is not None
    if found.files is not None and named and not choices.as_labelled:
        labels, said = own_class_ids(found.path, table.classes, labels, found.files)
        notes += said
    table = replace(table, notes=notes)
    parts = _parts(split_from, found, len(labels), choices.base, split_base)
    vectors = _words(found, words, table, choices.words)
    semantics = Semantics(table.values, table.names, {}, vectors, "sentences" if choices.sentences else "attributes")
    stand_in: NDArray[np.float32] = np.broadcast_to(np.float32(0), (len(labels), 1))
    # The dataset's own checks, before an hour goes into a conversion of something that cannot be one.
    return _Plan(found, Dataset(name, table.classes, labels, Split(**parts), semantics, features=stand_in), shape, table)


def _parts(path: Path, found: Found, count: int, base: int | None, stated: int | None) -> dict[str, Index]:
    """The three parts together tell what they count from, since only together they need hold the first or last image."""
    sizes = np.cumsum([found.parts[part].size for part in PARTS])[:-1]
    every = np.concatenate([found.parts[part].ravel() for part in PARTS])
    numbers = from_zero(path, ", ".join(f"{part}_loc" for part in PARTS), every, count, "images", base, stated)
    return {part: np.sort(index) for part, index in zip(PARTS, np.split(numbers, sizes), strict=True)}


def _words(found: Found, words: NDArray[Any] | None, table: ClassAttributes, file: Path | None) -> NDArray[np.float32] | None:
    if file is not None:
        return read_word_vectors(file, table.names)
    if words is None:
        return None
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(words, dtype=np.float32)
    if len(vectors) != len(table.names) or not np.isfinite(vectors).all():
        raise DataError(
            f"{found.path}: w2v_att holds {len(vectors)} vectors for {len(table.names)} attributes, or numbers that are not finite; "
            "give others with --words FILE"
        )
    return vectors


@contextmanager
def _whole_folder(to: Path, plan: _Plan) -> Iterator[Path]:
    """A folder beside `to` that takes its place at the end and is gone if anything fails."""
    try:
        to.resolve().parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(to, lambda: _refuse_strangers(to)) as folder:
            yield folder
    except OSError as error:
        raise CannotWrite(
            f"Importing {plan.found.path} into {to} failed ({why(error)}); free some space or choose another folder"
        ) from error


def _write_features(folder: Path, plan: _Plan, dtype: str, digest: str, reporter: Reporter) -> None:
    kinds = {"pooled": np.dtype("<f4")} if len(plan.shape) == 2 else {"maps": stored_dtype(dtype), "pooled": np.dtype("<f4")}
    room = sum(int(np.prod(plan.shape if kind != "pooled" else plan.shape[:2])) * d.itemsize for kind, d in kinds.items())
    free = shutil.disk_usage(folder).free
    if free < room:
        raise CannotWrite(
            f"{plan.found.path}: the dataset needs {room / 1e6:,.0f} MB and {folder.parent} has {free / 1e6:,.0f} MB left; "
            "free some space or choose another folder"
        )
    home = folder
    if "maps" in kinds:
        home = folder / "maps"
        home.mkdir()
        facts = {"schema": SCHEMA, "key": fingerprint(digest, plan.shape, dtype), "shape": plan.shape, "dtype": dtype}
        source = {"source": plan.found.path.name, "format": plan.found.format, "digest": digest}
        (home / "manifest.json").write_text(json.dumps({**facts, **source}, indent=1), encoding="utf-8")
    files: dict[str, IO[bytes]] = {kind: (home / f"{kind}.npy").open("wb") for kind in kinds}
    try:
        for kind, kept in kinds.items():
            shape = plan.shape if kind == "maps" else plan.shape[:2]
            np.lib.format.write_array_header_1_0(files[kind], {"descr": kept.str, "fortran_order": False, "shape": shape})
        _convert(plan, files, dtype, reporter)
    finally:
        for file in files.values():
            file.close()


def _convert(plan: _Plan, files: dict[str, IO[bytes]], dtype: str, reporter: Reporter) -> None:
    path, stream = plan.found.path, plan.found.features
    assert stream is not None
    done = 0
    with reporter.phase(f"import {path.name}", total=plan.shape[0]) as phase:
        for block in stream.blocks():
            with np.errstate(over="ignore"):
                values = torch.from_numpy(np.require(block, np.float32, ["C", "W"])).view(len(block), *plan.shape[1:])
            if not bool(torch.isfinite(values.sum(dtype=torch.float64))):
                bad = int((~torch.isfinite(values.flatten(1))).any(1).float().argmax())
                raise DataError(f"{path}: the features of image {done + bad} (from 0) hold a number that is not finite; mend them")
            pooled = values
            if "maps" in files:
                pooled = values.mean(dim=(2, 3))
                try:
                    stored = to_stored(values, dtype)
                except DataError as error:
                    raise DataError(f"{path}: a feature is too large for {dtype}; choose --dtype bfloat16 or float32") from error
                files["maps"].write(stored.data.cast("B"))
            files["pooled"].write(pooled.contiguous().numpy().astype("<f4", copy=False).data.cast("B"))
            done += len(block)
            phase.advance(len(block))


def _write_rest(folder: Path, plan: _Plan, choices: Choices, digest: str) -> None:
    dataset, table = plan.dataset, plan.table
    np.save(folder / "labels.npy", dataset.labels)
    for part, index in dataset.split.parts().items():
        np.save(folder / f"{part}.npy", index)
    with (folder / "attributes.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["class", *table.names])
        writer.writerows([name, *map(str, row)] for name, row in zip(table.classes, table.values, strict=True))
    card: dict[str, Any] = {"kind": KIND, "name": dataset.name, "title": choices.title or dataset.name}
    card |= {"pooled": "pooled.npy"} if len(plan.shape) == 2 else {"maps": "maps", "features": {"dtype": choices.dtype}}
    if dataset.semantics.word_vectors is not None:
        np.save(folder / "word_vectors.npy", dataset.semantics.word_vectors)
        card["word_vectors"] = "word_vectors.npy"
    card["semantics"] = dataset.semantics.kind
    card["source"] = {"file": plan.found.path.name, "format": plan.found.format, "digest": digest}
    if table.groups:
        card["groups"] = table.groups
    (folder / CARD).write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=1000), encoding="utf-8")
