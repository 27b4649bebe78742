"""From package archives to one array of emoji pictures with their labels."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.concepts import STYLES, concepts

PACKAGES = {
    "3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "noto": "@iconify-json/noto@1.2.9",
    "labels": "emojibase-data@17.0.0",
}
"""Picture set -> npm package; versions are pinned, for a build gives the same data again."""

SIZE = 128
"""Height and width at which pictures are kept, in pixels; training shrinks them as it needs."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The data set.

    Attributes:
        rgba: uint8, (n, SIZE, SIZE, 4): straight colour and opacity.
        labels: Unicode label of each picture, a key of `concepts()`.
        styles: Style word of each picture, a key of `STYLES`.
    """

    rgba: np.ndarray[Any, np.dtype[np.uint8]]
    labels: tuple[str, ...]
    styles: tuple[str, ...]

    def save(self, path: Path) -> None:
        """Write one .npz file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, rgba=self.rgba, labels=self.labels, styles=self.styles)

    @classmethod
    def load(cls, path: Path) -> Pictures:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: There is no data set yet; says the command that builds it.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path}: no data set here; `python -m training data` makes it")
        with np.load(path) as file:
            return cls(
                file["rgba"],
                tuple(str(x) for x in file["labels"]),
                tuple(str(x) for x in file["styles"]),
            )


def fetch(folder: Path) -> dict[str, Path]:
    """Download and unpack the packages into `folder`, once; picture set -> its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    for name, package in PACKAGES.items():
        found[name] = folder / name
        if found[name].exists():
            continue
        packed = subprocess.run(
            ["npm", "pack", package, "--silent"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
        archive = folder / packed.stdout.split()[-1]
        partial = folder / f"{name}.partial"
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        (partial / "package").rename(found[name])
        partial.rmdir()
        archive.unlink()
    return found


def build(sources: dict[str, Path]) -> Pictures:
    """Draw every concept in every style that has it.

    Args:
        sources: Picture set -> unpacked package, as `fetch` gives it.
    """
    codes = _codes(sources["labels"])
    icons = {"noto": _Icons(sources["noto"]), "flat": _Icons(sources["flat"])}
    rgba: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    labels: list[str] = []
    styles: list[str] = []
    for label in concepts():
        for style, source in STYLES.items():
            if source == "3d":
                picture = _webp(sources["3d"] / "assets", codes[label])
            else:
                picture = icons[source].draw(label, codes[label])
            if picture is not None:
                rgba.append(np.asarray(picture))
                labels.append(label)
                styles.append(style)
    return Pictures(np.stack(rgba), tuple(labels), tuple(styles))


def _codes(package: Path) -> dict[str, str]:
    """Label -> code points in lower-case hex, joined by dashes, without variation selectors."""
    rows = json.loads((package / "en" / "data.json").read_text(encoding="utf-8"))
    return {row["label"]: _bare(row["hexcode"]) for row in rows}


def _bare(code: str) -> str:
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def _webp(assets: Path, code: str) -> Image.Image | None:
    """The picture named by a code, with or without variation selector, at `SIZE`."""
    for path in assets.glob(f"{code.split('-')[0]}*.webp"):
        if _bare(path.stem) == code:
            # Premultiplied while it shrinks: what is transparent must not colour the edges.
            with Image.open(path) as image:
                large = image.convert("RGBA").convert("RGBa")
            return large.resize((SIZE, SIZE), Image.Resampling.BOX).convert("RGBA")
    return None


class _Icons:
    """One iconify package: drawings by code point or by name."""

    def __init__(self, package: Path) -> None:
        self._set = json.loads((package / "icons.json").read_text(encoding="utf-8"))
        chars = json.loads((package / "chars.json").read_text(encoding="utf-8"))
        self._by_code = {_bare(code): name for code, name in chars.items()}
        self._by_name = {_letters(name): name for name in self._set["icons"]}

    def draw(self, label: str, code: str) -> Image.Image | None:
        """The drawing on a transparent ground at `SIZE`, or None if the set lacks it."""
        import resvg_py

        name = self._by_code.get(code) or self._by_name.get(_letters(label))
        aliases = self._set.get("aliases", {})
        name = aliases.get(name, {}).get("parent", name)
        icon = self._set["icons"].get(name)
        if icon is None:
            return None
        box = [
            icon.get(key, self._set.get(key, default))
            for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
        ]
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{" ".join(map(str, box))}">{icon["body"].replace("currentColor", "#000")}'
            "</svg>"
        )
        png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE))
        return Image.open(io.BytesIO(png)).convert("RGBA")


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
