"""The names of a node's arguments: those that its type does not have, and those it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from graphdiff.graph.data import is_mapping
from graphdiff.graph.names import UNREAD, near
from graphdiff.graph.registry import Registry
from graphdiff.graph.spec import GraphPath, Value
from graphdiff.graph.values import Report


class ArgumentChecker:
    """Checks the names of arguments.

    Args:
        report: Takes the mistakes.
        may_help: Whether to look for what was meant, which takes time.
        registry: The nodes there are.
    """

    def __init__(self, report: Report, may_help: Callable[[], bool], registry: Registry) -> None:
        self._report = report
        self._may_help = may_help
        self._registry = registry

    def check(
        self,
        name: str,
        kind: str,
        given: Mapping[str, Value],
        unknown: Sequence[str],
        known: Iterable[str],
        required: Mapping[str, str],
        path: GraphPath,
    ) -> bool:
        """Report arguments that do not exist, and those that are needed and not given.

        Args:
            name: The node's name.
            kind: Its type.
            given: Its arguments, with renamed ones under their new names too.
            unknown: Those that its type does not have.
            known: Those that it has.
            required: What each argument takes that must be given, in words.
            path: Where the node is.

        Returns:
            Whether it may be the type that is wrong, so that nothing is known of the outputs.
        """
        missing = [] if UNREAD in given else [n for n in required if n not in given]
        free = [n for n in known if n not in given]
        unclear: list[str] = []
        for argument in unknown:
            meant = near(argument, missing) or near(argument, free) if self._may_help() else None
            if meant is None:
                unclear.append(argument)
                continue
            missing = [n for n in missing if n != meant]  # a misspelt argument is not missing too
            free.remove(meant)
            message = f"{kind} has no input {argument}"
            where = (*path, argument)
            self._report("unknown-argument", message, where, f"did you mean {meant}?", at_key=True)
        if unclear:
            message = f"{kind} has no input{'s' if len(unclear) > 1 else ''} {listed(unclear)}"
            help = self._instead(kind, given, missing, free)
            self._report("unknown-argument", message, (*path, unclear[0]), help, at_key=True)
        elif missing:
            message = f"{name}: {kind} needs {listed(missing)}"
            told = [
                required[n] if len(missing) == 1 else required[n].split(":")[0] for n in missing
            ]
            help = "; ".join(f"{n} is {said}" for n, said in zip(missing, told, strict=True))
            self._report("missing-argument", message, path, help, at_key=True)
        return bool(unclear)

    def _instead(
        self, kind: str, given: Mapping[str, Value], missing: Sequence[str], free: Sequence[str]
    ) -> str | None:
        """The help for arguments that are none: the type that has them, or those that there are."""
        if len(given) > 1 and self._may_help():
            fitting = [
                node.name
                for node in self._registry.nodes.values()
                if given.keys() <= node.params.keys()
                and all(p.name in given for p in node.params.values() if p.required)
            ]
            if len(fitting) == 1:
                return f"{fitting[0]} has {'these inputs' if len(given) > 1 else 'this input'}"
        for argument, value in given.items():
            if is_mapping(value) and value and set(value) <= set(free):
                return f"write {listed(value)} beside type:, without {argument}"
        if missing:
            return f"{kind} needs {listed(missing)}"
        return f"there is {listed(free)}" if 0 < len(free) <= 12 else None


def listed(names: Iterable[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
