"""Values survive being written down, and are known by their content."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open

from graphdiff.config import FrozenConfig
from graphdiff.engine.codec import (
    DamagedError,
    UnkeyableError,
    UnreadableError,
    content_bytes,
    decode,
    digest,
    encode,
    size,
    wire_type,
)
from graphdiff.engine.tree import from_tree, to_tree


class Colour(Enum):
    RED = 1
    BLUE = 2


class Pair(NamedTuple):
    left: Any
    right: Any = None


@dataclass(frozen=True, slots=True)
class Record:
    value: Any
    note: Any = field(default=None, compare=False)


@dataclass(frozen=True)
class Derived:
    x: int
    double: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.x)


@dataclass
class Changeable:
    x: int = 0


class Holder:
    @dataclass(frozen=True)
    class Inner:
        x: int


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary(max_size=40)
    | st.sampled_from(Colour)
    | st.sampled_from([Path("a/b"), Path("/x")])
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(st.characters()) | st.integers(), inner, max_size=4)
        | st.builds(Record, inner, inner)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=12,
)
DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
)


def same(a: object, b: object) -> bool:
    """Equal, and of equal types all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        raw = (a.contiguous().reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*raw)
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, Record) and isinstance(b, Record):
        return same(a.value, b.value) and same(a.note, b.note)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and repr(a) == repr(b)


@given(PLAIN)
def test_plain_data_come_back_as_they_were(value: object) -> None:
    assert same(decode(encode(value)), value)


@given(PLAIN, PLAIN)
def test_digests_are_equal_exactly_when_contents_are(a: object, b: object) -> None:
    assert digest(a) == digest(decode(encode(a)))
    if digest(a) == digest(b):
        assert a == b


@settings(deadline=None)
@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 4), max_size=4),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_tensors_come_back_bit_by_bit(
    dtype: torch.dtype, shape: list[int], transposed: bool, random: Any
) -> None:
    raw = torch.frombuffer(bytearray(random.randbytes(8 * 256)), dtype=torch.uint8)
    if dtype == torch.bool:
        raw = raw % 2
    count = int(np.prod(shape, dtype=int))
    tensor = raw[: count * dtype.itemsize].clone().view(dtype)[:count].reshape(shape)
    tensor = tensor.transpose(0, -1) if transposed and shape else tensor
    value = {"t": tensor, "again": [tensor]}
    found = decode(encode(value), content=digest(value))
    assert same(found["t"], tensor)
    assert found["t"] is found["again"][0]
    assert digest(found) == digest(value)


def test_views_of_one_storage_come_back_apart_and_right() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    found = decode(encode((base[:, 1], base.t(), base[1:])))
    assert torch.equal(found[0], torch.tensor([1.0, 5.0, 9.0]))
    assert torch.equal(found[1], base.t())
    assert found[2].untyped_storage().nbytes() == 32
    found[0].add_(1)
    assert torch.equal(found[1], base.t())


def test_a_tensor_of_a_device_that_is_not_here_comes_back_on_the_cpu() -> None:
    tree, buffers = to_tree(torch.arange(3))
    assert tree == {"tensor": [0, "int64", (3,), "cpu"]}
    elsewhere = {"tensor": [0, "int64", [3], "xpu"]}
    found = from_tree(elsewhere, {0: memoryview(buffers[0].data)}, wire_type)
    assert found.device.type == "cpu"
    assert found.tolist() == [0, 1, 2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.accelerator.is_available(), reason="there is no accelerator")
def test_a_tensor_comes_back_on_the_kind_of_device_it_was_on() -> None:
    tensor = torch.arange(3, device=torch.accelerator.current_accelerator())
    found = decode(encode(tensor))
    assert found.device.type == tensor.device.type
    assert digest(found) == digest(tensor) != digest(tensor.cpu())
    assert size(tensor)[1] > 0


def test_lazily_conjugated_and_differentiable_tensors_are_their_values() -> None:
    z = torch.tensor([1 + 2j])
    assert decode(encode(z.conj())).tolist() == [1 - 2j]
    assert digest(torch.ones(2, requires_grad=True)) == digest(torch.ones(2))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16"])
def test_pictures_come_back_pixel_by_pixel(mode: str) -> None:
    depth = {"I": 4, "F": 4, "I;16": 2}.get(mode) or len(Image.new(mode, (1, 1)).getbands())
    if mode == "P":
        picture = Image.radial_gradient("L").resize((9, 5)).convert("RGB").quantize(7)
    elif mode == "1":
        picture = Image.radial_gradient("L").resize((9, 5)).convert("1")
    else:
        picture = Image.frombytes(mode, (9, 5), bytes(range(45)) * depth)
    found = decode(encode(picture))
    assert (found.mode, found.size, found.tobytes()) == (mode, (9, 5), picture.tobytes())
    assert found.getpalette() == picture.getpalette()
    assert digest(found) == digest(picture)


def test_pictures_differ_by_palette() -> None:
    first, second = (Image.new("P", (2, 2)) for _ in range(2))
    first.putpalette([255, 0, 0])
    second.putpalette([0, 255, 0])
    assert digest(first) != digest(second)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i4").reshape(2, 3).T,
        np.array(["a", "étoile"]),
        np.array("2020-01-01", dtype="datetime64[D]"),
        np.zeros((0, 3), dtype=np.float16),
        np.array([1 + 2j]),
        np.array([True, False]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_come_back_as_they_were(array: Any) -> None:
    found = decode(encode(array))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert digest(found) == digest(array)


def test_a_number_out_of_an_array_is_a_number() -> None:
    assert isinstance(decode(encode(np.float64(0.1))), np.float64)
    assert digest(np.float64(0.1)) != digest(np.array(0.1))


def test_a_config_comes_back_as_a_config() -> None:
    config = FrozenConfig({"a": [1, 2], "b": None}, defaulted=frozenset({"b"}))
    found = decode(encode(config))
    assert isinstance(found, FrozenConfig)
    assert found == config
    assert found.a == (1, 2)
    assert found.defaulted == {"b"}
    assert digest(config) != digest(dict(config))


def test_classes_inside_classes_and_computed_fields_come_back() -> None:
    assert decode(encode([Holder.Inner(3), Derived(4)])) == [Holder.Inner(3), Derived(4)]


def test_odd_floats_and_numbers_come_back() -> None:
    found = decode(encode([float("inf"), float("nan"), -0.0, 10**5000, -(2**63)]))
    assert found[0] == float("inf")
    assert found[1] != found[1]
    assert str(found[2]) == "-0.0"
    assert found[3:] == [10**5000, -(2**63)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("1", 1),
        ("a", b"a"),
        ([1], (1,)),
        (None, ""),
        (["a", "b"], ["ab", ""]),
        ([[1], 2], [[1, 2]]),
        ({"a": 1}, {"a": 2}),
        (Record(1), Pair(1)),
        (Colour.RED, Colour.BLUE),
        (Path("a"), "a"),
        (torch.zeros(2), torch.zeros(1, 2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float16)),
        (torch.zeros(2), np.zeros(2, dtype=np.float32)),
    ],
)
def test_values_that_differ_have_different_digests(a: object, b: object) -> None:
    assert digest(a) != digest(b)


def test_what_does_not_take_part_in_comparison_is_not_in_the_digest_but_is_kept() -> None:
    here, there = Record(1, Path("/here")), Record(1, Path("/there"))
    assert digest(here) == digest(there)
    assert decode(encode(here)).note == Path("/here")


def test_the_order_of_a_map_is_not_in_the_digest_and_is_kept() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert list(decode(encode({"b": 2, "a": 1}))) == ["b", "a"]


def test_a_change_of_any_bit_of_a_tensor_changes_its_digest() -> None:
    tensor = torch.zeros(3, 5)
    before = digest(tensor)
    tensor.view(torch.int32)[2, 4] ^= 1
    assert digest(tensor) != before


def test_what_has_no_content_is_refused_with_its_type_and_place() -> None:
    with pytest.raises(UnkeyableError, match=r"builtins:object at \.value\[1\]\['k'\]"):
        digest(Record([0, {"k": object()}]))
    with pytest.raises(UnkeyableError, match=r"Changeable at \.left: .*frozen=True"):
        digest(Pair(Changeable()))
    with pytest.raises(UnkeyableError, match="sparse"):
        digest(torch.zeros(2, 2).to_sparse())
    with pytest.raises(UnkeyableError, match="meta"):
        digest(torch.zeros(2, device="meta"))
    with pytest.raises(UnkeyableError, match="object"):
        digest(np.array([object()]))


def test_a_value_inside_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(UnkeyableError, match="nested"):
        digest(loop)


def test_a_class_that_has_no_name_to_be_found_by_is_keyed_but_not_stored() -> None:
    @dataclass(frozen=True)
    class Local:
        x: int

    assert digest(Local(1)) != digest(Local(2))
    with pytest.raises(UnkeyableError, match=r"Local at \[0\]: .*top level"):
        encode([Local(1)])


def test_only_classes_of_plain_data_are_built() -> None:
    assert wire_type(__name__, "Record") is Record
    for module, name in (
        ("subprocess", "Popen"),
        ("os", "system"),
        ("builtins", "eval"),
        (__name__, "Changeable"),
        (__name__, "Holder.Missing"),
        ("antigravity", "geohash"),
    ):
        with pytest.raises(LookupError):
            wire_type(module, name)
    assert "antigravity" not in sys.modules


def test_a_class_that_is_gone_makes_a_value_unreadable_not_damaged() -> None:
    def none(module: str, qualname: str) -> type:
        raise LookupError(f"{module}:{qualname}")

    with pytest.raises(UnreadableError, match="Record"):
        decode(encode(Record(1)), types=none)


def test_a_class_whose_fields_changed_gives_no_value() -> None:
    @dataclass(frozen=True)
    class Other:
        value: int

    with pytest.raises(DamagedError, match="other fields"):
        decode(encode(Record(1)), types=lambda module, name: Other)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_anywhere_is_found(data: st.DataObject) -> None:
    image = bytearray(encode(Record({"a": [1, 2.5]}, b"some bytes that matter")))
    change = data.draw(st.sampled_from(["flip", "cut", "add", "zero"]))
    place = data.draw(st.integers(0, len(image) - 1))
    if change == "flip":
        image[place] ^= 1 << data.draw(st.integers(0, 7))
    elif change == "cut":
        del image[place:]
    elif change == "add":
        image += b"\0"
    else:
        image[place:] = bytes(len(image) - place)
    with pytest.raises(DamagedError):
        decode(image)


@given(st.binary(max_size=200))
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedError):
        decode(data)


def test_an_image_of_another_value_is_refused() -> None:
    with pytest.raises(DamagedError, match="not"):
        decode(encode(1), content=digest(2))


def test_any_reader_of_safetensors_opens_an_image(tmp_path: Path) -> None:
    path = tmp_path / "value.safetensors"
    path.write_bytes(encode({"x": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3), "n": 1}))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        assert torch.equal(file.get_tensor("0"), torch.arange(6).reshape(2, 3).bfloat16())
    assert metadata["format"] == "graphdiff 1"
    assert json.loads(metadata["tree"])["map"]["n"] == 1


def test_an_image_is_the_same_bytes_each_time() -> None:
    assert encode(Record(torch.ones(3), {"a": (1,)})) == encode(Record(torch.ones(3), {"a": (1,)}))


def test_plain_values_need_neither_torch_nor_numpy() -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from graphdiff.engine.codec import decode, digest, encode\n"
        "value = {'a': [1, 2.5, None, b'x', Path('p')], 'b': ('text', True)}\n"
        "assert decode(encode(value), content=digest(value)) == value\n"
        "heavy = {'torch', 'numpy', 'PIL', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_digests_are_the_same_in_every_process() -> None:
    program = "from graphdiff.engine.codec import digest; print(digest({'a': (1, 'x', 2.5)}))"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert done.stdout.strip() == digest({"a": (1, "x", 2.5)})


def test_a_module_is_imported_for_a_value_only_if_it_belongs_to_a_node_package() -> None:
    program = (
        "import sys\n"
        "from graphdiff.engine.codec import wire_type\n"
        "assert 'graphdiff.graph.spec' not in sys.modules\n"
        "assert wire_type('graphdiff.graph.spec', 'Ref').__name__ == 'Ref'\n"
        "try:\n"
        "    wire_type('sched', 'Event')\n"
        "except LookupError:\n"
        "    sys.exit('sched' in sys.modules)\n"
        "sys.exit('a class of a foreign module was found')\n"
    )
    subprocess.run([sys.executable, "-S", "-c", program], check=True)


def test_size_counts_storages_once_and_whole() -> None:
    base = torch.zeros(1000)
    host, device = size({"a": base[:2], "b": base[2:]})
    assert 4000 <= host < 5000
    assert device == 0
    assert size(b"x" * 10_000)[0] >= 10_000
    assert size(Record(np.zeros(500)))[0] >= 4000
    assert size(Image.new("RGB", (100, 100)))[0] >= 30_000


def test_content_bytes_tell_neighbours_apart() -> None:
    assert content_bytes(["a", "b"]) != content_bytes(["a"]) + content_bytes("b")
