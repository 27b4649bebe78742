"""Expressions in a scope: references followed, lists gathered, text joined."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeAlias, TypeGuard

from graphdiff.engine import paths
from graphdiff.engine.body import Expr, Gathered, Joined, Local, gathered_token
from graphdiff.engine.keys import token_of
from graphdiff.engine.scope import Goal, Need, Scope, Stuck
from graphdiff.engine.task import Form, Known, Many, Wire
from graphdiff.graph.spec import MISSING

ValueOf: TypeAlias = Callable[[Wire], Any]
"""Gives the value of a wire, or MISSING while it has none."""


def evaluate(expr: Expr, scope: Scope, value_of: ValueOf, *, safe: bool = False) -> Form | Need:
    """What an expression is in a scope, or what has to be filled first.

    Args:
        expr: The expression.
        scope: Where it stands.
        value_of: The value of a wire, or MISSING while it has none.
        safe: Whether text that is inserted becomes one component of a path.
    """
    if isinstance(expr, Known):
        return expr
    if isinstance(expr, Local):
        scope = scope.reading(expr.slot, expr.up) if expr.up else scope
        form = scope.values.get(expr.slot)
        return (scope, expr.slot) if form is None else form
    if isinstance(expr, Joined):
        return _text(expr, scope, value_of, safe=safe)
    return _gather(expr, scope, value_of)


def fill(scope: Scope, slot: str, expr: Expr, where: Scope, value_of: ValueOf) -> Need | None:
    """Fill a slot with what an expression is, or say what has to be filled first.

    Args:
        scope: Where the slot is.
        slot: The slot.
        expr: The expression.
        where: Where it stands.
        value_of: The value of a wire, or MISSING while it has none.
    """
    form = evaluate(expr, where, value_of)
    if not isinstance(form, Known | Wire | Many):
        return form
    scope.values[slot] = form
    return None


def _gather(expr: Gathered, scope: Scope, value_of: ValueOf) -> Form | Need:
    named = expr.items if isinstance(expr.items, dict) else None
    forms: list[Form] = []
    missing: list[Goal] = []
    items = expr.items if isinstance(expr.items, list) else list(expr.items.values())
    for item in items:
        form = evaluate(item, scope, value_of)
        if isinstance(form, Known | Wire | Many):
            forms.append(form)
        elif isinstance(form, tuple):
            missing.append(form)
        elif isinstance(form, list):
            missing += form
        else:
            return form
    if missing:  # all at once, since a list may be long; the first on top of the stack
        return missing[::-1]
    return gathered(dict(zip(named, forms, strict=True)) if named is not None else forms)


def _text(expr: Joined, scope: Scope, value_of: ValueOf, *, safe: bool) -> Form | Need:
    pieces: list[str] = []
    for part in expr.parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        form = evaluate(part, scope, value_of)
        if isinstance(form, Wire):
            value = value_of(form)
            if value is MISSING:
                return Stuck([form])
        elif isinstance(form, Known):
            value = form.value
        else:
            return Stuck() if isinstance(form, Many) else form
        text = shown(value)
        pieces.append(paths.component(text) if safe else text)
    joined = "".join(pieces)
    return Known(joined, token_of(joined), expr.base)


def known(form: Form) -> TypeGuard[Known]:
    """Whether a form has a value before the run."""
    return isinstance(form, Known)


def gathered(forms: list[Form] | dict[str, Form]) -> Form:
    """One form of several: known if all of them are."""
    items = list(forms.values() if isinstance(forms, dict) else forms)
    token = gathered_token(forms)
    if not all(map(known, items)):
        return Many(forms, token)
    if isinstance(forms, dict):
        return Known({name: form.value for name, form in forms.items() if known(form)}, token)
    return Known([form.value for form in forms if known(form)], token)


def shown(value: Any) -> str:  # noqa: ANN401 - a str, int, float, bool or enum
    """A value as text that is inserted into other text, as it would be written in a file."""
    if isinstance(value, Enum):
        value = value.value
    if value is True or value is False:
        return "true" if value else "false"
    return str(value)
