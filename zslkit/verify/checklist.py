"""Is a dataset what it should be? Named checks, each with a verdict, on whatever of it is there."""

from __future__ import annotations

from pathlib import Path

from zslkit.errors import DataError
from zslkit.utils.progress import Reporter
from zslkit.verify.checks import CHECKS, DatasetCheck
from zslkit.verify.checks_images import image_checks
from zslkit.verify.material import DatasetFiles, gather_files


def verify(name: str, root: Path, reporter: Reporter, images: bool = True) -> list[DatasetCheck]:
    """All checks of the dataset `name` (registered, or the path of a card). images: whether to open them.

    A dataset that cannot be read has one check, a fault. Raises UnknownName, NameClash or BrokenPlugin.
    """
    try:
        material = gather_files(name, root)
    except DataError as error:
        return [DatasetCheck("read", "fault", str(error))]
    return examine(material, reporter, images)


def examine(m: DatasetFiles, reporter: Reporter, images: bool = True) -> list[DatasetCheck]:
    """All checks of what was gathered."""
    return [_checked(m, name) for name in CHECKS] + [*image_checks(m, reporter, images)]


def _checked(m: DatasetFiles, name: str) -> DatasetCheck:
    if name in m.found_faults:
        return DatasetCheck(name, "fault", m.found_faults[name])
    verdict, text, *items = CHECKS[name](m)
    return DatasetCheck(name, verdict, text, tuple(items[0]) if items else ())
