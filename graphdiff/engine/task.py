"""What linking gives: values known at plan time, calls to make, and the wires between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from graphdiff.engine.keys import token_of

if TYPE_CHECKING:
    from graphdiff.engine.body import CallSite
    from graphdiff.engine.job import Job
    from graphdiff.engine.kind import Kind
    from graphdiff.engine.scope import Scope
    from graphdiff.graph.spec import GraphPath


class Known:
    """A value that is known while the run is planned.

    Attributes:
        value: The value.
        token: What it adds to the key of a call: its content.
        base: The folder that it is relative to if it is read as a path; None for the working
            directory.
        item_tokens: The tokens of its items, where a loop goes over it.
    """

    __slots__ = ("base", "item_tokens", "token", "value")

    def __init__(self, value: Any, token: bytes, base: Path | None = None) -> None:  # noqa: ANN401
        self.value = value
        self.token = token
        self.base = base
        self.item_tokens: list[bytes] | None = None

    def __repr__(self) -> str:
        return f"Known({self.value!r})"


class Wire:
    """One output of a call that runs later.

    Attributes:
        task: The call.
        port: Which of its outputs, by position.
        token: What it adds to the key of a call that reads it: the key of the call it comes from.
        fact: What the node's `infer` said of it.
    """

    __slots__ = ("fact", "port", "task", "token")

    def __init__(self, task: Task, port: int, token: bytes) -> None:
        self.task = task
        self.port = port
        self.token = token
        self.fact: Any = None

    def __repr__(self) -> str:
        return f"Wire({self.task.name}, {self.task.kind.ports[self.port]!r})"


class Many:
    """A list or map with at least one wire in it."""

    __slots__ = ("items", "token")

    def __init__(self, items: list[Form] | dict[str, Form], token: bytes) -> None:
        self.items = items
        self.token = token

    def __repr__(self) -> str:
        return f"Many({self.items!r})"


Form: TypeAlias = Known | Wire | Many

Step: TypeAlias = tuple[str, int, int | None]
"""The end of a pass: the loop's name, the pass from 1, of how many."""

NOTHING: Final = Known(None, token_of(None))


class Task:
    """One call: what to call, with what, and under which key its outputs are kept.

    Attributes:
        kind: What the engine knows of the node.
        key: The key of its outputs: 32 hexadecimal digits.
        args: The arguments in the order of `kind.names`; those that come over a wire are None.
            Calls may share the list.
        tokens: What each argument adds to the key.
        wires: Which arguments are an output of another call, by position.
        nested: Which arguments are lists or maps with outputs of other calls in them.
        outs: Its outputs, in the order of `kind.ports`.
        fresh: Whether it must run in each run, since it depends on what is never cached.
        steps: The loop passes that end when it has run.
        scope: The pass or workflow that it was linked in first.
        site: Where it stands there.
        number: Its place in the order of linking: after every call that it reads.
        job: What the run knows of it, once it is needed.
    """

    __slots__ = (
        "args",
        "fresh",
        "job",
        "key",
        "kind",
        "nested",
        "number",
        "outs",
        "scope",
        "site",
        "steps",
        "tokens",
        "wires",
    )

    def __init__(
        self,
        kind: Kind,
        key: str,
        args: list[Any],
        tokens: list[bytes],
        wires: tuple[tuple[int, Wire], ...],
        scope: Scope,
        site: CallSite,
        number: int,
    ) -> None:
        self.kind = kind
        self.key = key
        self.args = args
        self.tokens = tokens
        self.wires = wires
        self.nested: tuple[tuple[int, Many], ...] = ()
        self.scope = scope
        self.site = site
        self.fresh = False
        self.number = number
        self.job: Job | None = None
        self.steps: tuple[Step, ...] = ()
        token = b"@" + key.encode()
        if kind.single:
            self.outs: tuple[Wire, ...] = (Wire(self, 0, token + b";"),)
        else:
            self.outs = tuple(
                Wire(self, i, token + port.encode() + b";") for i, port in enumerate(kind.ports)
            )

    @property
    def name(self) -> str:
        """Its name in events, such as `denoise[3].step`."""
        return self.scope.prefix + self.site.label

    @property
    def path(self) -> GraphPath:
        """Where it stands in the workflow."""
        return self.site.path

    @property
    def carried(self) -> bool:
        """Whether it is inside a loop that carries something from pass to pass."""
        return self.scope.carried

    def sources(self) -> list[Wire]:
        """Every output that it reads; one that is read twice stands here twice."""
        found = [wire for _, wire in self.wires]
        for _, many in self.nested:
            found += wires_in(many)
        return found

    def __repr__(self) -> str:
        return f"<call {self.name} of {self.kind.node.name}>"


def wires_in(form: Form) -> list[Wire]:
    """Every wire in a form, however deep."""
    if isinstance(form, Wire):
        return [form]
    if isinstance(form, Known):
        return []
    items = form.items.values() if isinstance(form.items, dict) else form.items
    return [wire for item in items for wire in wires_in(item)]


def filled(form: Form, value_of: Callable[[Wire], Any]) -> Any:  # noqa: ANN401 - any value
    """The value of a form, where `value_of(wire)` gives that of a wire."""
    if isinstance(form, Known):
        return form.value
    if isinstance(form, Wire):
        return value_of(form)
    if isinstance(form.items, dict):
        return {name: filled(item, value_of) for name, item in form.items.items()}
    return [filled(item, value_of) for item in form.items]
