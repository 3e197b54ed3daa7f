"""What completes the options and arguments of the command line. Imports nothing heavy.

Names come from the metadata of packages, settings and presets from source texts. Every function
has the form that click takes as `shell_complete`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from zslkit.cli.listing import DATASETS, MODELS, TRACKERS
from zslkit.cli.source import Fault, config_keys, facts, locate
from zslkit.errors import UserError
from zslkit.registry import Registry

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

SECTIONS = {"features": "zslkit.config:FeatureConfig", "protocol": "zslkit.config:ProtocolConfig"}
"""Settings that every model has, beside its own."""


def completer(values: Callable[[str], Iterable[str]]) -> Completer:
    """A completer of the values that start with the incomplete word.

    Args:
        values: Gets the incomplete word and returns candidates.
    """

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [
            CompletionItem(value) for value in values(incomplete) if value.startswith(incomplete)
        ]

    return complete


def fixed(*values: str, files: bool = False) -> Completer:
    """A completer of fixed values, with `files` also of the names of files."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = [CompletionItem(value) for value in values if value.startswith(incomplete)]
        return [*found, CompletionItem(incomplete, type="file")] if files else found

    return complete


def _registered(registry: Registry) -> list[str]:
    """Registered names, and `distribution:name` where a name alone does not lead to an entry."""
    found = []
    for entry in registry.entries():
        try:
            alone = registry.find(entry.name) == entry
        except UserError:
            alone = False
        found.append(entry.name if alone else f"{entry.distribution}:{entry.name}")
    return found


def _named_models() -> list[str]:
    """Targets of the models that the command line names."""
    # click does not pass on the arguments before an option that lacks its value.
    found = []
    for word in dict.fromkeys(os.environ.get("COMP_WORDS", "").split()):
        with contextlib.suppress(UserError):
            found.append(MODELS.find(word).target)
    return found


def _settings(sections: Iterable[str]) -> list[str]:
    targets: list[tuple[str, str, str | None]] = [
        (f"{section}.", SECTIONS[section], None) for section in sections
    ]
    targets += [("", target, "Config") for target in _named_models()]
    keys: list[str] = []
    for prefix, target, attribute in targets:
        with contextlib.suppress(Fault):
            keys += [f"{prefix}{key}=" for key in config_keys(target, attribute)]
    return list(dict.fromkeys(keys))


def _presets(incomplete: str) -> list[str]:
    found: list[str] = []
    for target in _named_models():
        with contextlib.suppress(Fault):
            folder, origin = facts(target).values.get("presets"), locate(target.partition(":")[0])
            if folder and origin.origin:
                stems = {p.stem for p in (Path(origin.origin).parent / folder).glob("*.yaml")}
                found += stems
                # families: `zsl` is DATASET-zsl for the dataset of the run
                found += [
                    s.removeprefix(f"{d}-") for s in stems for d in stems if s.startswith(f"{d}-")
                ]
    return sorted(set(found))


def _records(incomplete: str) -> list[Path]:
    """Records of finished runs below the folder that is typed, or below ./runs."""
    homes = {incomplete.rpartition("/")[0], "" if incomplete.startswith("/") else "runs"}
    return sorted(
        {
            record
            for home in homes
            for depth in range(4)
            for record in Path(home).glob("*/" * depth + "record.json")
        }
    )


def _tags(incomplete: str) -> list[str]:
    found: set[str] = set()
    for record in _records("runs"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found.update(map(str, json.loads((record.parent / "tags.json").read_bytes())))
    return sorted(found)


def _metrics(incomplete: str) -> list[str]:
    """Names of metrics behind those of a list that is begun."""
    from zslkit.evaluation.catalog import METRICS

    begun = incomplete[: incomplete.rfind(",") + 1]
    return [begun + name for name in ("all", *METRICS)]


def _columns(incomplete: str) -> list[str]:
    """Words of columns behind those of a list that is begun."""
    from zslkit.report.columns import NAMES

    return [incomplete[: incomplete.rfind(",") + 1] + name for name in NAMES]


def _published(incomplete: str) -> list[str]:
    from zslkit.report.published import everything

    return sorted({entry.dataset for entry in everything()})


def _checks(incomplete: str) -> list[str]:
    """Names of checks from the source texts, because importing them brings torch."""
    folder = Path(str(locate("zslkit.testing").origin)).parent
    pattern = re.compile(r"^@check\(\n.*?^def (\w+)", re.S | re.M)
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    return [name for text in texts for name in pattern.findall(text)]


def _cached(incomplete: str) -> list[str]:
    from zslkit.acquire.cache import contents
    from zslkit.utils.files import cache_root

    return [item.name for item in contents(cache_root())]


models = completer(lambda incomplete: _registered(MODELS))
datasets = completer(
    lambda incomplete: [*_registered(DATASETS), *(p.name for p in Path().glob("*.yaml"))]
)
trackers = completer(lambda incomplete: _registered(TRACKERS))
settings = completer(lambda incomplete: _settings(SECTIONS))
feature_settings = completer(
    lambda incomplete: [key for key in _settings(["features"]) if key.startswith("features.")]
)
model_settings = completer(lambda incomplete: _settings(()))
presets = completer(_presets)
runs = completer(lambda incomplete: [str(record.parent) for record in _records(incomplete)])
models_and_runs = completer(
    lambda incomplete: [*_registered(MODELS), *(str(r.parent) for r in _records(incomplete))]
)
columns = completer(_columns)
tags = completer(_tags)
metrics = completer(_metrics)
published = completer(_published)
checks = completer(_checks)
cached = completer(_cached)
devices = fixed("auto", "cpu", "cuda", "mps")
