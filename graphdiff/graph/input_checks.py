"""The declaration of an input: what it contradicts, and what is known of the input by it."""

from __future__ import annotations

from typing import Any

from graphdiff.graph.inputs import SCALARS, UnknownTypeError, input_annotation
from graphdiff.graph.literals import LiteralError, convert
from graphdiff.graph.names import did_you_mean
from graphdiff.graph.registry import Registry
from graphdiff.graph.scope import ANYTHING, Out
from graphdiff.graph.spec import MISSING, GraphPath, Input
from graphdiff.graph.values import Report


def input_out(
    name: str, declared: Input, path: GraphPath, registry: Registry, report: Report
) -> Out:
    """Check an input that a graph declares, and give what is known of it.

    Args:
        name: Its name.
        declared: The declaration.
        path: Where that stands.
        registry: The nodes, whose types may be those of inputs.
        report: Takes the mistakes.
    """
    label = f"inputs.{name}"
    if not declared.type:
        return ANYTHING
    # A registry gathers its types when it is asked for them.
    types = registry.types if _is_wire(declared) else dict[str, type]()
    try:
        plain = input_annotation(Input(declared.type), types)
    except UnknownTypeError as error:
        wanted = str(error.args[0])
        near = did_you_mean(wanted, [*SCALARS, *registry.types])
        help = near or f"there is {', '.join(SCALARS)}, and lists: [str]"
        report("unknown-type", f"{label}: there is no type {wanted}", (*path, "type"), help)
        return ANYTHING
    annotation = input_annotation(declared, types)
    if _contradicts_itself(label, declared, plain, path, report):
        return ANYTHING
    if declared.default is not MISSING:
        try:
            convert(declared.default, annotation)
        except LiteralError as error:
            instead = error.help
            if declared.default is None and not declared.optional:
                instead = "write optional: true, or another default"
            report(error.code, f"{label}: {error.message}", (*path, "default"), instead)
            return ANYTHING
    return Out(annotation, True)


def _contradicts_itself(
    label: str,
    declared: Input,
    plain: Any,  # noqa: ANN401 - the annotation of its type alone
    path: GraphPath,
    report: Report,
) -> bool:
    wrong: list[tuple[str, str, GraphPath, str | None]] = []
    if _is_wire(declared) and declared.default not in (MISSING, None):
        message = f"{declared.type} comes by a wire and has no default"
        wrong.append(("wrong-input", message, ("default",), "remove the default"))
    for key, bound in (("min", declared.min), ("max", declared.max)):
        if bound is not None and plain not in (int, float):
            message = f"{key} is for numbers, and this is {declared.type}"
            wrong.append(("wrong-input", message, (key,), None))
    if declared.min is not None and declared.max is not None and declared.min > declared.max:
        message = f"min {declared.min} is more than max {declared.max}"
        wrong.append(("wrong-input", message, ("min",), None))
    for i, choice in enumerate(declared.choices or ()):
        try:
            convert(choice, plain)
        except LiteralError as error:
            wrong.append((error.code, error.message, ("choices", i), error.help))
    for code, message, where, help in wrong:
        report(code, f"{label}: {message}", (*path, *where), help)
    return bool(wrong)


def _is_wire(declared: Input) -> bool:
    return declared.type.strip("[] ") not in SCALARS
