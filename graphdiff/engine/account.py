"""What a plan was stated by: every node in the workflow's own words, as data that can be kept.

Where keys say whether two calls are the same, an account says what they were made of: the inputs,
literals, wires and files behind each node, the nodes of all passes of a loop taken together, plan
nodes among them. Two accounts side by side say why two runs differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from graphdiff.engine import paths
from graphdiff.engine.body import Body, CallSite, Expr, Local, LoopSite, PartSite
from graphdiff.engine.by_identity import ByIdentity
from graphdiff.engine.evaluate import evaluate
from graphdiff.engine.facts import facts_of, plain, short_path
from graphdiff.engine.kind import Kind
from graphdiff.engine.origin import Origin, folded
from graphdiff.engine.program import scopes_in
from graphdiff.engine.scope import Passes, Scope
from graphdiff.engine.task import NOTHING, Known, Many, Task, Wire
from graphdiff.graph.spec import MISSING

_FACTS_OF = ByIdentity(facts_of)

MOST_NODES = 1000
"""A workflow of more nodes is not accounted for: telling why costs more than it tells."""

Leaves = Mapping[str, Any]
"""What an argument was stated by, by place: `{"is": value}`, or `{"from": ["node.port"]}`."""


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """One node, the passes of its loops taken together.

    Args:
        type: Its type; `Loop` for a loop.
        key: Equal where it computes the same.
        made_by: Versions and a hash of the code that compute it, by name.
        stated: For each argument what it was stated by, as far as it is not the default.
        sources: The nodes that it reads.
        found: What was found in the world: hashes of files, devices, settings of checkpoints.
        defaulted: Arguments that were stated and came to the default.
    """

    type: str
    key: str
    made_by: Mapping[str, str] = field(default_factory=dict[str, str])
    stated: Mapping[str, Leaves] = field(default_factory=dict[str, Leaves])
    sources: tuple[str, ...] = ()
    found: Mapping[str, Any] = field(default_factory=dict[str, Any])
    defaulted: tuple[str, ...] = ()


Account = Mapping[str, NodeAccount]
"""The nodes of a workflow by name, such as `denoise.cond`, in its order."""


def root_of(task: Task) -> Scope:
    """The scope of the workflow that a call is part of."""
    scope = task.scope
    while (around := scope.outer if scope.parent is None else scope.parent) is not None:
        scope = around
    return scope


def account_of(root: Scope, files: Mapping[str, str] | None = None) -> dict[str, NodeAccount]:
    """What a linked workflow was stated by; empty if it is too large to tell.

    Args:
        root: The workflow's scope, linked.
        files: The SHA-256 of each file that nodes read.
    """
    if _size(root.body) > MOST_NODES:
        return {}
    made: dict[str, NodeAccount] = {}
    keys: dict[str, list[bytes]] = {}
    for scope in scopes_in(root):
        prefix = folded(scope.prefix[len(root.prefix) :])
        for label, site in scope.body.labels.items():
            name = prefix + label
            if isinstance(site, CallSite):
                key = _call_key(scope, site)
                if key is not None and name not in made:
                    made[name] = _call(name, scope, site, root, files or {})
            elif isinstance(site, LoopSite):
                key = _loop_key(scope, site)
                if key is not None and name not in made:
                    made[name] = _loop(name, scope, site, root)
            else:
                continue
            if key is not None:
                keys.setdefault(name, []).append(key)
    return {name: _with_key(node, keys[name]) for name, node in made.items()}


def _size(body: Body) -> int:
    """How many nodes stand in a body, and in its loops and parts."""
    inside = (s.body for s in body.labels.values() if isinstance(s, LoopSite | PartSite))
    return len(body.labels) + sum(map(_size, inside))


def _with_key(node: NodeAccount, keys: list[bytes]) -> NodeAccount:
    key = blake2b(b"".join(keys), digest_size=12).hexdigest()
    return replace(node, key=key)


def _call_key(scope: Scope, site: CallSite) -> bytes | None:
    """What a call computes, as bytes; None where nothing needs it."""
    tokens: list[bytes] = []
    for slot in _slots(site):
        form = scope.values.get(slot)
        if form is None:
            return None
        tokens.append(form.token)
    return b"".join(tokens)


def _slots(site: CallSite) -> list[str]:
    kind = site.kind
    return [site.label] if kind.single else [f"{site.label}.{port}" for port in kind.ports]


def _call(
    name: str, scope: Scope, site: CallSite, root: Scope, files: Mapping[str, str]
) -> NodeAccount:
    kind = site.kind
    exprs: dict[int, Expr] = {i: Local(up, slot) for i, up, slot in site.locals}
    exprs.update(site.others)
    stated: dict[str, Leaves] = {}
    sources: dict[str, None] = {}
    defaulted: list[str] = []
    tokens = _tokens(scope, site, exprs)
    for i, parameter in enumerate(kind.names):
        place = f"{name}.{parameter}"
        default = kind.defaults[i]
        is_default = default is not None and default.token == tokens[i]
        if i in exprs:
            if tokens[i] == NOTHING.token and not _is_null(exprs[i], scope):
                continue  # the call does not need it, by the node's own word
            if is_default:
                defaulted.append(parameter)
            origin = Origin(root)
            origin.follow(exprs[i], scope, place)
            leaves = origin.leaves(place)
            sources |= dict.fromkeys(origin.nodes)
        elif is_default:
            continue
        else:
            leaves = {place: {"is": plain(site.args[i], site.tokens[i])}}
        if leaves:
            stated[parameter] = leaves
    found: dict[str, Any] = {}
    if kind.plan:
        for port, slot in zip(kind.ports, _slots(site), strict=True):
            found |= _FACTS_OF(scope.values[slot].value, port)
    found |= _files_read(scope, site, exprs, files)
    return NodeAccount(
        kind.node.name, "", _made_by(kind), stated, tuple(sources), found, tuple(defaulted)
    )


def _tokens(scope: Scope, site: CallSite, exprs: Mapping[int, Expr]) -> list[bytes]:
    """What each argument added to the key of a call."""
    form = scope.values[_slots(site)[0]]
    if isinstance(form, Wire):
        return form.task.tokens
    tokens = site.tokens.copy()
    for i, expr in exprs.items():
        found = evaluate(expr, scope, lambda _: MISSING)
        if isinstance(found, Known | Wire | Many):
            tokens[i] = found.token
    return tokens


def _is_null(expr: Expr, scope: Scope) -> bool:
    found = evaluate(expr, scope, lambda _: MISSING)
    return isinstance(found, Known) and found.value is None


def _made_by(kind: Kind) -> dict[str, str]:
    identity = kind.identity
    package = kind.node.__module__.partition(".")[0]
    package = "graphdiff" if package == "graphdiff_nodes" else package
    said = {package: identity.version, "torch": identity.torch, "code": identity.source[:12]}
    said["--exact"] = "on" if kind.prefix.endswith(b"exact") else ""
    return {name: value for name, value in said.items() if value}


def _files_read(
    scope: Scope, site: CallSite, exprs: Mapping[int, Expr], files: Mapping[str, str]
) -> dict[str, str]:
    """The hash of each file that a call reads."""
    found: dict[str, str] = {}
    for i, marker in site.kind.paths:
        if marker != "read":
            continue
        value, base = site.args[i], scope.body.folder
        if i in exprs:
            form = evaluate(exprs[i], scope, lambda _: MISSING)
            if not isinstance(form, Known):
                continue
            value, base = form.value, form.base
        listed: list[Any] = [value] if isinstance(value, str | Path) else list(value or ())
        for one in listed:
            path = str(paths.absolute(str(one), base))
            if path in files:
                found[f"file {short_path(path)}"] = files[path][:12]
    return found


def _loop_key(scope: Scope, site: LoopSite) -> bytes | None:
    """What a loop goes over, as bytes; None where nothing needs it."""
    passes = scope.values.get(f"${site.label}")
    if not isinstance(passes, Passes):
        return None
    over = site.over if isinstance(site.over, dict) else {"": site.over}
    forms = [evaluate(expr, scope, lambda _: MISSING) for expr in over.values()]
    tokens = [form.token for form in forms if isinstance(form, Known | Wire | Many)]
    return b"".join([b"%d" % passes.count, *tokens])


def _loop(name: str, scope: Scope, site: LoopSite, root: Scope) -> NodeAccount:
    over = site.over if isinstance(site.over, dict) else {"": site.over}
    stated: dict[str, Leaves] = {}
    sources: dict[str, None] = {}
    places = [(f"over.{item}".rstrip("."), expr, scope) for item, expr in over.items()]
    passes = scope.values[f"${site.label}"]
    if site.until and passes.scopes:
        places.append(("until", Local(0, "$until"), passes.scopes[0]))
    for argument, expr, where in places:
        origin = Origin(root)
        origin.follow(expr, where, f"{name}.{argument}")
        stated[argument] = origin.leaves(f"{name}.{argument}")
        sources |= dict.fromkeys(origin.nodes)
    return NodeAccount("Loop", "", {}, stated, tuple(sources))
