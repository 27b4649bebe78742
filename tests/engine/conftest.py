"""Every test starts with no toy called."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.toys import calls


@pytest.fixture(autouse=True)
def _no_calls() -> Iterator[None]:
    calls.clear()
    yield
    calls.clear()
