"""Which distributions are installed, by a quick look at the folders of the import path.

`importlib.metadata` answers the same, but to import it costs more than most of what a command does
that computes nothing. It is asked only where there is what it alone can read: eggs and archives.
"""

from __future__ import annotations

import os
import re
import sys

_SUFFIX = ".dist-info"


def version_of(distribution: str) -> str:
    """The version of a distribution; empty if it is not installed."""
    folders, plain = _look()
    folder = folders.get(_normal(distribution))
    if folder is not None:
        return os.path.basename(folder).removesuffix(_SUFFIX).partition("-")[2]
    if plain:
        return ""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def file_of(distribution: str, name: str) -> str:
    """The text of a file of a distribution's metadata, such as `top_level.txt`; empty if none."""
    folders, plain = _look()
    folder = folders.get(_normal(distribution))
    if folder is not None:
        return _text(os.path.join(folder, name))
    if plain:
        return ""
    from importlib import metadata

    try:
        return metadata.distribution(distribution).read_text(name) or ""
    except metadata.PackageNotFoundError:
        return ""


def entry_points_of(group: str) -> tuple[str, ...]:
    """What the installed distributions name in a group of entry points, such as `package:name`."""
    folders, plain = _look()
    if not plain:
        from importlib import metadata

        return tuple(point.value for point in metadata.entry_points(group=group))
    found: list[str] = []
    for folder in folders.values():
        text = _text(os.path.join(folder, "entry_points.txt"))
        if group in text:
            found += _in_section(text, group)
    return tuple(found)


def _look() -> tuple[dict[str, str], bool]:
    """The `.dist-info` folders by distribution as they are now, and whether these are all there is.

    As when importing, what comes first on the path counts.
    """
    folders: dict[str, str] = {}
    plain = True
    for place in dict.fromkeys(place or os.curdir for place in sys.path):
        try:
            names = sorted(os.listdir(place))
        except OSError:  # nothing there, or an archive
            plain = plain and not os.path.isfile(place)
            continue
        for name in names:
            if name.endswith(_SUFFIX):
                project = name.removesuffix(_SUFFIX).partition("-")[0]
                folders.setdefault(_normal(project), os.path.join(place, name))
            elif name.endswith((".egg-info", ".egg", ".egg-link")):
                plain = False
    return folders, plain


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "_", distribution).lower()


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:  # most distributions have no such file
        return ""


def _in_section(text: str, group: str) -> list[str]:
    """The values of one section of an `entry_points.txt`."""
    found: list[str] = []
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif section == group and "=" in line and not line.startswith(("#", ";")):
            found.append(line.partition("=")[2].strip())
    return found
