"""What a declaration refuses, with the place to look at."""

from __future__ import annotations

import pytest

from graphdiff.graph.node import DeclarationError, node


def test_an_annotation_that_names_nothing_is_refused_with_its_line() -> None:
    @node
    def Tint(image: Imagee) -> int:  # type: ignore[name-defined]  # noqa: F821
        """Tint."""
        return 0

    with pytest.raises(DeclarationError, match=r"test_node\.py:\d+: node Tint: .*'Imagee'"):
        _ = Tint.params
