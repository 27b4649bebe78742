"""Pictures carry where they came from, and broken ones say nothing rather than fail."""

from __future__ import annotations

import io
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngInfo

from graphdiff.picture import Format, embed, extract

FORMATS: tuple[Format, ...] = ("png", "webp", "jpeg")
PROVENANCE: dict[str, Any] = {
    "graphdiff": 1,
    "sources": {
        "z.yaml": "nodes:\n  a: <b> & \"c\" 'd' </graphdiff:provenance> ]]>\n",
        "a.yaml": "",
    },
    "inputs": {"prompt": "七つの星 ⭐ \x00\x1f\ufffe", "seed": 7, "scale": 0.1, "none": None},
}


@pytest.fixture
def picture() -> Image.Image:
    return Image.radial_gradient("L").resize((40, 24)).convert("RGB")


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_embedded_is_extracted(picture: Image.Image, format: Format) -> None:
    data = embed(picture, format, PROVENANCE)
    found = extract(data)
    assert found == PROVENANCE
    assert list(found["sources"]) == ["z.yaml", "a.yaml"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_is_read_by_its_path(picture: Image.Image, format: Format, tmp_path: Path) -> None:
    path = tmp_path / "picture.bin"
    path.write_bytes(embed(picture, format, PROVENANCE))
    assert extract(path) == PROVENANCE


@pytest.mark.parametrize("format", FORMATS)
def test_pixels_are_those_of_the_picture_without_provenance(
    picture: Image.Image, format: Format
) -> None:
    with_it = Image.open(io.BytesIO(embed(picture, format, PROVENANCE)))
    without = Image.open(io.BytesIO(embed(picture, format)))
    assert with_it.format == without.format == format.upper()
    assert ImageChops.difference(with_it, without).getbbox() is None


@pytest.mark.parametrize("format", FORMATS)
def test_the_bytes_are_the_same_each_time(picture: Image.Image, format: Format) -> None:
    assert embed(picture, format, PROVENANCE) == embed(picture.copy(), format, PROVENANCE)


@pytest.mark.parametrize("format", FORMATS)
def test_none_leaves_nothing_behind(picture: Image.Image, format: Format) -> None:
    data = embed(picture, format)
    assert extract(data) is None
    assert b"graphdiff" not in data


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [70_000, 400_000])
def test_long_workflows_fit(picture: Image.Image, format: Format, size: int) -> None:
    text = "".join(random.Random(0).choices("abc <&>\nü", k=size))
    data = embed(picture, format, {"sources": text})
    assert extract(data) == {"sources": text}
    assert Image.open(io.BytesIO(data)).convert("RGB").size == (40, 24)


@pytest.mark.parametrize("format", FORMATS)
def test_half_of_a_surrogate_pair_survives(picture: Image.Image, format: Format) -> None:
    assert extract(embed(picture, format, {"prompt": "\ud83d"})) == {"prompt": "\ud83d"}


@given(
    st.dictionaries(st.text(st.characters()), st.text(st.characters())), st.sampled_from(FORMATS)
)
def test_any_text_comes_back(provenance: dict[str, str], format: Format) -> None:
    assert extract(embed(Image.new("RGB", (1, 1)), format, provenance)) == provenance


def test_options_are_pils(picture: Image.Image) -> None:
    small = embed(picture, "jpeg", PROVENANCE, quality=10)
    assert len(small) < len(embed(picture, "jpeg", PROVENANCE, quality=95))
    lossless = Image.open(io.BytesIO(embed(picture, "webp", PROVENANCE, lossless=True)))
    assert ImageChops.difference(lossless, picture).getbbox() is None


def test_other_formats_and_impossible_modes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'gif'.*png, webp or jpeg"):
        embed(Image.new("RGB", (1, 1)), "gif")  # type: ignore[arg-type] # pyright: ignore
    with pytest.raises(ValueError, match="RGBA picture cannot be a jpeg"):
        embed(Image.new("RGBA", (1, 1)), "jpeg")


def test_other_readers_see_it(picture: Image.Image) -> None:
    png = Image.open(io.BytesIO(embed(picture, "png", {"a": "ü"})))
    assert png.info["graphdiff"] == '{"a":"ü"}'
    for format in ("webp", "jpeg"):
        opened = Image.open(io.BytesIO(embed(picture, format, {"a": 1})))
        assert b"graphdiff:provenance" in opened.info["xmp"]


def test_chunks_that_others_wrote_are_read(picture: Image.Image) -> None:
    for compressed in (False, True):
        info = PngInfo()
        info.add_text("Software", "another")
        info.add_itxt("graphdiff", '{"a": "ü"}', zip=compressed)
        file = io.BytesIO()
        picture.save(file, "png", pnginfo=info)
        assert extract(file.getvalue()) == {"a": "ü"}
    info = PngInfo()
    info.add_text("graphdiff", '{"a": 1}')
    file = io.BytesIO()
    picture.save(file, "png", pnginfo=info)
    assert extract(file.getvalue()) == {"a": 1}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("text", ["[]", "1", "null", "{", "", "[" * 50_000])
def test_what_is_no_map_is_no_provenance(
    picture: Image.Image, format: Format, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = embed(picture, format, {"a": 1})
    if format == "png":
        info, file = PngInfo(), io.BytesIO()
        info.add_itxt("graphdiff", text)
        picture.save(file, "png", pnginfo=info)
        data = file.getvalue()
    else:
        old, new = (f"{zlib.crc32(content):08x}" for content in (b'{"a":1}', text.encode()))
        data = data.replace(b'{"a":1}', text.encode()).replace(old.encode(), new.encode())
    assert extract(data) is None


def test_foreign_files_have_none(picture: Image.Image, tmp_path: Path) -> None:
    for format in ("gif", "bmp", "png", "jpeg", "webp", "tiff"):
        file = io.BytesIO()
        picture.save(file, format)
        assert extract(file.getvalue()) is None
    (tmp_path / "text.yaml").write_text("graphdiff: 1\n")
    assert extract(tmp_path / "text.yaml") is None
    assert extract(b"") is None
    with pytest.raises(FileNotFoundError):
        extract(tmp_path / "missing.png")


@given(st.binary(max_size=300), st.sampled_from(FORMATS))
def test_rubbish_after_a_pictures_first_bytes_has_none(rubbish: bytes, format: Format) -> None:
    start = {
        "png": b"\x89PNG\r\n\x1a\n",
        "webp": b"RIFF\0\0\0\0WEBP",
        "jpeg": b"\xff\xd8\xff\xe1",
    }[format]
    assert extract(start + rubbish) is None


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_picture_says_nothing_or_the_truth(format: Format) -> None:
    whole = embed(Image.new("RGB", (8, 8)), format, {"prompt": "a red apple", "more": "x" * 70_000})
    chance = random.Random(format)
    for _ in range(300):
        data = bytearray(whole)
        place = chance.randrange(min(len(data), 400))
        match chance.randrange(3):
            case 0:
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[chance.randrange(len(data)) :]
            case _:
                data[place : place + 4] = chance.randbytes(4)
        found = extract(bytes(data))
        assert found in (None, {"prompt": "a red apple", "more": "x" * 70_000})


def test_a_picture_cut_off_after_its_header_still_tells(picture: Image.Image) -> None:
    png, jpeg = (embed(picture, format, PROVENANCE) for format in ("png", "jpeg"))
    assert extract(png[: png.index(b"IDAT")]) == PROVENANCE
    assert extract(jpeg[: jpeg.index(b"\xff\xda")]) == PROVENANCE
