"""A workflow's inputs as command-line options, and their values from text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from graphdiff.graph.data import is_sequence
from graphdiff.graph.literals import LiteralError, convert, input_annotation
from graphdiff.graph.spec import MISSING, Input

PREFIX: Final = "input_"
"""What the names of values that inputs are given begin with, apart from those of the options."""

_MOST_POINTS: Final = 100_000


def options(inputs: Mapping[str, Input]) -> list[click.Option]:
    """One option for each input that can be written as text."""
    return [_option(name, declared) for name, declared in inputs.items() if is_plain(declared)]


def is_plain(declared: Input) -> bool:
    """Whether the input can be given as text: a scalar, a path, or a list of these."""
    return _element(declared.type) in ("str", "int", "float", "bool", "path")


def how_to_give(name: str, declared: Input) -> str:
    """What to write on the command line to give an input a value."""
    if not is_plain(declared):
        return (
            f"{declared.type} cannot be an option: this workflow is a part, to be the type of a "
            f"node in another, which wires {name} in"
        )
    kind = _element(declared.type).upper()
    said = f": {declared.help}" if declared.help else ""
    return f"give --{name.replace('_', '-')} {kind}{said}"


def read(name: str, declared: Input, text: str, *, option: str = "") -> Any:  # noqa: ANN401
    """The value that `text` states for an input; text is never read as a reference.

    Args:
        name: The input.
        declared: How it is declared.
        text: What was given.
        option: The option that it was given by, if not that of the input's name.

    Raises:
        click.BadParameter: the text is no value of the declared type.
    """
    try:
        value = _parse(declared, text)
        value = convert(value, input_annotation(declared))
    except (LiteralError, ValueError) as error:
        hint = f"{option} {name}" if option else f"--{name.replace('_', '-')}"
        raise click.BadParameter(str(error), param_hint=hint) from None
    return value


def read_assigned(inputs: Mapping[str, Input], pairs: Iterable[str]) -> dict[str, Any]:
    """The values of the NAME=VALUE pairs of `--set`.

    Raises:
        click.BadParameter: a pair is none, or names no input, or its text is no value of it.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r}: write NAME=VALUE", param_hint="--set")
        name = _known(inputs, name, "--set")
        found[name] = read(name, inputs[name], text, option="--set")
    return found


def read_element(name: str, declared: Input, text: str) -> Any:  # noqa: ANN401 - any input type
    """The value of one element of a list input.

    Raises:
        click.BadParameter: the text is no value of the element's type.
    """
    return read(name, replace(declared, type=_element(declared.type), optional=False), text)


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
        hint = f"--sweep {name}"
        try:
            items = _sweep_items(declared, text)
        except OSError as error:
            why = f"{error.filename}: {(error.strerror or str(error)).lower()}"
            raise click.BadParameter(why, param_hint=hint) from None
        except ValueError as error:
            raise click.BadParameter(f"{text!r}: {error}", param_hint=hint) from None
        if not items or (items == [""] and declared.type != "str"):
            example = "0..7" if declared.type == "int" else "a value, or several with commas"
            raise click.BadParameter(f"no value is given: write {example}", param_hint=hint)
        values = [read(name, declared, item, option="--sweep") for item in items]
        axes.setdefault(name, []).extend(values)
    count = math.prod(map(len, axes.values()))
    if count > _MOST_POINTS:
        raise click.BadParameter(
            f"these are {count} points together: sweep at most {_MOST_POINTS} at a time",
            param_hint="--sweep",
        )
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
        [PREFIX + name, *dict.fromkeys((flag, f"--{name}"))],
        metavar=_element(declared.type).upper() + ("..." if many else ""),
        multiple=many,
        help=f"{declared.help} [{'; '.join([shown, *bounds])}]".strip(),
        shell_complete=_completer(declared),
    )


def _completer(
    declared: Input,
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """What a shell offers as values of an input."""
    element = _element(declared.type)
    values = declared.choices or (("true", "false") if element == "bool" else ())

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        if element == "path":
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(str(v)) for v in values if str(v).startswith(incomplete)]

    return complete


def _parse(declared: Input, text: str) -> Any:  # noqa: ANN401 - any input type
    kind = declared.type
    if declared.optional and text == "null" and kind != "str":
        return None
    if kind.startswith("["):
        try:
            listed = json.loads(text)
        except ValueError:
            listed = None
        if is_sequence(listed):
            return listed
        raise ValueError(f"wants a JSON list, as in '[1, 2]', not {text!r}")
    if kind == "str":
        if any("\ud800" <= c <= "\udfff" for c in text):  # bytes that the terminal did not mean so
            raise ValueError(f"wants text in UTF-8, got {text!r}")
        return text
    if kind == "path":
        return Path(text).expanduser().absolute()
    if kind == "bool":
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ValueError(f"wants true or false, not {text!r}")
    try:
        value = json.loads(text)
    except ValueError:
        if re.fullmatch(r"[+-]?\d+", text):  # 007 and +1, which JSON does not know
            return int(text)
        if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text):
            return float(text)
        raise ValueError(f"wants {kind}, not {text!r}") from None
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(f"wants a finite number, not {text}")
    return value


def _sweep_items(declared: Input, text: str) -> list[str]:
    if text.startswith("@"):
        try:
            lines = Path(text[1:]).expanduser().read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise ValueError("this file is not UTF-8 text") from None
        return [line for line in lines if line.strip()]
    if text.startswith("["):
        try:
            listed: list[Any] = json.loads(text)
        except ValueError as error:
            raise ValueError(f"this is no JSON list ({error})") from None
        if declared.type.startswith("[") and not all(isinstance(item, list) for item in listed):
            whole = json.dumps([listed], ensure_ascii=False)
            raise ValueError(f"a value of this input is a list itself: write {whole}")
        return [item if isinstance(item, str) else json.dumps(item) for item in listed]
    if declared.type == "int" and ".." in text:
        first, _, last = text.partition("..")
        try:
            low, high = int(first), int(last)
        except ValueError:
            raise ValueError("write a range as two whole numbers, as in 0..7") from None
        if abs(high - low) >= _MOST_POINTS:
            raise ValueError(f"these are more than {_MOST_POINTS} values")
        step = 1 if high >= low else -1
        return [str(number) for number in range(low, high + step, step)]
    if declared.type in ("int", "float", "bool") or declared.choices:
        return [item.strip() for item in text.split(",")]
    return [text]
