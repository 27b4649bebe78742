"""What two accounts differ in, on accounts that are written by hand."""

from __future__ import annotations

from typing import Any

from graphdiff.engine.account import NodeAccount
from graphdiff.engine.causes import causes


def node(key: str, **more: Any) -> NodeAccount:
    return NodeAccount(more.pop("type", "Add"), key, **more)


def test_another_version_is_told_once_and_its_code_not_apart() -> None:
    old = {n: node(n, made_by={"graphdiff": "0.1.0", "code": "aa"}) for n in "ab"}
    new = {n: node(n + "!", made_by={"graphdiff": "0.2.0", "code": "bb"}) for n in "ab"}
    assert causes(old, new).changed == ("graphdiff: 0.1.0 -> 0.2.0",)


def test_another_torch_is_told_beside_other_code() -> None:
    old = {"a": node("1", made_by={"torch": "2.4", "code": "aa"})}
    new = {"a": node("2", made_by={"torch": "2.5", "code": "bb"})}
    assert causes(old, new).changed == ("torch: 2.4 -> 2.5",)


def test_nodes_whose_code_changed_are_named_in_one_line() -> None:
    old = {n: node(n, made_by={"code": "aa"}) for n in "abcde"}
    new = {n: node(n + "!", made_by={"code": "bb"}) for n in "abcde"}
    (said,) = causes(old, new).changed
    assert said == "the code of a, b, c and 2 more nodes, or of what it imports"


def test_code_that_changed_without_effect_is_not_told() -> None:
    old = {"plan": node("1", made_by={"code": "aa"}), "end": node("2", sources=("plan",))}
    new = {"plan": node("1", made_by={"code": "bb"}), "end": node("2", sources=("plan",))}
    assert causes(old, new).lines() == ()


def test_the_files_of_a_checkpoint_are_told_where_nothing_stated_differs() -> None:
    stated = {"checkpoint": {"inputs.checkpoint": {"is": "mine"}}}
    files = "file mine/unet/model.safetensors"
    old = {"model": node("1", stated=stated, found={files: "a" * 12, "unet.dtype": "float32"})}
    new = {"model": node("2", stated=stated, found={files: "b" * 12, "unet.dtype": "float32"})}
    (said,) = causes(old, new).changed
    assert said == "model: mine/unet/model.safetensors holds other bytes (aaaaaaaa -> bbbbbbbb)"


def test_what_follows_from_another_checkpoint_is_not_told() -> None:
    def model(name: str) -> NodeAccount:
        found = {f"file {name}/model.safetensors": name * 12, "unet.family": name}
        return node(name, stated={"c": {"model.checkpoint": {"is": name}}}, found=found)

    assert causes({"model": model("x")}, {"model": model("y")}).changed == (
        "model.checkpoint: 'x' -> 'y'",
    )


def test_one_setting_of_several_models_is_told_once() -> None:
    old = {"model": node("1", found={"unet.dtype": "float32", "vae.dtype": "float32"})}
    new = {"model": node("2", found={"unet.dtype": "bfloat16", "vae.dtype": "bfloat16"})}
    assert causes(old, new).changed == ("model.dtype: 'float32' -> 'bfloat16'",)


def test_what_cannot_be_told_is_not_left_silent() -> None:
    assert causes({"a": node("1")}, {"a": node("2")}).changed == (
        "a: what it is made of was computed otherwise",
    )


def test_an_argument_that_is_back_at_its_default_is_told() -> None:
    old = {"a": node("1", stated={"b": {"a.b": {"is": 4}}})}
    assert causes(old, {"a": node("2")}).changed == ("a.b: 4 -> not given",)


def test_many_added_nodes_of_one_part_are_told_as_one() -> None:
    old = {"a": node("1")}
    new = {"a": node("1"), "up.x": node("2"), "up.y": node("3"), "up": node("4", type="Loop")}
    assert causes(old, new).added == ("up (2 nodes)",)
