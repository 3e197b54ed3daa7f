"""Is a dataset what it should be? Named checks, each with a verdict, on whatever of it is there."""

from __future__ import annotations

from pathlib import Path

from zslkit.errors import DataError
from zslkit.utils.progress import Reporter
from zslkit.verify.checks import CHECKS, Check
from zslkit.verify.checks_images import image_checks
from zslkit.verify.material import Material, gather


def verify(name: str, root: Path, reporter: Reporter, images: bool = True) -> list[Check]:
    """All checks of the dataset `name` (registered, or the path of a card). images: whether to open them.

    A dataset that cannot be read has one check, a fault. Raises UnknownName, NameClash or BrokenPlugin.
    """
    try:
        material = gather(name, root)
    except DataError as error:
        return [Check("read", "fault", str(error))]
    return examine(material, reporter, images)


def examine(m: Material, reporter: Reporter, images: bool = True) -> list[Check]:
    """All checks of what was gathered."""
    return [_checked(m, name) for name in CHECKS] + [*image_checks(m, reporter, images)]


def _checked(m: Material, name: str) -> Check:
    if name in m.found_faults:
        return Check(name, "fault", m.found_faults[name])
    verdict, text, *items = CHECKS[name](m)
    return Check(name, verdict, text, tuple(items[0]) if items else ())
