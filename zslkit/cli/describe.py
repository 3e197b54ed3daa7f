"""`zslkit models NAME`: one model in full, its settings with type, default, rule and meaning. This
imports the model."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pydantic_core import PydanticUndefined

from zslkit.cli.output import echo, print_columns, print_json, printable
from zslkit.config import Config, FeatureConfig, ProtocolConfig
from zslkit.config.wording import rule_of, shown, type_name
from zslkit.model import ENCODER_KEYS, Model, brings_encoder
from zslkit.registry import MODELS, Entry
from zslkit.runs.plan import presets_of


@dataclass(frozen=True)
class SettingHelp:
    """One key as --set takes it, in words."""

    key: str
    type: str
    default: Any
    rule: str
    help: str


def describe(name: str, as_json: bool) -> int:
    """Print the model. Raises UnknownName, NameClash or BrokenPlugin."""
    entry, model = MODELS.load(name)
    idle = {f"features.{key}" for key in ENCODER_KEYS} if brings_encoder(model) else ()
    features = [k for k in settings(FeatureConfig, "features.") if k.key not in idle]
    keys = [*settings(model.Config), *features, *settings(ProtocolConfig, "protocol.")]
    if as_json:
        print_json({**facts_of(entry, model), "settings": [asdict(k) for k in keys]})
        return 0
    for word, value in facts_of(entry, model).items():
        if value and word != "bibtex":  # which --bibtex prints
            text = ", ".join(value) if isinstance(value, list) else " ".join(value.split())
            echo(f"{word + ':':<13}{printable(text)}")
    echo()
    header = ("setting", "type", "default", "rule", "meaning")
    print_columns(header, [(k.key, k.type, shown(k.default), k.rule, k.help) for k in keys])
    return 0


def facts_of(entry: Entry, model: type[Model]) -> dict[str, Any]:
    """What the model says of itself, as plain data."""
    return {
        "name": entry.name,
        "description": (inspect.getdoc(model) or "").partition("\n")[0],
        "from": entry.origin,
        "class": entry.target,
        "input": list(model.inputs),
        "needs": list(model.needs),
        "protocol": model.protocol,
        "pretraining": model.pretraining_note,
        "citation": model.citation,
        "bibtex": model.bibtex,
        "presets": [*presets_of(model)],
        "tunable": [*model.search, *model.mixes],
    }


def settings(
    kind: type[Config], prefix: str = "", standing: Config | None = None
) -> Iterator[SettingHelp]:
    """The keys of a configuration class, sections opened. standing: an instance whose values are
    the defaults."""
    for name, field in kind.model_fields.items():
        if standing is not None:
            default = getattr(standing, name)
        else:
            default = field.get_default(call_default_factory=True)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            inner = default if isinstance(default, Config) else None
            yield from settings(field.annotation, f"{prefix}{name}.", inner)
            continue
        given = None if default is PydanticUndefined else default
        rules = ["required"] if default is PydanticUndefined else []
        rules += [text for item in field.metadata if (text := rule_of(item))]
        kind_of = type_name(field.annotation)
        about = field.description or ""
        yield SettingHelp(prefix + name, kind_of, given, ", ".join(rules), about)
