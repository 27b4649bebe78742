"""Inpainting a part of a large picture at full size: cut out around the mask, and pasted back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from annotated_types import Ge, Gt

from graphdiff.graph.node import node
from graphdiff_nodes.pictures import from_pillow, to_pillow
from graphdiff_nodes.values import Area, Image, Mask

if TYPE_CHECKING:
    import PIL.Image
    from torch import Tensor

Pixels = Annotated[int, Gt(0)]
Method = Literal["lanczos", "nearest"]


class Cropped(NamedTuple):
    """A part of a picture, enlarged.

    Attributes:
        image: The picture around the mask.
        mask: The mask there.
        area: Where it was cut out.
    """

    image: Image
    mask: Mask
    area: Area


@node
def CropAroundMask(
    image: Image,
    mask: Mask,
    width: Pixels,
    height: Pixels,
    padding: Annotated[int, Ge(0)] = 32,
    *,
    mask_method: Method = "lanczos",
) -> Cropped:
    """Cut out what lies around a mask, and bring it to a size, to inpaint it in all its detail.

    The cut has the proportions of that size as far as the picture allows; what it lacks is filled
    with its own edges. PasteArea puts the result back.

    Args:
        image: The picture.
        mask: Where it is painted anew; as large as the picture.
        width: Width of what is cut out, in pixels, when it is brought to size.
        height: Its height, likewise.
        padding: How many pixels around the mask are cut out with it.
        mask_method: How pixels of the mask in between are made.
    """
    _check_sizes(image, mask)
    area = area_around(mask.values, width, height, padding)
    return Cropped(
        Image(_brought(_cut(image.pixels, area), width, height, "lanczos")),
        Mask(_brought(_cut(mask.values, area), width, height, mask_method)),
        area,
    )


@node
def PasteArea(original: Image, painted: Image, mask: Mask, area: Area) -> Image:
    """Put what was cut out and painted anew back into its picture, where a mask applies.

    Args:
        original: The whole picture.
        painted: What came out, in any size.
        mask: 1 where the painted one is seen; as large as the whole picture.
        area: Where it was cut out, as CropAroundMask says.
    """
    import PIL.Image
    import PIL.ImageOps

    _check_sizes(original, mask)
    (whole,), (where,) = to_pillow(original.pixels), to_pillow(mask.values)
    # With premultiplied colours, as soft edges are mixed in 8 bits without dark seams.
    veil = PIL.Image.new("RGBa", whole.size)
    veil.paste(whole.convert("RGBA").convert("RGBa"), mask=PIL.ImageOps.invert(where))
    kept = veil.convert("RGBA")
    pasted: list[PIL.Image.Image] = []
    for picture in to_pillow(painted.pixels):
        below = PIL.Image.new("RGB", whole.size)
        below.paste(_covering(picture, area.width, area.height), (area.x, area.y))
        pasted.append(PIL.Image.alpha_composite(below.convert("RGBA"), kept).convert("RGB"))
    return Image(from_pillow(pasted))


def area_around(mask: Tensor, width: int, height: int, padding: int) -> Area:
    """The rectangle around a mask, in the proportions of a size as far as there is room.

    Args:
        mask: Values, (1, 1, height, width); what is not 0 is inside.
        width: The size's width.
        height: The size's height.
        padding: How many pixels around it belong to it.

    Raises:
        ValueError: The mask is empty.
    """
    rows, columns = (mask[0, 0] != 0).any(1).nonzero(), (mask[0, 0] != 0).any(0).nonzero()
    if not len(rows):
        raise ValueError("the mask is black everywhere: paint white what is to be painted anew")
    all_rows, all_columns = mask.shape[2:]
    x, right = _padded(int(columns[0]), int(columns[-1]) + 1, padding, all_columns)
    y, bottom = _padded(int(rows[0]), int(rows[-1]) + 1, padding, all_rows)
    ratio = width / height
    if (right - x) / (bottom - y) > ratio:
        y, bottom = _widened(y, bottom, (right - x) / ratio, all_rows)
    else:
        x, right = _widened(x, right, (bottom - y) * ratio, all_columns)
    return Area(x, y, right - x, bottom - y)


def _padded(start: int, end: int, padding: int, limit: int) -> tuple[int, int]:
    return max(start - padding, 0), min(end + padding, limit)


def _widened(start: int, end: int, wanted: float, limit: int) -> tuple[int, int]:
    """A stretch made longer at both ends, shifted and then cut to what there is."""
    more = int(wanted - (end - start))
    start, end = start - more // 2, end + more - more // 2
    over = max(end - limit, 0)
    start, end = start - over, end - over
    under = max(-start, 0)
    return start + under, min(end + under, limit)


def _cut(values: Tensor, area: Area) -> Tensor:
    return values[:, :, area.y : area.y + area.height, area.x : area.x + area.width]


def _brought(values: Tensor, width: int, height: int, method: Method) -> Tensor:
    return from_pillow([_filled(each, width, height, method) for each in to_pillow(values)])


def _filled(picture: PIL.Image.Image, width: int, height: int, method: Method) -> PIL.Image.Image:
    """A picture in a size, whole and in proportion; beside it, its outermost pixels go on."""
    import PIL.Image

    inner_width = max(1, min(width, picture.width * height // picture.height))
    inner_height = max(1, min(height, picture.height * width // picture.width))
    inner = picture.resize((inner_width, inner_height), PIL.Image.Resampling[method.upper()])
    left, top = width // 2 - inner_width // 2, height // 2 - inner_height // 2
    filled = PIL.Image.new(picture.mode, (width, height))
    filled.paste(inner, (left, top))
    # A box without extent is Pillow's way to continue an edge.
    if top > 0:
        filled.paste(inner.resize((width, top), box=(0, 0, width, 0)), (0, 0))
        edge = (0, inner_height, width, inner_height)
        filled.paste(inner.resize((width, top), box=edge), (0, top + inner_height))
    elif left > 0:
        filled.paste(inner.resize((left, height), box=(0, 0, 0, height)), (0, 0))
        edge = (inner_width, 0, inner_width, height)
        filled.paste(inner.resize((left, height), box=edge), (left + inner_width, 0))
    return filled


def _covering(picture: PIL.Image.Image, width: int, height: int) -> PIL.Image.Image:
    """A picture that covers a size, in proportion; what is over is cut off at both ends."""
    import PIL.Image

    scaled_width = max(width, picture.width * height // picture.height)
    scaled_height = max(height, picture.height * width // picture.width)
    scaled = picture.resize((scaled_width, scaled_height), PIL.Image.Resampling.LANCZOS)
    covering = PIL.Image.new("RGB", (width, height))
    covering.paste(scaled, (width // 2 - scaled_width // 2, height // 2 - scaled_height // 2))
    return covering


def _check_sizes(image: Image, mask: Mask) -> None:
    one, other = image.pixels.shape, mask.values.shape
    if one[2:] != other[2:]:
        raise ValueError(
            f"the picture is {one[3]}x{one[2]} pixels and the mask {other[3]}x{other[2]}: they "
            "must be of one size; see ResizeMask"
        )
    if one[0] != 1 or other[0] != 1:
        raise ValueError(
            f"there are {one[0]} pictures and {other[0]} masks: a part is cut out of one picture "
            "by one mask"
        )
