"""Masks: read, made of pictures, drawn, and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le

from graphdiff.graph.node import InputFile, node
from graphdiff_nodes.images import opened
from graphdiff_nodes.pictures import Method, from_pillow, resized
from graphdiff_nodes.values import DepthMap, Image, Mask

if TYPE_CHECKING:
    from torch import Tensor

Pixels = Annotated[int, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]
Channel = Literal["luminance", "red", "green", "blue"]

# What each channel counts in brightness, as Pillow's mode L and ITU-R 601 have it.
_LUMINANCE = (0.299, 0.587, 0.114)


@node
def LoadMask(
    path: InputFile,
    channel: Literal["luminance", "alpha", "red", "green", "blue"] = "luminance",
    *,
    invert: bool = False,
) -> Mask:
    """Read a mask from a file: white where something applies.

    Args:
        path: The picture.
        channel: What is the mask: the brightness, a colour, or how solid the picture is.
        invert: Whether black is where it applies.
    """
    picture = opened(path)
    match channel:
        case "luminance":
            band = picture.convert("L")
        case "alpha":
            band = picture.convert("RGBA").getchannel("A")
        case colour:
            band = picture.convert("RGB").getchannel(colour[0].upper())
    values = from_pillow([band])
    return Mask(1 - values if invert else values)


@node
def MaskFromImage(image: Image, channel: Channel = "luminance") -> Mask:
    """Take a mask from a picture: bright where something applies.

    Args:
        image: The picture.
        channel: Its brightness, or one colour.
    """
    import torch

    if channel != "luminance":
        index = ("red", "green", "blue").index(channel)
        return Mask(image.pixels[:, index : index + 1])
    weights = torch.tensor(_LUMINANCE).reshape(1, 3, 1, 1)
    return Mask((image.pixels * weights).sum(1, keepdim=True))


@node
def MaskFromColor(
    image: Image, red: Share, green: Share, blue: Share, *, tolerance: Share = 0.1
) -> Mask:
    """Find where a picture has a colour.

    Args:
        image: The picture.
        red: The colour's red, 0 to 1.
        green: Its green.
        blue: Its blue.
        tolerance: By how much each may differ.
    """
    import torch

    colour = torch.tensor([red, green, blue]).reshape(1, 3, 1, 1)
    distance = (image.pixels - colour).abs().amax(1, keepdim=True)
    return Mask((distance <= tolerance).float())


@node
def MaskFromDepth(depth: DepthMap, nearest: Share = 0.0, farthest: Share = 0.5) -> Mask:
    """Find what lies between two distances.

    Args:
        depth: The depth of a picture.
        nearest: The near limit, 0 is the nearest place of the picture.
        farthest: The far limit, 1 is the farthest place.
    """
    low, high = (
        depth.values.amin((1, 2, 3), keepdim=True),
        depth.values.amax((1, 2, 3), keepdim=True),
    )
    distance = (high - depth.values) / (high - low).clamp(min=1e-12)
    return Mask(((distance >= nearest) & (distance <= farthest)).float())


@node
def MaskFromBox(
    width: Pixels, height: Pixels, left: Share, top: Share, right: Share, bottom: Share
) -> Mask:
    """Draw a rectangular mask.

    Args:
        width: Width of the mask in pixels.
        height: Height of the mask in pixels.
        left: Where the rectangle begins, as a share of the width.
        top: Where it begins, as a share of the height.
        right: Where it ends, as a share of the width.
        bottom: Where it ends, as a share of the height.
    """
    import torch

    if left >= right or top >= bottom:
        raise ValueError("the rectangle is empty: left must be under right, and top under bottom")
    values = torch.zeros(1, 1, height, width)
    rows = slice(round(top * height), round(bottom * height))
    columns = slice(round(left * width), round(right * width))
    values[:, :, rows, columns] = 1
    return Mask(values)


@node
def InvertMask(mask: Mask) -> Mask:
    """Apply where a mask does not.

    Args:
        mask: The mask.
    """
    return Mask(1 - mask.values)


@node
def GrowMask(mask: Mask, pixels: int) -> Mask:
    """Grow or shrink where a mask applies.

    Args:
        mask: The mask.
        pixels: By how many pixels at each edge; negative shrinks.
    """
    from torch.nn.functional import max_pool2d

    size = 2 * abs(pixels) + 1
    if pixels >= 0:
        return Mask(max_pool2d(mask.values, size, stride=1, padding=pixels))
    return Mask(1 - max_pool2d(1 - mask.values, size, stride=1, padding=-pixels))


@node
def BlurMask(mask: Mask, radius: Annotated[float, Ge(0)]) -> Mask:
    """Soften a mask's edge.

    Args:
        mask: The mask.
        radius: The deviation of the blur in pixels.
    """
    import PIL.ImageFilter

    from graphdiff_nodes.pictures import to_pillow

    blur = PIL.ImageFilter.GaussianBlur(radius)
    return Mask(from_pillow([picture.filter(blur) for picture in to_pillow(mask.values)]))


@node
def ResizeMask(mask: Mask, width: Pixels, height: Pixels, *, method: Method = "lanczos") -> Mask:
    """Resize a mask, in 8 bits.

    Args:
        mask: The mask.
        width: New width in pixels.
        height: New height in pixels.
        method: How pixels in between are made.
    """
    return Mask(resized(mask.values, width, height, method))


@node
def BinarizeMask(mask: Mask, threshold: Share = 0.5) -> Mask:
    """Make a mask all or nothing, as inpainting takes it.

    Args:
        mask: The mask.
        threshold: From which value on it is 1.
    """
    return Mask((mask.values >= threshold).float())


@node
def MaskImage(image: Image, mask: Mask) -> Image:
    """Blank a picture where a mask applies, as an inpainting UNet is shown it: grey, the middle.

    Args:
        image: The picture.
        mask: 1 where it is blanked.
    """
    import torch

    kept = _stretched(mask, image) < 0.5
    return Image(torch.where(kept, image.pixels, torch.tensor(0.5)))


@node
def CompositeImage(original: Image, painted: Image, mask: Mask) -> Image:
    """Paste what was painted into the original, pixel for pixel, where a mask applies.

    Args:
        original: The picture that was inpainted.
        painted: What came out.
        mask: 1 where the painted one is seen.
    """
    where = _stretched(mask, original)
    return Image(original.pixels * (1 - where) + painted.pixels * where)


def _stretched(mask: Mask, image: Image) -> Tensor:
    from torch.nn.functional import interpolate

    size = image.pixels.shape[2:]
    return mask.values if mask.values.shape[2:] == size else interpolate(mask.values, size)
