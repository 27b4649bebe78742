"""What a cache remembers of the runs that filled it."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphdiff.engine import history
from graphdiff.engine.history import accounts, forget
from graphdiff.engine.session import Session
from graphdiff.graph.spec import Graph, Input
from tests.engine.toys import REGISTRY, call, graph


def summed(**more: int) -> Graph:
    nodes = {"sum": call("Add", a="$inputs.n", b=more.get("b", 1))}
    return graph(nodes, {"r": "$sum"}, {"n": Input("int", 1)}, name="summed")


def run(cache: Path, n: int) -> None:
    Session(cache=cache, registry=REGISTRY).run(summed(), {"n": n})


def test_a_run_that_computed_something_is_remembered_with_its_inputs(tmp_path: Path) -> None:
    run(tmp_path, 5)
    ((workflow, account),) = accounts(tmp_path)
    assert workflow == "summed"
    assert account["sum"].stated["a"] == {"inputs.n": {"is": 5}}


def test_a_run_that_found_everything_is_not_remembered_again(tmp_path: Path) -> None:
    run(tmp_path, 5)
    (file,) = (tmp_path / "runs").iterdir()
    before = file.stat().st_mtime_ns
    run(tmp_path, 5)
    assert file.stat().st_mtime_ns == before


def test_each_point_of_a_sweep_is_remembered(tmp_path: Path) -> None:
    session = Session(cache=tmp_path, registry=REGISTRY)
    session.run_many(summed(), {f"n={n}": {"n": n} for n in range(3)})
    found = [account["sum"].stated["a"]["inputs.n"]["is"] for _, account in accounts(tmp_path)]
    assert sorted(found) == [0, 1, 2]


def test_only_the_last_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_MOST_RUNS", 3)
    for n in range(5):
        run(tmp_path, n)
    found = [account["sum"].stated["a"]["inputs.n"]["is"] for _, account in accounts(tmp_path)]
    assert found == [4, 3, 2]


def test_a_damaged_account_is_passed_over(tmp_path: Path) -> None:
    run(tmp_path, 1)
    run(tmp_path, 2)
    (first, _) = sorted((tmp_path / "runs").iterdir())
    for text in ('{"format": 1, "workflow": "summed", "nodes": {"sum": 3}}', '{"format": 0}', "["):
        first.write_text(text)
        assert len(list(accounts(tmp_path))) == 1


def test_without_a_cache_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(tmp_path))
    Session(cache=False, registry=REGISTRY).run(summed())
    assert not (tmp_path / "runs").exists()


def test_all_of_them_can_be_forgotten(tmp_path: Path) -> None:
    run(tmp_path, 1)
    forget(tmp_path)
    assert list(accounts(tmp_path)) == []


def test_large_values_are_known_by_their_keys_and_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphdiff.engine import facts

    def hashed(value: object) -> bytes:
        pytest.fail(f"{value!r} was hashed again")

    monkeypatch.setattr(facts, "token_of", hashed)
    what = graph({"pair": call("Pair", a=b"bytes", b="x" * 5000)}, {"r": "$pair"})
    Session(cache=tmp_path, registry=REGISTRY).run(what)
    ((_, account),) = accounts(tmp_path)
    assert account["pair"].stated["a"]["pair.a"]["is"]["of"] == "bytes"
    assert len(account["pair"].stated["b"]["pair.b"]["is"]["of"]) < 100


def test_more_than_are_told_may_lie_there_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_MOST_RUNS", 4)
    kept: list[int] = []
    for n in range(7):
        run(tmp_path, n)
        kept.append(len(list((tmp_path / "runs").iterdir())))
        assert len(list(accounts(tmp_path))) == min(n + 1, 4)
    assert kept == [1, 2, 3, 4, 5, 4, 5]
