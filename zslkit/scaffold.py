"""Writes a new plugin package that installs, passes its tests and trains."""

from __future__ import annotations

import ast
import keyword
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from string import Template
from typing import Literal

from zslkit.errors import UserError
from zslkit.registry import Registry
from zslkit.utils.files import recover, replacing_folder

Kind = Literal["gradient", "closed-form", "generative", "end-to-end"]
KINDS: Mapping[Kind, str] = {
    "gradient": (
        "the harness trains it by the loss that it gives; attends to regions of a feature map"
    ),
    "closed-form": "solves one linear system on pooled features",
    "generative": (
        "makes features of unseen classes, then trains a classifier, in a training of its own"
    ),
    "end-to-end": "the backbone is trained with it, from images",
}
"""Template of a new model -> description."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_ENDING = ".tmpl"  # so that tools do not treat templates as code of this package
_RENAMED = {"gitignore": ".gitignore"}


@dataclass(frozen=True)
class Names:
    """Names of a new plugin: `my-net` gives my_net, MyNet and zslkit-my-net."""

    name: str

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def cls(self) -> str:
        return "".join(part.capitalize() for part in re.split("[-_]", self.name))

    @property
    def distribution(self) -> str:
        return "zslkit-" + self.name.replace("_", "-")

    def fill(self, text: str) -> str:
        """Fill a template with these names."""
        words = {"name": self.name, "module": self.module, "Class": self.cls}
        words |= {"distribution": self.distribution, "zslkit": version("zslkit")}
        return Template(text).substitute(words)


def new_model(name: str, folder: Path, registry: Registry, kind: Kind = "gradient") -> list[Path]:
    """Write a model package to `folder`, which must not exist.

    Returns:
        Paths of the files, relative to `folder`.

    Raises:
        UserError: The name is invalid or taken, or the folder exists.
    """
    return _write(name, folder, registry, "model", f"model-{kind}")


def new_dataset(name: str, folder: Path, registry: Registry) -> list[Path]:
    """Write a dataset package to `folder`; as `new_model`."""
    return _write(name, folder, registry, "dataset")


def _write(name: str, folder: Path, registry: Registry, *templates: str) -> list[Path]:
    recover(folder)
    _refuse_standing(folder)
    names = _checked(name, registry)
    texts = {path: text for template in templates for path, text in _rendered(template, names)}
    _refuse_hidden_imports(names, texts)
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(folder, lambda: _refuse_standing(folder)) as beside:
        for path, text in texts.items():
            (beside / path).parent.mkdir(parents=True, exist_ok=True)
            (beside / path).write_text(text, encoding="utf-8")
    return sorted(Path(path) for path in texts)


def _refuse_standing(folder: Path) -> None:
    if os.path.lexists(folder):
        raise UserError(
            f"{folder} is there already and stays as it is; name another place with --out"
        )


def _rendered(template: str, names: Names) -> Iterator[tuple[PurePosixPath, str]]:
    """Path and text of each file of a template folder."""
    for parts, file in _walk(files("zslkit") / "templates" / template, ()):
        # Under src: a folder with the package's name would shadow the installed package for
        # programs started beside it.
        *folders, last = (
            inner
            for part in parts
            for inner in (("src", names.module) if part == "package" else (part,))
        )
        last = last.removesuffix(_ENDING)
        yield (
            PurePosixPath(*folders, _RENAMED.get(last, last)),
            names.fill(file.read_text(encoding="utf-8")),
        )


def _walk(
    folder: Traversable, parts: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Traversable]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _walk(item, (*parts, item.name))
        elif item.name.endswith(_ENDING):
            yield (*parts, item.name), item


def _checked(name: str, registry: Registry) -> Names:
    """Names derived from `name`. Raises UserError if one is invalid or taken."""
    names = Names(name)
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot name a {registry.kind}; take small letters and digits, joined by "
            "single - or _, such as my-net"
        )
    if keyword.iskeyword(names.module) or keyword.iskeyword(names.cls):
        raise UserError(
            f"{name!r} is a word of Python itself, so nothing can be called so; choose another name"
        )
    for entry in registry.entries():
        if entry.name == name:
            raise UserError(
                f"The {registry.kind} {name!r} is there already, by {entry.origin} "
                f"({entry.target}); choose another name"
            )
    if (where := _module_at(names.module)) is not None:
        raise UserError(
            f"A module {names.module} is there already ({where}), and the new one would hide it; "
            "choose another name"
        )
    try:
        found = f"{names.distribution} {version(names.distribution)}"
    except PackageNotFoundError:
        return names
    raise UserError(
        f"A distribution {found} is installed already, and the new one would replace it; choose "
        "another name"
    )


def _module_at(module: str) -> str | None:
    """Where Python would find this module, or None. Imports nothing."""
    if module in sys.stdlib_module_names:
        return "of Python itself"
    if module == "tests":
        return "the folder of the tests"
    spec = find_spec(module)
    # find_spec also finds folders without code, such as one of this name in the working directory.
    return None if spec is None or spec.origin is None else spec.origin


def _refuse_hidden_imports(names: Names, texts: Mapping[PurePosixPath, str]) -> None:
    for path, text in texts.items():
        if path.suffix != ".py":
            continue
        tree = ast.parse(text)
        imported = {
            a.asname or a.name
            for n in ast.walk(tree)
            if isinstance(n, (ast.Import, ast.ImportFrom))
            for a in n.names
        }
        defined = {n.name for n in tree.body if isinstance(n, ast.ClassDef)}
        if both := imported & defined:
            raise UserError(
                f"{names.name!r} gives a class {min(both)}, and the code needs another thing of "
                "that name; choose another name"
            )
