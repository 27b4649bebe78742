"""Pictures that know where they came from: provenance written into PNG, WebP and JPEG, and read.

It is JSON: in PNG in a text chunk called `graphdiff`, in WebP and JPEG in an XMP packet. Reading
walks the file's parts and needs neither PIL nor whole pixels. The bytes depend on the picture, the
options and the provenance alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from xml.sax.saxutils import escape, unescape

if TYPE_CHECKING:
    from PIL.Image import Image

Format = Literal["png", "webp", "jpeg"]

_KEYWORD: Final = "graphdiff"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_MORE: Final = b"http://ns.adobe.com/xmp/extension/\0"
_OPEN, _CLOSE = "<graphdiff:provenance>", "</graphdiff:provenance>"
_CHECK: Final = "<graphdiff:crc32>"
_SEGMENT_BYTES: Final = 65_000  # a JPEG segment holds 65,533
_NAMESPACES: Final = (
    'xmlns:graphdiff="urn:graphdiff:1" xmlns:xmpNote="http://ns.adobe.com/xmp/note/"'
)


def embed(
    image: Image,
    format: Format,
    provenance: Mapping[str, Any] | None = None,
    **options: Any,  # noqa: ANN401 - PIL's
) -> bytes:
    """A picture as a file's bytes, with its provenance in it.

    Args:
        image: The picture.
        format: The file format.
        provenance: JSON data, written in its order; None leaves it out.
        options: What PIL takes for the format, such as `quality` or `compress_level`.

    Raises:
        ValueError: the format is another one, or cannot hold pictures of this mode.
    """
    if format not in ("png", "webp", "jpeg"):
        raise ValueError(f"cannot write {format!r} pictures: use png, webp or jpeg")
    text = None if provenance is None else _json(provenance)
    if text is not None and format == "png":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt(_KEYWORD, text)
    if text is not None and format == "webp":
        options["xmp"] = _packet(_element(text))
    file = io.BytesIO()
    try:
        image.save(file, format=format, **options)
    except OSError as error:
        raise ValueError(f"a {image.mode} picture cannot be a {format} file: {error}") from error
    data = file.getvalue()
    return _with_xmp(data, text) if text is not None and format == "jpeg" else data


def extract(picture: Path | bytes) -> dict[str, Any] | None:
    """The provenance in a picture; None where there is none, or the picture is damaged there.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(picture, Path):
        with picture.open("rb") as file:
            start = file.read(16)
            data = start + file.read() if _parts_of(start) is not None else start
    else:
        data = picture
    parts = _parts_of(data)
    if parts is None:
        return None
    try:
        text = parts(data)
        found: Any = json.loads(text or "null")
    except (ValueError, LookupError, RecursionError):
        return None
    return found if found.__class__ is dict else None


def _parts_of(data: bytes) -> Any:  # noqa: ANN401 - one of the three readers
    if data.startswith(_PNG):
        return _png_text
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_text
    return _jpeg_text if data.startswith(b"\xff\xd8\xff") else None


def _json(provenance: Mapping[str, Any]) -> str:
    text = json.dumps(provenance, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: no text, but possible in a prompt
        return json.dumps(provenance, separators=(",", ":"))
    return text


def _png_text(data: bytes) -> str | None:
    position = len(_PNG)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4])
        kind = data[position + 4 : position + 8]
        body = data[position + 8 : position + 8 + length]
        check = data[position + 8 + length : position + 12 + length]
        if kind == b"IEND":
            return None
        if kind in (b"iTXt", b"tEXt") and zlib.crc32(kind + body).to_bytes(4) == check:
            keyword, _, rest = body.partition(b"\0")
            if keyword == _KEYWORD.encode():
                return rest.decode("latin-1") if kind == b"tEXt" else _international(rest)
        position += 12 + length
    return None


def _international(body: bytes) -> str:
    """The text of an iTXt chunk, after its keyword."""
    compressed, text = body[0], body[2:].split(b"\0", 2)[2]
    if compressed:
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(text, 64 << 20)
        except zlib.error as error:
            raise ValueError("the text is not as it was compressed") from error
    return text.decode()


def _webp_text(data: bytes) -> str | None:
    position = 12
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"XMP ":
            return _text(data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    return None


def _jpeg_text(data: bytes) -> str | None:
    more: dict[bytes, dict[int, bytes]] = {}
    for body in _segments(data):
        if body.startswith(_XMP) and (text := _text(body)) is not None:
            return text
        if body.startswith(_XMP_MORE):
            rest = body[len(_XMP_MORE) :]
            more.setdefault(rest[:32], {})[int.from_bytes(rest[36:40])] = rest[40:]
    for name, pieces in more.items():
        whole = b"".join(piece for _, piece in sorted(pieces.items()))
        if _guid(whole) == name:
            return _text(whole)
    return None


def _segments(data: bytes) -> Iterator[bytes]:
    """The APP1 segments before the pixels of a JPEG."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        length = int.from_bytes(data[position + 2 : position + 4])
        if data[position + 1] == 0xE1:
            yield data[position + 4 : position + 2 + length]
        position += 2 + max(length, 2)


def _with_xmp(data: bytes, text: str) -> bytes:
    """A JPEG with an XMP packet after its first segment, and more of them where one is not enough.

    What does not fit goes where XMP says: into segments that the first names by their MD5.
    """
    packet = _packet(_element(text))
    bodies = [_XMP + packet]
    if len(packet) > _SEGMENT_BYTES:
        name = _guid(packet)
        head = f"<xmpNote:HasExtendedXMP>{name.decode()}</xmpNote:HasExtendedXMP>"
        bodies = [_XMP + _packet(head)]
        for start in range(0, len(packet), _SEGMENT_BYTES):
            place = len(packet).to_bytes(4) + start.to_bytes(4)
            bodies.append(_XMP_MORE + name + place + packet[start : start + _SEGMENT_BYTES])
    segments = b"".join(b"\xff\xe1" + (len(body) + 2).to_bytes(2) + body for body in bodies)
    first = 2
    if data[2:4] == b"\xff\xe0":  # JFIF says that its own segment comes first
        first += 2 + int.from_bytes(data[4:6])
    return data[:first] + segments + data[first:]


def _guid(packet: bytes) -> bytes:
    return hashlib.md5(packet, usedforsecurity=False).hexdigest().upper().encode()


def _element(text: str) -> str:
    ascii_text = json.dumps(json.loads(text), separators=(",", ":"))  # any text is then legal XML
    check = zlib.crc32(ascii_text.encode())  # PNG has a checksum of its own
    return f"{_CHECK}{check:08x}</graphdiff:crc32>{_OPEN}{escape(ascii_text)}{_CLOSE}"


def _packet(element: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {_NAMESPACES}>{element}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


def _text(packet: bytes) -> str | None:
    """The provenance in an XMP packet, found without reading the rest of it as XML."""
    _, opened, rest = packet.partition(_OPEN.encode())
    escaped, closed, _ = rest.partition(_CLOSE.encode())
    text = unescape(escaped.decode())
    check = packet.partition(_CHECK.encode())[2][:8]
    whole = check == f"{zlib.crc32(text.encode()):08x}".encode()
    return text if opened and closed and whole else None
