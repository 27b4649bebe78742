"""Commands on a workflow: finding it, and its inputs as options of the command."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from graphdiff.cli import complete
from graphdiff.cli import inputs as from_text
from graphdiff.cli.common import WORKFLOW
from graphdiff.graph.spec import Diagnostic, Input, WorkflowError
from graphdiff.graph.workflow import Workflow
from graphdiff.graph.yaml import draft
from graphdiff.shipped import find_workflow

if TYPE_CHECKING:
    from graphdiff.cli.again import Picture

PICTURES: Final = (".png", ".webp", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Target:
    """What a command works on.

    Args:
        workflow: The workflow, read but not yet checked.
        picture: Where it was asked for by a picture, what that says; its inputs and settings
            stand where the command line gives none.
    """

    workflow: Workflow
    picture: Picture | None = None


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

        picture = open_picture(path)
        return Target(picture.workflow, picture)
    return Target(draft(path))


def open_workflow(name: str) -> Workflow:
    """The workflow that a name stands for, which has no mistake in how it is written.

    Raises:
        FileNotFoundError: there is no such thing.
        ValueError: the picture carries no workflow.
        WorkflowError: with every mistake in how it is written.
    """
    workflow = open_target(name).workflow
    if workflow.mistakes:
        raise WorkflowError(workflow.mistakes)
    return workflow


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
        argument = click.Argument(
            ["workflow"], metavar="WORKFLOW", shell_complete=complete.workflows
        )
        super().__init__(name, help=help, params=[argument, *params])
        self._run = callback
        self._options = options
        self._own = list(self.params)
        self.target: Target | None = None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the workflow among the arguments, add its inputs as options, then parse."""
        self.params = list(self._own)
        self.target = None
        name = self._workflow_in(args)
        if name is not None:
            try:
                self.target = open_target(name)
            except (OSError, ValueError):
                if not ctx.resilient_parsing:  # a shell that completes is told nothing
                    raise
        if self.target is not None:
            ctx.meta[WORKFLOW] = shlex.quote(str(name))
            declared = self.target.workflow.graph.inputs
            self._refuse_reserved(declared)
            self.params += from_text.options(declared)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> int:
        """Turn the parsed options into inputs, and call back."""
        target = self.target
        if target is None:
            raise click.UsageError("name a WORKFLOW", ctx)
        values = dict(ctx.params)
        values.pop("workflow")
        declared = target.workflow.graph.inputs
        inputs: dict[str, Any] = {}
        stated: set[str] = set()
        if target.picture is not None:
            inputs |= target.picture.inputs
            values |= self._stated_by(target.picture, ctx)
        for name, spec in declared.items():
            given: str | tuple[str, ...] | None = values.pop(from_text.PREFIX + name, None)
            if given is None or given == ():
                continue
            stated.add(name)
            if isinstance(given, str):
                inputs[name] = from_text.read(name, spec, given)
            else:
                inputs[name] = _listed(name, spec, given)
        assigned = from_text.read_assigned(declared, values.pop("assigned"))
        inputs |= assigned
        sweep = from_text.sweep(declared, values.pop("sweep", ()))
        if twice := [name for name in sweep if name in stated or name in assigned]:
            raise click.BadParameter(
                f"{twice[0]} is swept and given one value as well: leave one of them out",
                param_hint="--sweep",
            )
        targets = list(values.pop("targets"))
        session = self._options(values)
        try:
            return self._run(
                target, session=session, inputs=inputs, sweep=sweep, targets=targets, **values
            )
        except WorkflowError as error:
            raise WorkflowError(_with_options(error.diagnostics, declared)) from error

    def _stated_by(self, picture: Picture, ctx: click.Context) -> dict[str, Any]:
        """The picture's settings, where the command line says nothing else."""
        from graphdiff.cli.again import settings_here

        return {
            name: value
            for name, value in settings_here(picture).items()
            if ctx.get_parameter_source(name) is ParameterSource.DEFAULT
        }

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the workflow's inputs apart from the command's options."""
        added = self.params[len(self._own) :]
        if added:
            assert self.target is not None
            graph = self.target.workflow.graph
            with formatter.section(f"Inputs of {graph.name or 'this workflow'}"):
                if graph.description:
                    formatter.write_text(graph.description)
                formatter.write_dl([record for p in added if (record := p.get_help_record(ctx))])
        own = [p for p in self.get_params(ctx) if isinstance(p, click.Option) and p not in added]
        with formatter.section("Options"):
            formatter.write_dl([record for p in own if (record := p.get_help_record(ctx))])

    def _workflow_in(self, args: Sequence[str]) -> str | None:
        """The first argument that is no option and no option's value.

        What follows an option that is not this command's own may be its value, or the workflow
        where the option does not exist: it is taken for the workflow if nothing else can be.
        """
        own = [p for p in self._own if isinstance(p, click.Option)]
        with_value = {flag for p in own if not p.is_flag for flag in p.opts}
        flags = {flag for p in own if p.is_flag for flag in p.opts} | {"--help", "-h"}
        doubtful: list[str] = []
        before = ""
        for arg in args:
            is_option = arg.startswith("-") and arg != "-"
            if before in with_value:
                before = ""
            elif is_option:
                before = arg if "=" not in arg else ""
            elif before and before not in flags and before != "--":
                doubtful.append(arg)
                before = ""
            else:
                return arg
        return doubtful[0] if doubtful else None

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


def _with_options(
    mistakes: Sequence[Diagnostic], declared: Mapping[str, Input]
) -> tuple[Diagnostic, ...]:
    """Mistakes; of inputs that are not given, with the option that gives them."""

    def told(mistake: Diagnostic) -> Diagnostic:
        name = str(mistake.path[-1]) if mistake.path else ""
        if mistake.code != "missing-input" or name not in declared:
            return mistake
        return replace(mistake, help=from_text.how_to_give(name, declared[name]))

    return tuple(map(told, mistakes))


def _listed(name: str, declared: Input, given: tuple[str, ...]) -> Any:  # noqa: ANN401
    """A list input: one JSON list, or the option once for each element."""
    if len(given) == 1 and given[0].lstrip().startswith("["):
        return from_text.read(name, declared, given[0])
    return [from_text.read_element(name, declared, text) for text in given]
