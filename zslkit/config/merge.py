"""Merges settings: defaults < preset < --config FILE < --set key=value.

Every value keeps its source and line for errors. The type of a value is decided later, by the key
that takes it (zslkit.config.build).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from zslkit.config import yaml_lines
from zslkit.errors import UserError
from zslkit.utils.files import check_permitted, read_small

T = TypeVar("T")

GivenSettings = Mapping[str, Any] | Sequence[str] | str
"""Settings of a caller: a dictionary, nested or with dotted keys, or texts as of --set."""

LONGEST = 4 << 20
"""Most bytes of a settings file; a card that lists 20,000 unseen classes has half a megabyte."""


@dataclass
class Layer:
    """Values from one source.

    Attributes:
        origin: Name of the source in errors.
        lines: Dotted key -> line in the file.
        texts: Dotted key -> text as written, for values that YAML did not read as text.
    """

    values: Mapping[str, Any]
    origin: str
    lines: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Settings:
    """Merged layers.

    Attributes:
        origins: Dotted key -> source of the value.
        lines: Dotted key -> file and line; a section has the line where it begins in the last file
            that contains it.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    lines: dict[str, tuple[str, int]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def section(self, name: str) -> Settings:
        """Remove the section `name` from these settings and return it."""
        inner = self.values.pop(name, None)
        inner = {} if inner is None else inner
        if not isinstance(inner, dict):
            raise UserError(
                f"{name} ({self.place(name) or 'config'}) is a section; write {name}.KEY=VALUE"
            )
        return Settings(
            inner, below(name, self.origins), below(name, self.lines), below(name, self.texts)
        )

    def place(self, key: str) -> str:
        """Source of a dotted key, such as 'my.yaml, line 3'; "" if unknown.

        A section gives the source of a value in it; an unknown key gives that of its section.
        """
        near = [k for k in self.origins if k == key or k.startswith(key + ".")]
        near = near or [k for k in self.origins if key.startswith(k + ".")]
        if not near:
            return ""
        origin = self.origins[near[0]]
        for cut in range(key.count(".") + 1):
            file, line = self.lines.get(key.rsplit(".", cut)[0], ("", 0))
            if line and file == origin:
                return f"{origin}, line {line}"
        return origin


def merge(layers: Iterable[Layer]) -> Settings:
    """Merge layers: later ones win key by key; sections are merged, other values replaced."""
    merged = Settings()
    for layer in layers:
        _merge_into(merged.values, layer.values, "", layer.origin, merged.origins)
        lines = {key: (layer.origin, line) for key, line in layer.lines.items()}
        _merge_notes(merged.lines, layer, lines)
        _merge_notes(merged.texts, layer, layer.texts)
    return merged


def _merge_notes(notes: dict[str, T], layer: Layer, coming: Mapping[str, T]) -> None:
    for key in (key for key, value in flat(layer.values).items() if value != {}):
        for replaced in [k for k in notes if k == key or k.startswith(key + ".")]:
            del notes[replaced]
    notes.update(coming)


def below(name: str, notes: Mapping[str, T]) -> dict[str, T]:
    """The notes of keys in the section `name`, by their keys in it."""
    prefix = name + "."
    return {k[len(prefix) :]: v for k, v in notes.items() if k.startswith(prefix)}


def _merge_into(
    target: dict[str, Any],
    source: Mapping[str, Any],
    prefix: str,
    origin: str,
    origins: dict[str, str],
) -> None:
    for key, value in source.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            inner = target.setdefault(key, {})
            if not isinstance(inner, dict):
                inner = target[key] = {}
            _merge_into(inner, value, dotted + ".", origin, origins)
        else:
            target[key] = value
            origins[dotted] = origin


def parse_set(items: Iterable[str]) -> Layer:
    """Parse `a.b=1` pairs of --set. Values are YAML: true, null, [1, 2].

    Raises:
        UserError: An item has no '=', or would replace the value of one before it.
    """
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for item in items:
        key, equals, text = item.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UserError(
                f"--set takes key=value, and {item!r} is not that; write for instance --set "
                "train.epochs=5"
            )
        value, written = _parsed(key, text)
        twice = [k for k in flat(values) if k == key or k.startswith(f"{key}.")]
        if twice and flat({key: value}) != {k: flat(values)[k] for k in twice}:
            raise UserError(f"--set {twice[0]} is given twice; keep one")
        _place(values, key, value, f"--set {item!r}")
        texts |= {f"{key}.{inner}" if inner else key: raw for inner, raw in written.items()}
    return Layer(values, "--set", texts=texts)


def _parsed(key: str, text: str) -> tuple[Any, dict[str, str]]:
    """Value of the YAML text, or the text itself if it is not YAML.

    Also returns the texts of a Layer, for keys below `key`.
    """
    try:
        read = yaml_lines.load(text)
    except yaml_lines.TooMuch as error:
        raise UserError(
            f"--set {key}: the value cannot be taken, since {error}; write it in a file and name "
            "that with --config"
        ) from error
    except yaml_lines.TwiceError as error:
        raise UserError(f"--set {key}: {error}") from error
    except yaml.YAMLError:
        return text, {}
    return read.value, read.texts


def parse_given(settings: GivenSettings) -> Layer:
    """Settings that a caller gave, as a dictionary or as texts `key=value` of --set.

    Raises:
        UserError: They are neither, or a text has no '='.
    """
    if isinstance(settings, Mapping):
        return Layer(nested(settings), "settings")
    return parse_set(given_texts(settings))


def given_texts(settings: Sequence[str] | str) -> list[str]:
    """The texts `key=value` of a caller, one or several.

    Raises:
        UserError: They are something else.
    """
    texts = [settings] if isinstance(settings, str) else settings
    if isinstance(texts, Sequence) and all(isinstance(text, str) for text in texts):
        return list(texts)
    raise UserError(
        f"settings takes a dictionary, such as {{'train.epochs': 5}}, or texts, such as "
        f"['train.epochs=5'], and not {settings!r}"
    )


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into sections: {"train.epochs": 5} becomes {"train": {"epochs": 5}}.

    Sections may be written either way, also both in one dictionary.

    Raises:
        UserError: A key is no text, stands twice, or has both a value and keys below it.
    """
    values: dict[str, Any] = {}
    given: set[str] = set()
    for key, value in _leaves(flat, texts_only=True):
        if key in given:
            raise UserError(f"{key} is given twice, once with a dot and once in its section")
        given.add(key)
        _place(values, key, {} if isinstance(value, Mapping) else value, key)
    return values


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by dotted key; an empty section counts as a value."""
    return dict(_leaves(values))


def _leaves(
    values: Mapping[str, Any], before: str = "", texts_only: bool = False
) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if texts_only and not isinstance(key, str):
            raise UserError(f"The key {key!r} of the settings is no text; write it in quotes")
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{before}{key}.", texts_only)
        else:
            yield f"{before}{key}", value


def _place(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(
                f"{where}: {parent!r} was given a value before, so it cannot hold {last!r}"
            )
    values[last] = value


def read_yaml(path: str | Path, origin: str | None = None) -> Layer:
    """Read a YAML file of settings; `origin` names it in errors, by default by its path.

    Raises:
        UserError: The file is missing, is not YAML, or does not contain a mapping.
    """
    path = Path(path)
    check_permitted(path)
    try:
        text = read_small(path, LONGEST)
    except (OSError, ValueError) as error:
        raise UserError(
            f"The settings file {path} cannot be read ({error}); check the path"
        ) from error
    try:
        read = yaml_lines.load(text)
    except yaml_lines.TwiceError as error:
        raise UserError(f"{path}: {error}") from error
    except yaml_lines.TooMuch as error:
        raise UserError(f"{path}: {error}; write less, and without aliases") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"{path}{where}: this is not YAML ({getattr(error, 'problem', error)})"
        ) from error
    values = read.value or {}
    if not isinstance(values, dict):
        raise UserError(
            f"{path}: settings are a mapping of key: value, and this is a {type(values).__name__}"
        )
    return Layer(values, origin or str(path), read.lines, read.texts)
