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

from zslkit.cli.source import Fault, config_keys, facts, locate
from zslkit.errors import UserError
from zslkit.registry import DATASETS, MODELS, TRACKERS, Registry

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

SECTIONS = {"features": "zslkit.config:FeatureConfig", "protocol": "zslkit.config:ProtocolConfig"}
"""Settings that every model has, beside its own."""


def completer(values: Callable[[str], Iterable[str]], files: bool = False) -> Completer:
    """A completer of the values, of an incomplete word, that start with it; with `files` also of
    the names of files."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = [CompletionItem(one) for one in values(incomplete) if one.startswith(incomplete)]
        return [*found, CompletionItem(incomplete, type="file")] if files else found

    return complete


def fixed(*values: str, files: bool = False) -> Completer:
    """A completer of fixed values, with `files` also of the names of files."""
    return completer(lambda incomplete: values, files)


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


def _named_models() -> dict[str, str]:
    """Models that the command line names, and their targets."""
    # click does not pass on the arguments before an option that lacks its value.
    found = {}
    for word in os.environ.get("COMP_WORDS", "").split():
        with contextlib.suppress(UserError):
            found[word] = MODELS.find(word).target
    return found


def _keys(targets: Iterable[str], sections: Iterable[str]) -> list[str]:
    """Settings of these models and of the sections, with = behind each."""
    places: list[tuple[str, str, str | None]] = [(f"{s}.", SECTIONS[s], None) for s in sections]
    keys: list[str] = []
    for prefix, target, attribute in (*places, *(("", target, "Config") for target in targets)):
        with contextlib.suppress(Fault):
            keys += [f"{prefix}{key}=" for key in config_keys(target, attribute)]
    return list(dict.fromkeys(keys))


def _of_models(incomplete: str, words: Callable[[Iterable[str]], list[str]]) -> list[str]:
    """`words` of the named models, and of several models also MODEL:WORD, which is for one."""
    named = _named_models()
    model, colon, _ = incomplete.rpartition(":")
    if colon:
        with contextlib.suppress(UserError):
            return [f"{model}:{word}" for word in words([MODELS.find(model).target])]
    alone = [f"{name}:" for name in named] if len(named) > 1 else []
    return [*words(named.values()), *alone]


def _settings(targets: Iterable[str]) -> list[str]:
    return _keys(targets, SECTIONS)


def _presets(targets: Iterable[str]) -> list[str]:
    found: list[str] = []
    for target in targets:
        with contextlib.suppress(Fault):
            folder, origin = facts(target).values.get("presets"), locate(target.partition(":")[0])
            if folder and origin.origin:
                stems = {p.stem for p in (Path(origin.origin).parent / folder).glob("*.yaml")}
                # families: `zsl` is DATASET-zsl for the dataset of the run
                pairs = ((stem, f"{other}-") for stem in stems for other in stems)
                found += [*stems, *(s.removeprefix(d) for s, d in pairs if s.startswith(d))]
    return sorted(set(found))


def _run_folders(incomplete: str) -> list[str]:
    """Finished runs below the folder that is typed, or below ./runs."""
    homes = {incomplete.rpartition("/")[0], "" if incomplete.startswith("/") else "runs"}
    found = {
        str(record.parent)
        for home in homes
        for depth in range(4)
        for record in Path(home).glob("*/" * depth + "record.json")
    }
    return sorted(found)


def _tags(incomplete: str) -> list[str]:
    found: set[str] = set()
    for folder in _run_folders("runs"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found.update(map(str, json.loads((Path(folder) / "tags.json").read_bytes())))
    return sorted(found)


def _listed(incomplete: str, names: Iterable[str]) -> list[str]:
    """The names behind those of a list that is begun."""
    begun = incomplete[: incomplete.rfind(",") + 1]
    return [begun + name for name in names]


def _metrics(incomplete: str) -> list[str]:
    from zslkit.evaluation.catalog import METRICS

    return _listed(incomplete, ("all", *METRICS))


def _columns(incomplete: str) -> list[str]:
    from zslkit.report.columns import NAMES

    return _listed(incomplete, NAMES)


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
settings = completer(lambda incomplete: _of_models(incomplete, _settings))
feature_settings = completer(lambda incomplete: _keys((), ["features"]))
model_settings = completer(lambda incomplete: _keys(_named_models().values(), ()))
presets = completer(lambda incomplete: _of_models(incomplete, _presets))
runs = completer(_run_folders)
runs_and_tags = completer(lambda incomplete: [*_run_folders(incomplete), *_tags(incomplete)])
models_and_runs = completer(
    lambda incomplete: [*_registered(MODELS), *_run_folders(incomplete), *_tags(incomplete)]
)
columns = completer(_columns)
tags = completer(_tags)
metrics = completer(_metrics)
published = completer(_published)
checks = completer(_checks)
cached = completer(_cached)
devices = fixed("auto", "cpu", "cuda", "mps")
