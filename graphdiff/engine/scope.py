"""Where linking puts what it finds: the slots of a workflow, of a part, of each pass of a loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from graphdiff.engine.body import Body, LoopSite, slots_in
from graphdiff.engine.keys import token_of
from graphdiff.engine.task import Form, Known, Many, Wire


class Stuck:
    """What cannot be linked yet: it depends on values that only running gives.

    Attributes:
        wires: Those values; none where a mistake was found.
    """

    __slots__ = ("wires",)

    def __init__(self, wires: Iterable[Wire] = ()) -> None:
        self.wires = tuple(wires)


class Scope:
    """The slots of a workflow, or of one pass of a loop.

    Attributes:
        body: How they are filled.
        parent: The scope around it, which a loop's body sees.
        values: What fills them, so far.
        prefix: What the names of its calls begin with in events.
        carried: Whether it is inside a loop that carries something.
        loop: The loop that it is a pass of, and which pass, from 0.
        outer: For a part, where its arguments are written.
        point: The number of the set of inputs that it is linked for.
        pinned: Whether calls that are not linked yet may read what is in it.
    """

    __slots__ = (
        "body", "carried", "index", "loop", "outer", "parent", "pinned", "point", "prefix",
        "values",
    )  # fmt: skip

    def __init__(
        self,
        body: Body,
        parent: Scope | None,
        prefix: str,
        *,
        carried: bool,
        loop: Passes | None = None,
        index: int = 0,
        outer: Scope | None = None,
        point: int = 0,
    ) -> None:
        self.body = body
        self.parent = parent
        self.values: dict[str, Any] = {}
        self.prefix = prefix
        self.carried = carried
        self.loop = loop
        self.index = index
        self.outer = outer
        self.point: int = point if parent is None else parent.point
        self.pinned = False

    def outward(self, up: int) -> Scope:
        """The scope that is so many scopes further out."""
        scope = self
        for _ in range(up):
            assert scope.parent is not None
            scope = scope.parent
        return scope

    def reading(self, slot: str, up: int) -> Scope:
        """The same, where a loop on the way notes that something in it reads a slot there."""
        inside = self.outward(up - 1)
        assert inside.loop is not None
        assert inside.parent is not None
        inside.loop.reads[slot] = None
        return inside.parent


Goal: TypeAlias = tuple[Scope, str]
"""A slot that is to be filled."""

Need: TypeAlias = Goal | list[Goal] | Stuck
"""What has to be filled first: a slot, or several, the first of them last, as on a stack."""


class Items:
    """What a loop goes over: values, forms, or numbers."""

    __slots__ = ("_items", "_tokens")

    def __init__(self, items: Sequence[Any], tokens: list[bytes] | None = None) -> None:
        """Go over these.

        Args:
            items: Values, forms, or numbers.
            tokens: Those of values, where they are known.
        """
        self._items = items
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._items)

    @classmethod
    def of(cls, known: Known, values: Sequence[Any]) -> Items:
        """The values that a loop finds in something known, whose tokens are noted there."""
        if known.item_tokens is None:
            known.item_tokens = [token_of(value) for value in values]
        return cls(values, known.item_tokens)

    def __getitem__(self, index: int) -> Form:
        item = self._items[index]
        if isinstance(item, Known | Wire | Many):
            return item
        return Known(item, token_of(item) if self._tokens is None else self._tokens[index])


class Passes:
    """A loop in a scope: what it goes over, and its passes so far.

    Attributes:
        items: What it goes over, or several of these by name.
        count: How many passes there are, as far as is known.
        checked: How many of them `until` was found false after.
        settled: Whether `count` is final.
        reads: The slots around it that were read when it was linked, in this order.
    """

    __slots__ = ("checked", "count", "items", "reads", "scope", "scopes", "settled", "site")

    def __init__(
        self, site: LoopSite, scope: Scope, items: Items | dict[str, Items], count: int
    ) -> None:
        self.site = site
        self.scope = scope
        self.items = items
        self.count = count
        self.scopes: list[Scope] = []
        self.checked = 0
        self.settled = not site.until
        over = site.over.values() if isinstance(site.over, dict) else (site.over,)
        self.reads = dict.fromkeys(slot for expr in over for slot in slots_in(expr))

    def at(self, index: int) -> Scope:
        """The scope of a pass."""
        while len(self.scopes) <= index:
            self.scopes.append(
                Scope(
                    self.site.body,
                    self.scope,
                    f"{self.scope.prefix}{self.site.label}[{len(self.scopes)}].",
                    carried=self.scope.carried or bool(self.site.names),
                    loop=self,
                    index=len(self.scopes),
                )
            )
        return self.scopes[index]

    def move(self, scope: Scope) -> None:
        """Stand in another scope that is filled alike."""
        self.scope = scope
        for inside in self.scopes:
            inside.parent = scope

    def item(self, index: int, name: str) -> Form:
        """What a pass finds in `$item`, or in `$item.name`."""
        items = self.items[name] if isinstance(self.items, dict) else self.items
        return items[index]
