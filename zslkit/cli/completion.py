"""`zslkit completion`: the script that a shell reads to complete the command line."""

from __future__ import annotations

from collections.abc import Mapping

import click
from click.shell_completion import ShellComplete, get_completion_class

from zslkit.cli.output import echo, print_json
from zslkit.cli.verb import verb

SHELLS: Mapping[str, str] = {
    "bash": 'eval "$(zslkit completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(zslkit completion zsh)" in ~/.zshrc',
    "fish": "zslkit completion fish > ~/.config/fish/completions/zslkit.fish",
}
"""Shell -> how its users keep the script."""


@verb(
    example="\n".join(
        (
            """echo 'eval "$(zslkit completion bash)"' >> ~/.bashrc""",
            """echo 'eval "$(zslkit completion zsh)"' >> ~/.zshrc""",
            SHELLS["fish"],
        )
    ),
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str, as_json: bool) -> None:
    """Print the script that completes commands, options and names in SHELL.

    Give one of the examples once, and open a new shell.
    """
    from zslkit.cli.app import COMPLETE, cli

    kind = get_completion_class(shell)
    assert kind is not None
    # Not the shell's own source(), which starts bash only to ask for its version.
    script = ShellComplete.source(kind(cli, {}, "zslkit", COMPLETE))
    if as_json:
        print_json({"shell": shell, "script": script, "keep": SHELLS[shell]})
    else:
        echo(script)
