"""Entry point of `zslkit data verify`: runs all checks of a dataset, even if files are missing."""

from __future__ import annotations

from pathlib import Path

from zslkit.errors import DataError
from zslkit.utils.progress import Reporter
from zslkit.verify.checks import CHECKS, DatasetCheck
from zslkit.verify.checks_images import image_checks
from zslkit.verify.material import DatasetFiles, gather_files


def verify(name: str, root: Path, reporter: Reporter, images: bool = True) -> list[DatasetCheck]:
    """Run all checks of a dataset; one that cannot be read gives a single fault.

    Args:
        name: Name of a registered dataset, or path of a card.

    Raises:
        UnknownName: No dataset has this name.
        NameClash: Two distributions register this name.
        BrokenPlugin: The registered source fails.
    """
    try:
        material = gather_files(name, root)
    except DataError as error:
        return [DatasetCheck("read", "fault", str(error))]
    return examine(material, reporter, images)


def examine(m: DatasetFiles, reporter: Reporter, images: bool = True) -> list[DatasetCheck]:
    """Run all checks of gathered files."""
    return [_checked(m, name) for name in CHECKS] + [*image_checks(m, reporter, images)]


def _checked(m: DatasetFiles, name: str) -> DatasetCheck:
    if name in m.found_faults:
        return DatasetCheck(name, "fault", m.found_faults[name])
    verdict, text, *items = CHECKS[name](m)
    return DatasetCheck(name, verdict, text, tuple(items[0]) if items else ())
