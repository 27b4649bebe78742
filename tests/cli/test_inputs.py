"""Text on the command line becomes the declared type, or an error; it is never a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from graphdiff.cli import inputs
from graphdiff.graph.spec import Input


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        (Input("str"), "$model", "$model"),
        (Input("str"), "${inputs.x}", "${inputs.x}"),
        (Input("str"), "7", "7"),
        (Input("str"), "", ""),
        (Input("int"), "007", 7),
        (Input("int"), "-3", -3),
        (Input("int"), "+3", 3),
        (Input("float"), "5", 5.0),
        (Input("float"), ".5", 0.5),
        (Input("float"), "1e-4", 1e-4),
        (Input("bool"), "True", True),
        (Input("int", optional=True), "null", None),
        (Input("[int]"), "[1, 2]", [1, 2]),
        (Input("str", choices=("a", "b")), "b", "b"),
    ],
)
def test_text_is_read_as_the_declared_type(declared: Input, text: str, value: object) -> None:
    found = inputs.read("x", declared, text)
    assert (list(found) if isinstance(found, tuple) else found) == value
    assert type(found) is type(value) or isinstance(value, list)


def test_a_path_is_relative_to_the_working_folder() -> None:
    assert inputs.read("x", Input("path"), "a.png") == Path.cwd() / "a.png"


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (Input("int"), "7.9"),
        (Input("int"), "true"),
        (Input("int"), ""),
        (Input("int"), "null"),
        (Input("float"), "NaN"),
        (Input("float"), "a"),
        (Input("bool"), "1"),
        (Input("[int]"), "1,2"),
        (Input("int", min=3), "2"),
        (Input("float", max=1.0), "1.5"),
        (Input("str", choices=("a", "b")), "c"),
    ],
)
def test_text_that_is_no_value_of_the_type_is_refused(declared: Input, text: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        inputs.read("some_name", declared, text)
    assert caught.value.param_hint == "--some-name"


DECLARED = {
    "n": Input("int"),
    "f": Input("float"),
    "t": Input("str"),
    "c": Input("str", choices=("a", "b")),
}


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["n=0..3"], {"n": [0, 1, 2, 3]}),
        (["n=3..1"], {"n": [3, 2, 1]}),
        (["n=1,5, 9"], {"n": [1, 5, 9]}),
        (["f=1,2.5"], {"f": [1.0, 2.5]}),
        (["t=a, b"], {"t": ["a, b"]}),
        (["t=a", "t=b"], {"t": ["a", "b"]}),
        (["c=a,b"], {"c": ["a", "b"]}),
        (['t=["x, y", "z"]'], {"t": ["x, y", "z"]}),
        (["n=[4, 2]"], {"n": [4, 2]}),
        (["t=@lines.txt"], {"t": ["one", "two, too"]}),
        (["n=1,2", "t=a"], {"n": [1, 2], "t": ["a"]}),
    ],
)
def test_a_sweep_is_read(pairs: list[str], expected: dict[str, list[Any]]) -> None:
    Path("lines.txt").write_text("one\n\ntwo, too\n")
    assert inputs.sweep(DECLARED, pairs) == expected


def test_lists_are_swept_as_lists_of_lists() -> None:
    declared = {"l": Input("[str]")}
    assert inputs.sweep(declared, ['l=[["a"], ["b", "c"]]']) == {"l": [["a"], ["b", "c"]]}
    with pytest.raises(click.BadParameter, match=r'write \[\["ä", "b"\]\]'):
        inputs.sweep(declared, ['l=["ä", "b"]'])


def test_what_cannot_be_an_option_is_wired_in_by_another_workflow() -> None:
    assert "default" not in inputs.how_to_give("unet", Input("UNet"))
    assert "another, which wires unet in" in inputs.how_to_give("unet", Input("UNet"))


def test_a_file_of_values_in_another_encoding_is_refused_as_such() -> None:
    Path("latin.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    with pytest.raises(click.BadParameter, match="not UTF-8 text"):
        inputs.sweep(DECLARED, ["t=@latin.txt"])


@pytest.mark.parametrize("pair", ["n", "n=", "n=1..x", "n=0..9999999999", "f=a", "t=@none", "c=d"])
def test_a_sweep_of_no_values_is_refused(pair: str) -> None:
    with pytest.raises(click.BadParameter):
        inputs.sweep(DECLARED, [pair])
