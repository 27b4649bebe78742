"""What is wrong with a wire between types that do not fit, and the ways out."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from graphdiff.graph.annotations import (
    NONE,
    is_list,
    is_union,
    resolve,
    union,
)
from graphdiff.graph.scope import Scope
from graphdiff.graph.spec import Ref
from graphdiff.graph.types import assignable, type_name

SCALAR_TYPES: Final = (str, int, float, bool, NONE, None)


def mismatch(ref: Ref, given: Any, wanted: Any) -> tuple[str, str | None]:  # noqa: ANN401
    """What is wrong with a wire, and the way out where the two types tell it."""
    message = f"wants {type_name(wanted)}, but {ref} is {type_name(given)}"
    without = [m for m in get_args(resolve(given)) if m is not NONE] if is_union(given) else []
    if without and NONE in get_args(resolve(given)) and assignable(union(without), wanted):
        message = f"wants {type_name(wanted)}, but {ref} may be null"
        if "carry" in ref.path[:2]:
            message += ", as it is in the first pass"
            return message, "carry another value at the start"
        if ref.path[0] == "inputs":
            return message, f"give {ref.path[-1]} a default other than null, without optional"
        return message, None
    plain = resolve(wanted)
    if get_origin(plain) is typing.Literal and ref.path[0] == "inputs":
        choices = ", ".join(map(str, get_args(plain)))
        return message, f"declare the input with choices: [{choices}]"
    if plain is Path and ref.path[0] == "inputs":
        return message, "declare the input with type: path"
    if assignable(given, float) and plain is int:
        return message, "an int feeds a float, but not the reverse"
    if is_list(plain) and get_args(plain) and assignable(given, get_args(plain)[0]):
        return message, f"write [{ref}]"
    return message, None


def fitting_help(wanted: Any, scope: Scope) -> str | None:  # noqa: ANN401 - an annotation
    """The outputs in sight that would fit; none for plain numbers and text, which are many."""
    plain = resolve(wanted)
    members = get_args(plain) if is_union(plain) else (plain,)
    if all(resolve(member) in SCALAR_TYPES for member in members):
        return None
    found = scope.fitting(wanted)
    return f"{' or '.join(found)} would fit" if found else None
