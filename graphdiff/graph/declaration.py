"""What a function that is to be a node has wrong: refused where it is declared, with its line."""

from __future__ import annotations

import inspect
import linecache
import re
import sys
import typing
from collections.abc import Callable, Collection, Mapping
from types import FrameType
from typing import Any, Final

_HERE: Final = (__name__, __name__.rpartition(".")[0] + ".node")


class DeclarationError(TypeError):
    """A function that cannot be a node, with its file and line, its name, and what to change."""


def refuse_signature(name: str, fn: Callable[..., Any], injected: Collection[type]) -> None:
    """Refuse a signature that does not say all, as far as it can be judged yet.

    Args:
        name: The node's name.
        fn: The function.
        injected: The types of parameters that the engine fills in.

    Raises:
        DeclarationError: an annotation is missing, there are `*args`, or a default is not of its
            type.
    """
    if not inspect.isfunction(fn):
        raise wrong(name, fn, "a node is made of a function")
    annotations = inspect.get_annotations(fn)
    for parameter in inspect.signature(fn).parameters.values():
        known = parameter.name
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise wrong(name, fn, f"{stars}{known} is not possible: name each input", at=known)
        if known not in annotations:
            raise wrong(name, fn, f"parameter {known!r} needs an annotation", at=known)
        annotation = annotations[known]
        if parameter.default is parameter.empty or _obvious(parameter.default, annotation):
            continue
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, fn.__globals__)
            except Exception:  # what is defined further down; judged when all is there
                continue
        if annotation not in injected:
            refuse_default(name, fn, parameter, annotation)
    if "return" not in annotations:
        raise wrong(name, fn, "the result needs an annotation, as in `-> Latents`")


def refuse_default(
    name: str,
    fn: Callable[..., Any],
    parameter: inspect.Parameter,
    annotation: Any,  # noqa: ANN401 - annotations are any object
) -> None:
    """Refuse a default that is not of its type.

    Raises:
        DeclarationError: it is not.
    """
    from graphdiff.graph.literals import LiteralError, convert

    if parameter.default is parameter.empty:
        return
    known = parameter.name
    try:
        convert(parameter.default, annotation)
    except LiteralError as error:
        instead = f": {error.help}" if error.help else ""
        if parameter.default is None:
            instead = f": write `{known}: ... | None`"
        raise wrong(
            name, fn, f"the default of {known} {error.message}{instead}", at=known
        ) from None


def hints_of(name: str, fn: Callable[..., Any], thing: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """The annotations of a node's function, or of the class that it gives, resolved.

    Raises:
        DeclarationError: one of them names what its module does not have.
    """
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except NameError as error:
        message = f"an annotation names {error.name!r}, which is neither defined nor imported there"
        raise wrong(name, fn, message, at=error.name or "") from error
    except (TypeError, SyntaxError) as error:
        raise wrong(name, fn, f"an annotation is no type: {error}") from error


def wrong(name: str, fn: Callable[..., Any], message: str, *, at: str = "") -> DeclarationError:
    """The error, at the line of the function's signature that has this word in it.

    Args:
        name: The node's name.
        fn: What should be its function.
        message: What is wrong with it.
        at: The word; the name of the function where there is none.
    """
    code = getattr(fn, "__code__", None)
    if code is None:  # no function: where it was to be made a node
        frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        while frame is not None and frame.f_globals.get("__name__") in _HERE:
            frame = frame.f_back
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}: " if frame is not None else ""
    else:
        line: int = code.co_firstlineno
        lines = linecache.getlines(code.co_filename)[line - 1 : line + 100]
        word = re.compile(rf"\b{re.escape(at)}\b" if at else r"\s*(async )?def ")
        found = (i for i, text in enumerate(lines) if word.search(text.partition("#")[0]))
        place = f"{code.co_filename}:{line + next(found, 0)}: "
    return DeclarationError(f"{place}node {name}: {message}")


def _obvious(default: object, annotation: Any) -> bool:  # noqa: ANN401 - any annotation
    """Whether a default is of its type as far as the names tell, which is quick to see."""
    if not isinstance(annotation, str):
        return annotation is type(default)
    plain = annotation.removesuffix(" | None")
    return type(default).__name__ == plain or (default is None and plain != annotation)
