"""Shell completion: `zslkit completion SHELL` prints the script, and one table says which parameter is completed by what.

Nothing heavy is imported: names come from packages' metadata, settings and presets from source texts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from zslkit.cli.listing import DATASETS, MODELS, TRACKERS
from zslkit.cli.options import debug_option, json_option
from zslkit.cli.output import echo, print_json
from zslkit.cli.source import Fault, config_keys
from zslkit.errors import UserError
from zslkit.registry import Registry

Completer = Callable[[click.Context, str], Iterable[str]]

SHELLS: Mapping[str, str] = {
    "bash": 'eval "$(zslkit completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(zslkit completion zsh)" in ~/.zshrc',
    "fish": "zslkit completion fish > ~/.config/fish/completions/zslkit.fish",
}
"""Shell -> how its users keep the script."""

SECTIONS = {"features": "zslkit.config:FeatureConfig", "protocol": "zslkit.config:ProtocolConfig"}
"""Settings that every model has, beside its own."""


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@json_option
@debug_option
def completion(shell: str, as_json: bool) -> None:
    """Print the script that completes commands, models, datasets, runs and settings, to be kept as:

    \b
    bash  eval "$(zslkit completion bash)" in ~/.bashrc
    zsh   eval "$(zslkit completion zsh)" in ~/.zshrc
    fish  zslkit completion fish > ~/.config/fish/completions/zslkit.fish
    """
    from zslkit.cli.app import cli

    kind = get_completion_class(shell)
    assert kind is not None
    # Not the shell's own source(), which starts bash only to ask for its version.
    script = ShellComplete.source(kind(cli, {}, "zslkit", "_ZSLKIT_COMPLETE"))
    if as_json:
        print_json({"shell": shell, "script": script, "keep": SHELLS[shell]})
    else:
        echo(script)


def names(registry: Registry) -> list[str]:
    """Registered names, and `distribution:name` where a name alone does not lead to an entry."""
    found = []
    for entry in registry.entries():
        try:
            alone = registry.find(entry.name) == entry
        except UserError:
            alone = False
        found.append(entry.name if alone else f"{entry.distribution}:{entry.name}")
    return found


def models(ctx: click.Context, incomplete: str) -> list[str]:
    return names(MODELS)


def datasets(ctx: click.Context, incomplete: str) -> list[str]:
    """Registered datasets, and the cards in the folder."""
    return [*names(DATASETS), *(p.name for p in Path().glob("*.yaml"))]


def trackers(ctx: click.Context, incomplete: str) -> list[str]:
    return names(TRACKERS)


def runs(ctx: click.Context, incomplete: str) -> list[str]:
    """Finished run folders below the folder that is typed, or below ./runs."""
    found: set[str] = set()
    for home in {incomplete.rpartition("/")[0], "" if incomplete.startswith("/") else "runs"}:
        for depth in range(4):
            found.update(
                str(record.parent) for record in Path(home).glob("*/" * depth + "record.json")
            )
    return sorted(found)


def settings(ctx: click.Context, incomplete: str) -> list[str]:
    """`key=` for each setting that all models have, and for those of the models that the command line names."""
    targets: list[tuple[str, str, str | None]] = [
        (f"{section}.", target, None) for section, target in SECTIONS.items()
    ]
    # Of a line that is not complete, click does not tell the arguments before an option that lacks its value.
    for word in dict.fromkeys(os.environ.get("COMP_WORDS", "").split()):
        with contextlib.suppress(UserError):
            targets.append(("", MODELS.find(word).target, "Config"))
    keys: list[str] = []
    for prefix, target, attribute in targets:
        with contextlib.suppress(Fault):
            keys += [f"{prefix}{key}=" for key in config_keys(target, attribute)]
    return list(dict.fromkeys(keys))


COMPLETERS: Mapping[str, Mapping[str, Completer]] = {
    "": {"dataset": datasets, "model": models, "settings": settings, "trackers": trackers},
    "compare": {"names": models},
    "evaluate": {"folders": runs},
    "report": {"folders": runs, "datasets": datasets},
    "explain": {"folder": runs},
    "check": {"name": models},
    "models": {"name": models},
    "verify": {"name": datasets},
    "info": {"name": datasets},
    "download": {"names": datasets},
}
"""Command ("" for all) -> name of a parameter -> what completes it."""


def completed(command: click.Command) -> click.Command:
    """The same command, its parameters completed as the table says. For the time of completion alone."""
    table = {**COMPLETERS[""], **COMPLETERS.get(command.name or "", {})}
    for parameter in command.params:
        if (completer := table.get(parameter.name or "")) is not None:
            vars(parameter)["shell_complete"] = _answering(
                completer
            )  # in place of the method, for this one parameter
    return command


def _answering(completer: Completer) -> Callable[[click.Context, str], list[CompletionItem]]:
    def shell_complete(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        return [
            CompletionItem(value)
            for value in completer(ctx, incomplete)
            if value.startswith(incomplete)
        ]

    return shell_complete
