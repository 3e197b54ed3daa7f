"""List of images: a CSV with the path and class of each photo, and where wanted its set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from zslkit.dataset import PARTS, Index, Split
from zslkit.errors import DataError, did_you_mean, listed
from zslkit.readers.csv_file import read_csv
from zslkit.readers.names import match, refuse_clash, same_name, shown, some

_NEEDED = ("path", "label")
_SPLIT = "split"
_ALIKE = {
    "path": ("file", "filename", "image", "image_path", "photo", "name", "img"),
    "label": ("class", "category", "species", "target", "classname"),
    "split": ("part", "set", "subset", "partition", "fold", "splits"),
}
"""Column -> other common names of it, for the hint of an error."""
_SET_WORDS = frozenset({*PARTS, "train", "val", "valid", "validation", "test", "training"})


@dataclass(frozen=True)
class ImageList:
    """Photos of a list, in the order of the file."""

    file: Path
    paths: tuple[str, ...]  # N paths relative to the folder of the list, with "/" as separator
    labels: tuple[str, ...]  # N class names as written
    parts: tuple[str, ...]  # N parts of the split; empty if the list has no column of them
    lines: tuple[int, ...]
    unread: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        """The folder at which paths start."""
        return self.file.parent

    def classes(self) -> list[str]:
        """The class names, each once, sorted."""
        return sorted(set(self.labels))

    def classes_in(self, *parts: str) -> list[str]:
        """Names of the classes with photos in these parts of the split, sorted."""
        return sorted({c for c, part in zip(self.labels, self.parts, strict=True) if part in parts})

    def split(self) -> Split:
        """The split that the list states."""
        named = np.array(self.parts)
        return Split(*(np.flatnonzero(named == part) for part in PARTS))

    def ids(self, classes: Sequence[str]) -> Index:
        """Labels (N,) as places in `classes`; raises DataError if one is none of them."""
        joined = match(self.labels, classes)
        number = {c: k for k, c in enumerate(classes)}
        if unknown := sorted(set(self.labels) - set(joined)):
            raise DataError(
                f"{self.file}: {len(unknown)} of its classes have no row in the attributes or "
                f"descriptions of the card ({some(unknown)}){did_you_mean(unknown[0], classes)}"
            )
        return np.array([number[joined[c]] for c in self.labels], dtype=np.int64)


def read_image_list(path: Path) -> ImageList:
    """Read a list with the columns path, label and, where wanted, split.

    Paths are relative to the folder of the list and stay in it. Photos are found also where the
    list spells a name in other Unicode characters or capitals than the disk.

    Raises:
        DataError: Names the line of a photo that is missing, stands twice or leads out of the
            folder, of an unknown part of the split, or of a class that is seen and unseen.
    """
    header, rows = _table(path)
    column = _columns(path, header, [cells for _, cells in rows])
    lines = tuple(line for line, _ in rows)
    labels = tuple(cells[column["label"]] for _, cells in rows)
    refuse_clash(path, "classes", dict.fromkeys(labels))
    parts: tuple[str, ...] = ()
    if _SPLIT in column:
        parts = tuple(_part(path, line, cells[column[_SPLIT]]) for line, cells in rows)
    written = [cells[column["path"]] for _, cells in rows]
    for line, photo, label in zip(lines, written, labels, strict=True):
        if not photo or not label:
            raise DataError(
                f"{path}, line {line}: the {'label' if photo else 'path'} is empty; write it"
            )
    unread = tuple(name for k, name in enumerate(header) if name and k not in column.values())
    found = ImageList(path, _photos(path, lines, written), labels, parts, lines, unread)
    _refuse_twice(found)
    if parts:
        _refuse_mixed(found)
    return found


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows, all of the same width."""
    rows = read_csv(path, "a list of images")
    if len(rows) < 2:
        raise DataError(
            f"{path}: a list of images has the header path,label and a line for each photo; this "
            "has not"
        )
    (_, header), *rows = rows
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: it has {len(cells)} cells and the header {len(header)}; "
                "mend that line (a name that holds a comma stands in quotes)"
            )
    return header, rows


def _columns(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """Place of each known column."""
    refuse_clash(path, "columns", [name for name in header if name])
    joined = match((*_NEEDED, _SPLIT), header)
    column = {name: header.index(joined[name]) for name in (*_NEEDED, _SPLIT) if name in joined}
    free = [name for name in header if header.index(name) not in column.values()]
    meant = {
        name: near
        for name in (*_NEEDED, _SPLIT)
        if name not in column
        and (near := next((one for one in free if same_name(one) in _ALIKE[name]), ""))
    }
    # A column of sets under another name would be ignored, and the split drawn instead.
    for name in free if _SPLIT not in column else ():
        words = {same_name(cells[header.index(name)]) for cells in rows}
        if words <= _SET_WORDS | {""} and words & _SET_WORDS:
            meant[_SPLIT] = name
    if not meant and all(name in column for name in _NEEDED):
        return column
    missing = [name for name in _NEEDED if name not in column]
    hint = ", ".join(f"{shown(near)} to {name}" for name, near in meant.items())
    what = f"the list has no column {' and no column '.join(missing)}"
    if not missing:
        seems = f"the column {shown(meant[_SPLIT])} seems to hold the split"
        what = f"{seems}, which is read from the column split"
    raise DataError(
        f"{path}: {what}; its columns are {listed([*map(shown, header)], 8)}"
        + (f"; rename {hint}" if hint else "; a list has the columns path, label and perhaps split")
    )


def _part(path: Path, line: int, cell: str) -> str:
    if not cell:
        raise DataError(
            f"{path}, line {line}: the split is empty; write trainval, test_seen or test_unseen, "
            "or take the column away and name the unseen classes in the card"
        )
    part = match([cell], PARTS).get(cell)
    if part is None:
        raise DataError(
            f"{path}, line {line}: there is no part of a split {shown(cell)}"
            f"{did_you_mean(cell, PARTS)}"
        )
    return part


def _photos(path: Path, lines: Sequence[int], written: Sequence[str]) -> tuple[str, ...]:
    """Path of each photo as the disk spells it."""
    home, spelled = path.parent, _Spelling(path.parent)
    root = os.path.realpath(home)
    found: list[str] = []
    missing: list[str] = []
    for line, text in zip(lines, written, strict=True):
        photo = PurePosixPath(text)
        windows = PureWindowsPath(text)
        if "\0" in text:
            raise DataError(f"{path}, line {line}: {shown(text)} is no path; mend that line")
        if windows.root:  # C:\\x, \\x and /x alike
            raise DataError(
                f"{path}, line {line}: {shown(text)} is an absolute path; write it relative to "
                f"the folder of the list, {home}"
            )
        if ".." in photo.parts or ".." in windows.parts:
            raise DataError(
                f"{path}, line {line}: {shown(text)} leads out of the folder of the list, {home}; "
                "put the list beside or above its photos"
            )
        real = next((one for one in (photo, windows.as_posix()) if spelled.find(str(one))), None)
        if real is None:
            missing.append(f"{shown(text)} on line {line}")
            continue
        found.append(spelled.find(str(real)))
        if not Path(os.path.realpath(home / found[-1])).is_relative_to(root):
            raise DataError(
                f"{path}, line {line}: {shown(text)} is a link that leads out of {home}; copy the "
                "photo into the folder"
            )
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(lines)} photos are not there "
            f"({listed(missing, 3)}); paths are relative to the folder of the list, {home}"
        )
    return tuple(found)


class _Spelling:
    """Finds files whose names the disk spells in other characters of the same look, or capitals."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.names: dict[str, list[str]] = {}

    def find(self, path: str) -> str:
        """Path of the file as the disk spells it, "" if there is none."""
        if os.path.isfile(self.home / path):
            return PurePosixPath(path).as_posix()
        there = ""
        for name in PurePosixPath(path).parts:
            spelled = match([name], self._in(there)).get(name)
            if spelled is None:
                return ""
            there = f"{there}/{spelled}" if there else spelled
        return there if os.path.isfile(self.home / there) else ""

    def _in(self, folder: str) -> list[str]:
        if folder not in self.names:
            try:
                self.names[folder] = os.listdir(self.home / folder)
            except OSError:
                self.names[folder] = []
        return self.names[folder]


def _refuse_twice(found: ImageList) -> None:
    """Check that no photo stands twice, also by a link."""
    first: dict[str, int] = {}
    for k, photo in enumerate(found.paths):
        i = first.setdefault(os.path.realpath(found.home / photo), k)
        if i == k:
            continue
        if found.labels[i] != found.labels[k]:
            how = f"under two classes, {shown(found.labels[i])} and {shown(found.labels[k])}"
        elif found.parts and found.parts[i] != found.parts[k]:
            how = f"in two sets, {found.parts[i]} and {found.parts[k]}"
        else:
            how = "twice"
        name = f"the photo {shown(photo)} stands"
        if photo != found.paths[i]:
            name = f"{shown(found.paths[i])} and {shown(photo)} are one file and stand"
        raise DataError(
            f"{found.file}: {name} {how} (lines {found.lines[i]} and {found.lines[k]}); leave one "
            "line"
        )


def _refuse_mixed(found: ImageList) -> None:
    """Check that every part has photos, and that no class is seen and unseen."""
    if empty := [part for part in PARTS if part not in found.parts]:
        raise DataError(
            f"{found.file}: no photo is in {' and none in '.join(empty)}; a split has photos in "
            f"{', '.join(PARTS)}"
        )
    trained = set(found.classes_in("trainval"))
    if both := sorted(trained & set(found.classes_in("test_unseen"))):
        raise DataError(
            f"{found.file}: {len(both)} classes have photos in trainval and in test_unseen "
            f"({some(both)}); an unseen class has none in trainval"
        )
    if strange := sorted(set(found.classes_in("test_seen")) - trained):
        raise DataError(
            f"{found.file}: {len(strange)} classes have photos in test_seen and none in trainval "
            f"({some(strange)}); a seen class is trained on, and photos of an unseen one are in "
            "test_unseen"
        )
