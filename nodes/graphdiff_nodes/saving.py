"""Pictures written to files, with the workflow that made them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, cast

from annotated_types import Ge, Le

from graphdiff.graph.node import OutputFile, Outputs, WireError, node
from graphdiff_nodes.pictures import to_pillow
from graphdiff_nodes.values import Image, SavedFile

OF_THE_RUN = cast(Outputs, None)  # the engine puts the run's output folder in its place
Format = Literal["png", "webp", "jpeg"]
_FORMATS: Mapping[str, Format] = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}


@node(effect=True)
def SaveImage(
    image: Image,
    path: OutputFile = "picture.png",
    *,
    quality: Annotated[int, Ge(1), Le(100)] = 95,
    metadata: bool = True,
    overwrite: bool = False,
    outputs: Outputs = OF_THE_RUN,
) -> list[SavedFile]:
    """Write a picture to the output folder, with the workflow that made it inside.

    Args:
        image: The picture; each of a batch gets a file of its own, numbered from 0.
        path: The file's name under the output folder: .png, .webp, .jpg or .jpeg.
        quality: How well jpeg and webp keep detail, 1 to 100; 100 is lossless in webp.
        metadata: Whether the workflow, its inputs and the models' fingerprints go into the file.
        overwrite: Whether a file of that name with other content is replaced; else the new one gets
            a number.
        outputs: Where it is written.
    """
    provenance = outputs.provenance() if metadata else None
    return _written(image, path, quality, provenance, overwrite, outputs)


@SaveImage.infer
def _saved_facts(path: str | None) -> None:
    _refuse_suffix(path)


@node(effect=True)
def PreviewImage(
    image: Image, path: OutputFile = "previews/preview.jpg", *, outputs: Outputs = OF_THE_RUN
) -> list[SavedFile]:
    """Write a picture to look at while working: each replaces the one before it.

    Args:
        image: The picture; each of a batch gets a file of its own, numbered from 0.
        path: The file's name under the output folder.
        outputs: Where it is written.
    """
    return _written(image, path, 90, None, True, outputs)


@PreviewImage.infer
def _preview_facts(path: str | None) -> None:
    _refuse_suffix(path)


def _refuse_suffix(path: str | None) -> None:
    """Say of a format that cannot be written before the picture is computed."""
    if path is not None and _suffix(path) not in _FORMATS:
        raise WireError("path", _cannot_write(path))


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _cannot_write(path: str) -> str:
    what = PurePosixPath(path).suffix or "a file without suffix"
    return f"{path}: cannot write {what}: use {', '.join(_FORMATS)}"


def _written(
    image: Image,
    path: str,
    quality: int,
    provenance: Mapping[str, Any] | None,
    overwrite: bool,
    outputs: Outputs,
) -> list[SavedFile]:
    from graphdiff.picture import embed

    place = PurePosixPath(path)
    form = _FORMATS.get(_suffix(path))
    if form is None:
        raise ValueError(_cannot_write(path))
    if not bool(image.pixels.isfinite().all()):
        raise ValueError(
            "the picture holds values that are no numbers: the guidance scale is out of all "
            "proportion, or float16 overflowed (use bfloat16, or a VAE in float32)"
        )
    options = _options(form, quality)
    pictures = to_pillow(image.pixels)
    files: list[SavedFile] = []
    for i, picture in enumerate(pictures):
        data = embed(picture, form, provenance, **options)
        name = path if len(pictures) == 1 else str(place.with_stem(f"{place.stem}-{i}"))
        written = outputs.write(name, data, overwrite=overwrite)
        files.append(SavedFile(str(written), hashlib.sha256(data).hexdigest()))
    return files


def _options(form: Format, quality: int) -> dict[str, Any]:
    match form:
        case "png":
            return {"compress_level": 4}
        case "webp" if quality == 100:
            return {"lossless": True}
        case _:
            return {"quality": quality}
