"""Every built-in node can be imported from `graphdiff_nodes`."""

from __future__ import annotations

import graphdiff_nodes

from graphdiff.graph.registry import load_registry


def test_the_package_exports_exactly_the_registered_nodes() -> None:
    own = {
        name
        for name, node in load_registry().nodes.items()
        if node.__module__.startswith("graphdiff_nodes.")
    }
    assert {*own, "NODE_MODULES", "PARTS"} == set(graphdiff_nodes.__all__)
    for name in own:
        assert getattr(graphdiff_nodes, name).name == name
