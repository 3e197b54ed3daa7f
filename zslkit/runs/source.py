"""Digests of a model's source files: was a finished run made by the code installed now?

Counts the model's module and everything that it imports from its own distribution, anywhere in the
file. The harness does not count; its version and commit are in the record.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from pathlib import Path
from typing import Final

from zslkit.registry import Entry

HARNESS: Final = "zslkit"
CHANGED: Final = "changed"
"""Replaces the digest of a module that changed between two starts of a run."""


_READ: dict[tuple[Entry, type], dict[str, str]] = {}


def sources(entry: Entry, model_class: type) -> dict[str, str]:
    """Digests of a model's source files: module -> 16 hex digits.

    Line endings, compiled files and the location of the package do not matter. Imports nothing;
    modules without a file (in memory, in a zip) are left out. Cached per process.
    """
    if (entry, model_class) not in _READ:
        _READ[entry, model_class] = _read(entry, model_class)
    return dict(_READ[entry, model_class])


def _read(entry: Entry, model_class: type) -> dict[str, str]:
    starts = {entry.target.partition(":")[0].strip(), model_class.__module__}
    tops = {name.partition(".")[0] for name in starts} | set(_tops(entry))
    homes = {home for top in tops if (home := _home(top)) is not None}
    waiting = [*starts, *(base.__module__ for base in model_class.__mro__)]
    seen: set[str] = set()
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        top = name.partition(".")[0]
        if top == HARNESS or (top not in tops and _home(top) not in homes):
            continue
        spec = _spec(name)
        if spec is None:
            continue
        parent = name.rpartition(".")[0]
        waiting += [parent] if parent else []  # importing a module runs its packages
        path = Path(spec.origin) if spec.has_location and spec.origin else None
        if path is None:
            continue
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if path.suffix == ".pyc" or path.name.endswith(tuple(EXTENSION_SUFFIXES)):
            # The header of a .pyc, which has no source here, holds a time.
            found[name] = _digest(content[16:] if path.suffix == ".pyc" else content)
            continue
        text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        found[name] = _digest(text)
        waiting += _imported(text, name, spec.submodule_search_locations is not None)
    return dict(sorted(found.items()))


def files_of(source: Iterable[str]) -> set[str]:
    """Files of the modules that are loaded."""
    files = (getattr(sys.modules.get(name), "__file__", None) for name in source)
    return {file for file in files if file}


def folder_of(model_class: type) -> Path | None:
    """Folder of the class's module; None if it has no file."""
    file = getattr(sys.modules.get(model_class.__module__), "__file__", None)
    return Path(file).parent if file else None


def combined(source: Mapping[str, str]) -> str:
    """One digest of all modules, 16 hex digits; "" if there are no modules."""
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(source.items()))
    return _digest(lines.encode()) if source else ""


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The modules that differ, were added or were removed."""
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _tops(entry: Entry) -> Iterator[str]:
    """Top-level packages and modules of the entry's distribution, according to its metadata."""
    dist = entry.point.dist
    if dist is None:
        return
    yield from (dist.read_text("top_level.txt") or "").split()
    for file in dist.files or ():
        first = file.parts[0]
        if first.isidentifier() or (len(file.parts) == 1 and file.suffix == ".py"):
            yield first.removesuffix(".py")


def _home(top: str) -> Path | None:
    """The folder that contains a package or module; None for site-packages and the like."""
    spec = _spec(top)
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ()) or (
        [spec.origin] if spec.has_location and spec.origin else []
    )
    if not places:
        return None
    home = Path(places[0]).parent
    shared = home.name in ("site-packages", "dist-packages", "lib-dynload")
    return None if shared or home == Path(ast.__file__).parent else home


@lru_cache(maxsize=4096)
def _spec(name: str) -> ModuleSpec | None:
    """Location of a module, without importing anything; None if there is no such module."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(loaded, ModuleSpec):
        return loaded
    parent = name.rpartition(".")[0]
    try:
        if not parent:
            return importlib.util.find_spec(name)
        package = _spec(parent)
        if package is None or package.submodule_search_locations is None:
            return None
        return PathFinder.find_spec(name, list(package.submodule_search_locations))
    except (ImportError, ValueError, AttributeError):
        return None


def _imported(text: bytes, name: str, is_package: bool) -> Iterator[str]:
    """Names that a module's source may import, anywhere in it; some may not be modules."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if node.level else []
            base = ".".join(filter(None, [*parts[: len(parts) - node.level + 1], node.module]))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
            argument = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(argument, str):
                with contextlib.suppress(ImportError):
                    yield importlib.util.resolve_name(argument, package)
