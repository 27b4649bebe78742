"""What all calls of pipelines do: arguments, as a signature lists them, become a request."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, cast

from graphdiff.pipelines.absent import ARGUMENTS
from graphdiff.pipelines.request import Request

F = TypeVar("F", bound=Callable[..., Any])


def call(function: F) -> F:
    """Make the call of a pipeline, of a method that has a signature and a docstring and no body.

    Each pipeline so keeps a signature of its own, which editors and type checkers see.

    Args:
        function: Its parameters are fields of Request.

    Raises:
        TypeError: A parameter is none.
    """
    signature = inspect.signature(function)
    known = [name for name in signature.parameters if name != "self"]
    strange = set(known) - {field.name for field in fields(Request)}
    if strange:
        raise TypeError(f"{function.__qualname__}: a Request has no {', '.join(sorted(strange))}")

    @wraps(function)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the method says
        name = type(self).__name__
        given = {key: value for key, value in kwargs.items() if not _asks_nothing(key, value)}
        _check_names(name, known, given)
        try:
            bound = signature.bind(self, *args, **given)
        except TypeError as error:  # too many, or one of them twice
            raise TypeError(f"{name}: {error}") from None
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        del arguments["self"]
        return self._run(Request(**arguments))

    return cast("F", run)


def _asks_nothing(name: str, value: object) -> bool:
    """Whether it is an argument of diffusers' that there is not, and says nothing."""
    return name in ARGUMENTS and value is None


def _check_names(pipeline: str, known: Sequence[str], given: Iterable[str]) -> None:
    for name in given:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        instead = ARGUMENTS.get(name) or (
            f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
        )
        raise TypeError(f"a call of {pipeline} takes no {name!r}: {instead}")
