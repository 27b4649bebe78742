"""A workflow's inputs as command-line options, and their values from text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from graphdiff.graph.literals import LiteralError, convert, input_annotation
from graphdiff.graph.spec import MISSING, Input


def options(inputs: Mapping[str, Input]) -> list[click.Option]:
    """One option for each input that can be written as text."""
    return [_option(name, declared) for name, declared in inputs.items() if is_plain(declared)]


def is_plain(declared: Input) -> bool:
    """Whether the input can be given as text: a scalar, a path, or a list of these."""
    return _element(declared.type) in ("str", "int", "float", "bool", "path")


def read(name: str, declared: Input, text: str) -> Any:  # noqa: ANN401 - any input type
    """The value that `text` states for an input; text is never read as a reference.

    Raises:
        click.BadParameter: the text is no value of the declared type.
    """
    try:
        value = _parse(declared, text)
        value = convert(value, input_annotation(declared))
    except (LiteralError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint=f"--{name.replace('_', '-')}") from None
    return value


def read_element(name: str, declared: Input, text: str) -> Any:  # noqa: ANN401 - any input type
    """The value of one element of a list input.

    Raises:
        click.BadParameter: the text is no value of the element's type.
    """
    return read(name, replace(declared, type=_element(declared.type), optional=False), text)


def assignments(inputs: Mapping[str, Input], pairs: Iterable[str], option: str) -> dict[str, str]:
    """The NAME=VALUE pairs of an option, with names that the workflow has."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r}: write NAME=VALUE", param_hint=option)
        found[_known(inputs, name, option)] = value
    return found


def sweep(inputs: Mapping[str, Input], pairs: Sequence[str]) -> dict[str, list[Any]]:
    """The values of each name in `--sweep NAME=VALUES` options.

    A name given again adds to its values. Values are `0..7` (inclusive), numbers and choices by
    commas, a JSON list, `@file` with one a line, or one text.
    """
    axes: dict[str, list[Any]] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r}: write NAME=VALUES", param_hint="--sweep")
        declared = inputs[_known(inputs, name, "--sweep")]
        values = [read(name, declared, item) for item in _sweep_items(declared, text)]
        if not values:
            raise click.BadParameter(f"{pair!r} holds no value", param_hint="--sweep")
        axes.setdefault(name, []).extend(values)
    return axes


def _known(inputs: Mapping[str, Input], name: str, option: str) -> str:
    if name in inputs:
        return name
    import difflib

    near = difflib.get_close_matches(name, inputs, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(inputs) or 'none'}"
    raise click.BadParameter(f"the workflow has no input {name!r}: {hint}", param_hint=option)


def _element(declared: str) -> str:
    return declared.removeprefix("[").removesuffix("]").strip()


def _option(name: str, declared: Input) -> click.Option:
    flag = f"--{name.replace('_', '-')}"
    many = declared.type.startswith("[")
    default = declared.default
    shown = "required" if default is MISSING else f"default: {json.dumps(default, default=str)}"
    bounds = [f"min {declared.min:g}"] if declared.min is not None else []
    bounds += [f"max {declared.max:g}"] if declared.max is not None else []
    if declared.choices:
        bounds.append("one of " + ", ".join(map(str, declared.choices)))
    return click.Option(
        [flag] if flag[2:] == name else [flag, f"--{name}"],
        metavar=_element(declared.type).upper() + ("..." if many else ""),
        multiple=many,
        help=f"{declared.help} [{'; '.join([shown, *bounds])}]".strip(),
    )


def _parse(declared: Input, text: str) -> Any:  # noqa: ANN401 - any input type
    kind = declared.type
    if declared.optional and text == "null" and kind != "str":
        return None
    if kind.startswith("["):
        listed = json.loads(text)
        if not isinstance(listed, list):
            raise ValueError(f"wants a JSON list, as in '[1, 2]', not {text!r}")
        return listed
    if kind == "str":
        return text
    if kind == "path":
        return Path(text).expanduser().absolute()
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"wants {kind}, not {text!r}") from None


def _sweep_items(declared: Input, text: str) -> list[str]:
    if text.startswith("@"):
        lines = Path(text[1:]).expanduser().read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.strip()]
    if text.startswith("["):
        return [item if isinstance(item, str) else json.dumps(item) for item in json.loads(text)]
    if declared.type == "int" and ".." in text:
        first, _, last = text.partition("..")
        low, high = int(first), int(last)
        step = 1 if high >= low else -1
        return [str(number) for number in range(low, high + step, step)]
    if declared.type in ("int", "float", "bool") or declared.choices:
        return [item.strip() for item in text.split(",")]
    return [text]
