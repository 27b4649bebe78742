"""Commands on a workflow: finding it, and its inputs as options of the command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from graphdiff.cli import inputs as from_text
from graphdiff.cli.common import any_path, existing_path
from graphdiff.graph.spec import Input
from graphdiff.graph.workflow import Workflow
from graphdiff.graph.yaml import draft
from graphdiff.shipped import find_workflow

PICTURES: Final = (".png", ".webp", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Target:
    """What a command works on.

    Args:
        workflow: The workflow, read but not yet checked.
        inputs: Inputs that a picture was made with; the command line's go before them.
        differences: What differs here from where a picture was made.
    """

    workflow: Workflow
    inputs: Mapping[str, Any]
    differences: tuple[str, ...] = ()


def open_target(name: str) -> Target:
    """The workflow that a name stands for: a file, a shipped workflow, or a picture's own.

    Raises:
        FileNotFoundError: there is no such thing.
        ValueError: the picture carries no workflow.
        WorkflowError: the file is no workflow.
    """
    path = find_workflow(name)
    if path.suffix.lower() in PICTURES:
        from graphdiff.cli.again import open_picture

        found = open_picture(path)
        return Target(found.workflow, found.inputs, found.differences)
    return Target(draft(path), {})


def session_parameters() -> list[click.Parameter]:
    """The options of every command that plans or runs."""
    return [
        click.Option(
            ["--set", "assigned"],
            multiple=True,
            metavar="NAME=VALUE",
            help="Set an input, whatever its name.",
        ),
        click.Option(
            ["--sweep"],
            multiple=True,
            metavar="NAME=VALUES",
            help="Run for several values: 0..7, 1,2,3, JSON, @file, or one text each time.",
        ),
        click.Option(
            ["--target", "targets"],
            multiple=True,
            metavar="NODE",
            help="Compute only this node and what it needs.",
        ),
        click.Option(
            ["--device"],
            default="auto",
            type=click.Choice(["auto", "cpu", "cuda", "mps"]),
            help="What to compute on.",
        ),
        click.Option(
            ["--dtype"],
            default="auto",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            help="What to compute in.",
        ),
        click.Option(
            ["--output-dir"],
            default="outputs",
            type=any_path,
            help="Where files go [default: outputs].",
        ),
        click.Option(["--exact"], is_flag=True, help="Never batch: the same bits every time."),
        click.Option(["--no-cache"], is_flag=True, help="Compute everything, keep nothing."),
        click.Option(
            ["--cache-dir"],
            type=any_path,
            help="The cache folder [default: $GRAPHDIFF_CACHE, else the user's].",
        ),
        click.Option(["--no-metadata"], is_flag=True, help="Pictures say nothing of their origin."),
        click.Option(
            ["--nodes"],
            multiple=True,
            type=existing_path,
            metavar="FILE_OR_DIR",
            help="Load the nodes of a Python file or folder too.",
        ),
    ]


def session_options(values: dict[str, Any]) -> dict[str, Any]:
    """Take the options of a session out of a command's, as arguments of `Session`."""
    cache_dir, no_cache = values.pop("cache_dir"), values.pop("no_cache")
    if no_cache and cache_dir:
        raise click.UsageError("--no-cache and --cache-dir exclude each other")
    return {
        "cache": False if no_cache else cache_dir or True,
        "output_dir": values.pop("output_dir"),
        "device": values.pop("device"),
        "dtype": values.pop("dtype"),
        "exact": values.pop("exact"),
        "metadata": not values.pop("no_metadata"),
        "nodes": values.pop("nodes"),
    }


class TargetCommand(click.Command):
    """A command whose options are its own and an option for each input of the workflow it names.

    Args:
        name: The command's name.
        callback: Called with the target, the session's arguments, `inputs`, `sweep`, `targets`
            and the command's own options.
        help: What it does.
        params: Its own options.
        options: Takes the session's options out of all.
    """

    def __init__(
        self,
        name: str,
        callback: Callable[..., int],
        *,
        help: str,
        params: Sequence[click.Parameter],
        options: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        argument = click.Argument(["workflow"], metavar="WORKFLOW")
        super().__init__(name, help=help, params=[argument, *params])
        self._run = callback
        self._options = options
        self._own = list(self.params)
        self._target: Target | None = None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the workflow among the arguments, add its inputs as options, then parse."""
        self.params = list(self._own)
        self._target = None
        name = self._workflow_in(args)
        if name is not None:
            self._target = open_target(name)
            declared = self._target.workflow.graph.inputs
            self._refuse_reserved(declared)
            self.params += from_text.options(declared)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> int:
        """Turn the parsed options into inputs, and call back."""
        target = self._target
        if target is None:
            raise click.UsageError("name a WORKFLOW", ctx)
        values = dict(ctx.params)
        values.pop("workflow")
        declared = target.workflow.graph.inputs
        inputs = {name: value for name, value in target.inputs.items() if name in declared}
        for name, spec in declared.items():
            given = values.pop(name, None)
            if given is None or given == ():
                continue
            inputs[name] = (
                _listed(name, spec, given)
                if isinstance(given, tuple)
                else (from_text.read(name, spec, given))
            )
        for name, text in from_text.assignments(declared, values.pop("assigned"), "--set").items():
            inputs[name] = from_text.read(name, declared[name], text)
        sweep = from_text.sweep(declared, values.pop("sweep"))
        targets = list(values.pop("targets"))
        session = self._options(values)
        return self._run(
            target, session=session, inputs=inputs, sweep=sweep, targets=targets, **values
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the workflow's inputs apart from the command's options."""
        own = {id(param) for param in self._own}
        added = [p for p in self.get_params(ctx) if id(p) not in own and p.name != "help"]
        if added:
            assert self._target is not None
            graph = self._target.workflow.graph
            with formatter.section(f"Inputs of {graph.name or 'this workflow'}"):
                if graph.description:
                    formatter.write_text(graph.description)
                rows = [record for p in added if (record := p.get_help_record(ctx))]
                formatter.write_dl(rows)
        rows = [
            record
            for p in self.get_params(ctx)
            if (id(p) in own or p.name == "help") and (record := p.get_help_record(ctx))
        ]
        with formatter.section("Options"):
            formatter.write_dl(rows)

    def _workflow_in(self, args: Sequence[str]) -> str | None:
        """The first argument that is no option and no option's value."""
        flags = {
            flag
            for p in self._own
            if isinstance(p, click.Option) and not p.is_flag
            for flag in p.opts
        }
        takes_value = False
        for arg in args:
            if takes_value:
                takes_value = False
            elif arg.startswith("-") and arg != "-":
                takes_value = arg in flags
            else:
                return arg
        return None

    def _refuse_reserved(self, declared: Mapping[str, Input]) -> None:
        taken = {
            flag.removeprefix("--").replace("-", "_")
            for p in self._own
            if isinstance(p, click.Option)
            for flag in p.opts
        }
        for name in declared:
            if name.replace("-", "_") in {*taken, "help"}:
                raise click.UsageError(
                    f"the workflow's input {name!r} has the name of an option of this command: "
                    f"rename it, for example to {name}_input"
                )


def _listed(name: str, declared: Input, given: tuple[str, ...]) -> Any:  # noqa: ANN401
    """A list input: one JSON list, or the option once for each element."""
    if len(given) == 1 and given[0].lstrip().startswith("["):
        return from_text.read(name, declared, given[0])
    return [from_text.read_element(name, declared, text) for text in given]
