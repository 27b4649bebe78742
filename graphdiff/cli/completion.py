"""`graphdiff completion`: print the script that teaches a shell to complete."""

from __future__ import annotations

import click

_HELP = """Print the script that teaches SHELL to complete commands, workflows and their inputs.

\b
bash: add to ~/.bashrc   eval "$(graphdiff completion bash)"
zsh:  add to ~/.zshrc    eval "$(graphdiff completion zsh)"
fish: graphdiff completion fish > ~/.config/fish/completions/graphdiff.fish
"""


@click.command("completion", help=_HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print click's script for a shell."""
    from click.shell_completion import get_completion_class

    from graphdiff.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None  # click knows all three
    click.echo(kind(cli, {}, "graphdiff", "_GRAPHDIFF_COMPLETE").source())
    return 0
