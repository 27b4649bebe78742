"""Pictures: read, resized, cut, padded, mixed, laid out side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from annotated_types import Ge, Gt, Le

from graphdiff.checkpoints.handles import UNet
from graphdiff.graph.node import InputFile, node
from graphdiff_nodes.pictures import Fit, Method, fitted, from_pillow
from graphdiff_nodes.room import refuse
from graphdiff_nodes.values import Image, Mask

if TYPE_CHECKING:
    import PIL.Image
    from torch import Tensor

Pixels = Annotated[int, Gt(0)]
Distance = Annotated[int, Ge(0)]


class Size(NamedTuple):
    """The size of a picture.

    Attributes:
        width: Its width in pixels.
        height: Its height in pixels.
    """

    width: int
    height: int


@node(at="plan")
def PictureSize(unet: UNet, width: Pixels | None = None, height: Pixels | None = None) -> Size:
    """Say how large a picture will be: as asked, or as the checkpoint was trained.

    Args:
        unet: The UNet that will paint it.
        width: The width asked for, in pixels; the checkpoint's own where null.
        height: The height asked for, in pixels; the checkpoint's own where null.
    """
    default_height, default_width = unet.default_size
    return Size(width or default_width, height or default_height)


@node
def LoadImage(path: InputFile) -> Image:
    """Read a picture from a file; transparency is dropped, see LoadMask.

    Args:
        path: The file: png, jpeg, webp and what else Pillow reads.
    """
    return Image(from_pillow([opened(path).convert("RGB")]))


@node
def ResizeImage(
    image: Image,
    width: Pixels | None = None,
    height: Pixels | None = None,
    *,
    fit: Fit = "stretch",
    method: Method = "lanczos",
    multiple: Pixels = 1,
) -> Image:
    """Resize a picture, in 8 bits, as diffusers does before it encodes one.

    Args:
        image: The picture.
        width: New width in pixels; where null, what keeps the proportions. With both null the size
            stays as it is.
        height: New height in pixels, likewise.
        fit: What to do with other proportions: `stretch` changes them, `crop` fills the size and
            cuts off the rest, `pad` adds black borders, `inside` fits the picture into the size.
        method: How pixels in between are made.
        multiple: Round both sides down to multiples of this, such as 8.
    """
    new_width, new_height = _new_size(image.pixels, width, height)
    new_width = max(new_width // multiple, 1) * multiple
    new_height = max(new_height // multiple, 1) * multiple
    _refuse_large(image, new_width, new_height)
    return Image(fitted(image.pixels, new_width, new_height, fit, method))


@node
def CropImage(image: Image, x: Distance, y: Distance, width: Pixels, height: Pixels) -> Image:
    """Cut a rectangle out of a picture.

    Args:
        image: The picture.
        x: The rectangle's left edge in pixels.
        y: Its upper edge in pixels.
        width: Its width in pixels.
        height: Its height in pixels.
    """
    rows, columns = image.pixels.shape[2:]
    if x + width > columns or y + height > rows:
        raise ValueError(
            f"the rectangle ends at {x + width}x{y + height} pixels, but the picture is "
            f"{columns}x{rows}"
        )
    return Image(image.pixels[:, :, y : y + height, x : x + width])


@node
def PadImage(
    image: Image,
    left: Distance = 0,
    right: Distance = 0,
    top: Distance = 0,
    bottom: Distance = 0,
    *,
    mode: Literal["black", "edge", "reflect"] = "edge",
) -> Image:
    """Widen a picture at its edges, as for outpainting.

    Args:
        image: The picture.
        left: How many pixels to add at the left.
        right: How many at the right.
        top: How many at the top.
        bottom: How many at the bottom.
        mode: What the border shows: black, the outermost pixels, or the picture mirrored.
    """
    from torch.nn.functional import pad

    rows, columns = image.pixels.shape[2:]
    _refuse_large(image, columns + left + right, rows + top + bottom)
    mode_of = {"black": "constant", "edge": "replicate", "reflect": "reflect"}
    return Image(pad(image.pixels, (left, right, top, bottom), mode=mode_of[mode]))


@node
def BlendImages(
    a: Image, b: Image, share: Annotated[float, Ge(0), Le(1)] = 0.5, mask: Mask | None = None
) -> Image:
    """Mix two pictures of one size.

    Args:
        a: One.
        b: The other.
        share: How much of `b` there is.
        mask: Where there is that much of `b`; everywhere where null.
    """
    from torch.nn.functional import interpolate

    _check_same_size(a, b)
    if mask is None:
        return Image(a.pixels * (1 - share) + b.pixels * share)
    where = interpolate(mask.values, a.pixels.shape[2:], mode="bilinear") * share
    return Image(a.pixels * (1 - where) + b.pixels * where)


@node
def BatchImages(images: list[Image]) -> Image:
    """Put pictures of one size into one batch.

    Args:
        images: The pictures, in order.
    """
    import torch

    if not images:
        raise ValueError("a batch needs at least one picture")
    for each in images[1:]:
        _check_same_size(images[0], each)
    return Image(torch.cat([each.pixels for each in images]))


@node
def ImageGrid(
    images: Image | list[Image], columns: Pixels | None = None, *, gap: Distance = 0
) -> Image:
    """Lay pictures out side by side in one; smaller ones stand in the middle of their cell.

    Args:
        images: A batch, or a list of pictures.
        columns: How many stand in a row; where null, as many as make the grid about square.
        gap: Pixels of white between them.
    """
    import math

    import torch

    batches = images if isinstance(images, list) else [images]
    cells = [picture for batch in batches for picture in batch.pixels]
    if not cells:
        raise ValueError("a grid needs at least one picture")
    across = min(columns or math.ceil(math.sqrt(len(cells))), len(cells))
    down = math.ceil(len(cells) / across)
    height, width = (max(cell.shape[axis] for cell in cells) for axis in (1, 2))
    grid = torch.ones(3, down * (height + gap) - gap, across * (width + gap) - gap)
    for i, cell in enumerate(cells):
        top = i // across * (height + gap) + (height - cell.shape[1]) // 2
        left = i % across * (width + gap) + (width - cell.shape[2]) // 2
        grid[:, top : top + cell.shape[1], left : left + cell.shape[2]] = cell
    return Image(grid[None])


def opened(path: object) -> PIL.Image.Image:
    """Open a picture the right way up.

    Raises:
        ValueError: It is no picture, or damaged.
    """
    import PIL.Image
    import PIL.ImageOps

    try:
        picture = PIL.Image.open(str(path))
        picture.load()
        return PIL.ImageOps.exif_transpose(picture)
    except (PIL.UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path}: cannot be read as a picture: {error}") from error


def _new_size(pixels: Tensor, width: int | None, height: int | None) -> tuple[int, int]:
    old_height, old_width = pixels.shape[2:]
    if width is None and height is None:
        return old_width, old_height
    if width is None:
        assert height is not None  # else both are None
        return max(1, round(old_width * height / old_height)), height
    return width, height or max(1, round(old_height * width / old_width))


def _refuse_large(image: Image, width: int, height: int) -> None:
    needed = image.pixels.shape[0] * 3 * 4 * width * height
    refuse(needed, f"pictures of {width} x {height} pixels")


def _check_same_size(a: Image, b: Image) -> None:
    if a.pixels.shape[2:] != b.pixels.shape[2:]:
        one, other = (f"{x.pixels.shape[3]}x{x.pixels.shape[2]}" for x in (a, b))
        raise ValueError(f"the pictures are {one} and {other} pixels: bring them to one size first")
