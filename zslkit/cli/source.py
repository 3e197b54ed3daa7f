"""What a class says of itself, read from its source text: nothing is imported and nothing is
run."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any

OWN = "zslkit"
"""Base classes and re-exports are followed within the plugin's own package and into this one, no
further."""


NOT_LITERAL = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
"""What ast.literal_eval raises."""


class Fault(Exception):
    """Why a promise "module:Class" cannot be kept, as far as its source text tells."""


@dataclass(frozen=True)
class Facts:
    """The literal class attributes, bases included, and the first line of the docstring."""

    values: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


def facts(target: str) -> Facts:
    """What the class of "package.module:Class" says of itself.

    An attribute that is no literal is left out. Raises Fault if the module or the class is not
    there, or the module is not Python.
    """
    values: dict[str, Any] = {}
    description = ""
    for place, node in _line(target):
        description = (
            description or (ast.get_docstring(node) or "").strip().partition("\n")[0].strip()
        )
        for key, value in _attributes(node, place).items():
            values.setdefault(key, value)
    return Facts(values, description)


def derives(target: str, ancestor: str) -> bool | None:
    """Whether the class of "module:Class" derives from another such class; None if the source text
    does not tell.

    A function is no class, so it derives from nothing. Raises Fault as `facts` does.
    """
    line = _line(target)
    if not line:
        module, _, name = target.partition(":")
        return False if name.strip() in _Module.read(module).functions else None
    if any(f"{place.name}:{node.name}" == ancestor for place, node in line):
        return True
    followed = {id(node) for _, node in line}
    known = (
        place.classes.get(b.id) if isinstance(b, ast.Name) else None
        for place, node in line
        for b in node.bases
    )
    return False if all(base is not None and id(base) in followed for base in known) else None


def config_keys(target: str, attribute: str | None = None) -> list[str]:
    """Dotted keys of a configuration class "module:Class", sections opened, or of the one that its
    class attribute names.

    Keys of classes that cannot be followed are left out. Raises Fault as `facts` does.
    """
    line = _line(target)
    if attribute is not None:
        for place, node in line:
            chosen = dict(_bindings(node.body)).get(attribute)
            if isinstance(chosen, ast.Name):
                return config_keys(place.target(chosen.id))
        return []
    keys: dict[str, None] = {}
    for place, node in line:
        for part in node.body:
            if not isinstance(part, ast.AnnAssign) or not isinstance(part.target, ast.Name):
                continue
            key, kind, inner = part.target.id, part.annotation, []
            if isinstance(kind, ast.Subscript) and ast.unparse(kind.value).endswith("ClassVar"):
                continue
            if isinstance(kind, ast.Name):
                home = place.imported.get(kind.id, ("",))[0].partition(".")[0]
                if kind.id in place.classes or home in _packages_of(target):
                    inner = config_keys(place.target(kind.id))
            keys.update(dict.fromkeys([f"{key}.{i}" for i in inner] or [key]))
    return list(keys)


def missing_imports(module: str) -> list[str]:
    """Packages that the module imports wherever it is imported, and that are not installed. Nothing
    is imported.

    Raises Fault as `facts` does.
    """
    return [name for name in sorted(_Module.read(module).needed) if not is_there(name)]


@cache
def is_there(package: str) -> bool:
    """Whether a package, as it is imported, is installed. Imports nothing."""
    if package in sys.modules or package in sys.stdlib_module_names:
        return True
    try:
        return find_spec(package) is not None
    except Exception:  # a stranger's finder or a damaged package, which importing it will tell
        return True


def constant(module: str, name: str) -> Any:
    """The literal that a module binds to a name, or None."""
    return _Module.read(module).constants.get(name)


def _packages_of(target: str) -> set[str]:
    """Those within which base classes are followed."""
    return {target.partition(":")[0].partition(".")[0], OWN}


def _line(target: str) -> list[tuple[_Module, ast.ClassDef]]:
    """The class of "module:Class" and those of its bases that can be followed, nearest first."""
    module, _, name = target.partition(":")
    return list(_lineage(module, name.strip(), _packages_of(target), set()))


def _lineage(
    module: str, name: str, packages: set[str], seen: set[tuple[str, str]]
) -> Iterator[tuple[_Module, ast.ClassDef]]:
    if (module, name) in seen:
        return
    seen.add((module, name))
    place = _Module.read(module)
    node = place.find(name)
    if node is None:
        origin = place.imported.get(name)
        if origin and origin[0].partition(".")[0] in packages:
            yield from _lineage(*origin, packages, seen)
        elif not origin and not place.binds(name):
            raise Fault(f"the module {module} has no class {name}")
        return
    yield place, node
    for base in node.bases:
        if isinstance(base, ast.Subscript):
            base = base.value
        if not isinstance(base, ast.Name):
            continue
        # A base that cannot be read tells nothing about the class itself.
        try:
            if base.id in place.classes:
                yield from _lineage(module, base.id, packages, seen)
            elif (origin := place.imported.get(base.id, ("", "")))[0].partition(".")[0] in packages:
                yield from _lineage(*origin, packages, seen)
        except Fault:
            continue


def _attributes(node: ast.ClassDef, place: _Module) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in _bindings(node.body):
        if isinstance(value, ast.Name) and value.id in place.constants:
            found[name] = place.constants[value.id]
        else:
            with suppress(*NOT_LITERAL):
                found[name] = ast.literal_eval(value)
    return found


def _bindings(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for statement in body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        value = getattr(statement, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                yield target.id, value


class _Module:
    """The top level of one module's source text."""

    def __init__(self, name: str, tree: ast.Module | None, is_package: bool) -> None:
        self.name, self.readable = name, tree is not None
        self.classes: dict[str, ast.ClassDef] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        self.constants: dict[str, Any] = {}
        self.functions: set[str] = set()
        body = [] if tree is None else tree.body
        self.needed = {package for statement in body for package in _packages(statement)}
        self._names: set[str] = set()
        self._star = False
        for statement in _flat(body):
            if isinstance(statement, ast.ClassDef):
                self.classes[statement.name] = statement
            elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._names.add(statement.name)
                self.functions.add(statement.name)
            elif isinstance(statement, ast.ImportFrom):
                self._import(statement, name, is_package)
        for bound, value in _bindings(list(_flat(body))):
            self._names.add(bound)
            with suppress(*NOT_LITERAL):
                self.constants[bound] = ast.literal_eval(value)

    def _import(self, statement: ast.ImportFrom, name: str, is_package: bool) -> None:
        package = name if is_package else name.rpartition(".")[0]
        parts = package.split(".")
        above = parts[: len(parts) - statement.level + 1] if statement.level else []
        source = ".".join([*above, *([statement.module] if statement.module else [])])
        for alias in statement.names:
            self._star = self._star or alias.name == "*"
            self.imported[alias.asname or alias.name] = (source, alias.name)

    def find(self, name: str) -> ast.ClassDef | None:
        """The class of that name, dotted if it is an inner one."""
        outer, *inner = name.split(".")
        node = self.classes.get(outer)
        for part in inner:
            own = [s for s in (node.body if node else ()) if isinstance(s, ast.ClassDef)]
            node = next((one for one in own if one.name == part), None)
        return node

    def target(self, name: str) -> str:
        """Where a name of this module is from: "module:name"."""
        return ":".join(self.imported.get(name, (self.name, name)))

    def binds(self, name: str) -> bool:
        """Whether the name may exist although no class statement makes it."""
        outer = name.partition(".")[0]
        return not self.readable or self._star or outer in self._names or outer in self.imported

    @staticmethod
    @cache
    def read(name: str) -> _Module:
        """Read a module's source. Compiled modules have none: they bind everything and tell
        nothing."""
        spec = locate(name)
        source = getattr(spec.loader, "get_source", None)
        try:
            text = source(name) if source is not None else None
            tree = ast.parse(text) if text is not None else None
        except SyntaxError as error:
            where = f", line {error.lineno}" if error.lineno else ""
            raise Fault(f"{spec.origin}{where}: {error.msg}") from error
        except (ImportError, OSError, ValueError, RecursionError, MemoryError) as error:
            raise Fault(f"{spec.origin} cannot be read ({error})") from error
        return _Module(name, tree, spec.submodule_search_locations is not None)


def _packages(statement: ast.stmt) -> list[str]:
    """The packages that an import statement names, without those of the module's own package by a
    relative import."""
    if isinstance(statement, ast.Import):
        return [alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
        return [statement.module.partition(".")[0]]
    return []


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those inside if and try included."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            for part in ("body", "orelse", "finalbody"):
                yield from _flat(getattr(statement, part, []))
            for handler in getattr(statement, "handlers", []):
                yield from _flat(handler.body)


def locate(module: str) -> ModuleSpec:
    """Where a module is, without importing it or its packages. Raises Fault if it is nowhere."""
    first, *rest = module.split(".")
    name = first
    try:
        # importlib.util.find_spec("a.b") would import a; the finders asked one by one do not.
        spec = find_spec(first)
        for part in rest:
            if spec is None or spec.submodule_search_locations is None:
                break
            name, places = f"{name}.{part}", list(spec.submodule_search_locations)
            specs = (finder.find_spec(name, places) for finder in sys.meta_path)
            spec = next((s for s in specs if s is not None), None)
    except Exception as error:  # a stranger's finder or a damaged package
        raise Fault(f"the module {module} cannot be found ({error})") from error
    if spec is None or name != module:
        raise Fault(f"the module {module} is not there")
    return spec
