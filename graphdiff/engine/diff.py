"""What two workflows compute differently, and what of that is the cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphdiff.engine.account import Account, account_of, root_of
from graphdiff.engine.causes import causes
from graphdiff.engine.plan import Plan

_MOST = 6  # names that are told


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two workflows.

    Args:
        same: How many nodes compute the same in both.
        changed: What was changed, in the workflow's words: `inputs.guidance: 5.0 -> 3.0`.
        added: Nodes that only the second has, with what they are given.
        removed: Nodes that only the first has.
        renamed: Nodes that have another name in the second: the old name, the new one.
        follows: Nodes that compute something else because of all that.
        rerun: Calls of the second that the first did not make.
    """

    same: int
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    follows: tuple[str, ...]
    rerun: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.added or self.removed or self.renamed or self.rerun)

    def __str__(self) -> str:
        return "\n".join(self.lines()) or "they compute the same"

    def lines(self) -> Iterable[str]:
        """What differs, for people: the causes first."""
        yield from (f"~ {change}" for change in self.changed)
        yield from (f"+ {node}" for node in self.added)
        yield from (f"- {node}" for node in self.removed)
        for old, new in dict.fromkeys(_apart(*pair) for pair in self.renamed):
            yield f"= {old} is now called {new}"
        if self.follows:
            others = len(self.follows) - _MOST
            more = f" and {others} more" if others > 0 else ""
            verb = "follows" if len(self.follows) == 1 else "follow"
            yield f"{', '.join(self.follows[:_MOST])}{more} {verb} from that"
        if self.rerun:
            calls = "call" if len(self.rerun) == 1 else "calls"
            yield f"{len(self.rerun)} {calls} would have to run again"


def diff(first: Plan, second: Plan) -> Diff:
    """What the second of two plans computes that the first does not.

    Args:
        first: The plan of one workflow, as `Session.plan` gives it.
        second: That of the other.
    """
    found = causes(_account(first), _account(second))
    known = {call.key for call in first.calls if call.key}
    return Diff(
        same=found.same,
        changed=found.changed,
        added=found.added,
        removed=found.removed,
        renamed=found.renamed,
        follows=found.follows,
        rerun=tuple(c.name for c in second.calls if c.key and c.key not in known),
    )


def _apart(old: str, new: str) -> tuple[str, str]:
    """Two names without what they end with alike: a part that was renamed is told as one."""
    before, after = old.split("."), new.split(".")
    while len(before) > 1 and len(after) > 1 and before[-1] == after[-1]:
        del before[-1], after[-1]
    return ".".join(before), ".".join(after)


def _account(plan: Plan) -> Account:
    """What a plan was stated by; of several sets of inputs, the first."""
    task = next((call.task for call in plan.calls if call.task is not None), None)
    return {} if task is None else account_of(root_of(task), plan.files)
