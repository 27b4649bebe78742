"""The command `graphdiff`: which commands there are, and what their errors mean to a shell."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import Any, Final

import click

from graphdiff.cli.common import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WRONG, WORKFLOW
from graphdiff.graph.node import DeclarationError
from graphdiff.graph.spec import WorkflowError

# Each command is imported on use, so that `graphdiff validate` loads no more than it needs.
COMMANDS: Final = {
    "run": ("run", "Run a workflow, or a picture made by one."),
    "validate": ("validate", "Check workflow files and say every mistake in them."),
    "plan": ("plan", "Say what a run would compute and what it would find in the cache."),
    "expand": ("expand", "Write named parts out in place, to read or to edit."),
    "diff": ("diff", "Say what differs between two workflows or pictures."),
    "draw": ("draw", "Draw a workflow as SVG or Mermaid."),
    "watch": ("watch", "Run a workflow again each time it is saved."),
    "nodes": ("nodes", "List the nodes, or describe one."),
    "schema": ("schema", "Print the JSON Schema of workflow files, for editors."),
    "cache": ("cache", "Look into the cache, bound it, check it, empty it."),
    "models": ("models", "List, fetch, inspect and convert checkpoints."),
    "init": ("init", "Copy a shipped workflow here, to edit."),
    "completion": ("completion", "Print the script that teaches a shell to complete."),
}


class Commands(click.Group):
    """A group whose commands are modules of this package, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"graphdiff.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
            ctx.fail(f"no command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="graphdiff", message="graphdiff %(version)s")
def cli() -> None:
    """Diffusion workflows as code: checked, planned, cached and run."""


def _share_processors() -> None:
    """Have torch's threads wait for each other asleep, but for some microseconds.

    Where another process is busy on a processor, threads that spin keep the very one that they wait
    for from running: a small model then takes ten times as long. Told before torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit code.

    Returns:
        0 done, 1 a node failed, 2 the workflow or the command line is wrong, 130 interrupted.
    """
    _share_processors()
    try:
        result: Any = cli.main(args=arguments, prog_name="graphdiff", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except WorkflowError as error:
        click.echo(str(error), err=True)
        count = sum(d.severity == "error" for d in error.diagnostics)
        click.echo(f"{count} error{'s' if count != 1 else ''}", err=True)
        return EXIT_WRONG
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_WRONG
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        context = getattr(error, "ctx", None)
        if context is not None:
            of_workflow = context.meta.get(WORKFLOW, "")  # whose inputs are options as well
            command = f"{context.command_path} {of_workflow}".strip()
            click.echo(f"`{command} --help` shows what it takes", err=True)
        return EXIT_WRONG
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone: say no more, not even when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        named = error.filename is not None and error.strerror is not None
        said = f"{error.filename}: {error.strerror}" if named else str(error)
        click.echo(f"error: {said}", err=True)
        return EXIT_WRONG
    except (ValueError, DeclarationError) as error:
        click.echo(f"error: {error}", err=True)
        return EXIT_WRONG


def entry() -> None:
    """The console script."""
    warnings.showwarning = _say_warning
    sys.exit(main())


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:  # noqa: ANN401 - unused
    """A warning for people: what it says, not the line of code that says it."""
    click.echo(f"warning: {message}", err=True)
