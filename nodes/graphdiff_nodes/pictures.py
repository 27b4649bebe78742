"""Pictures as tensors and as Pillow's: the numbers on the way in and on the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import PIL.Image
    from torch import Tensor

Method = Literal["lanczos", "bicubic", "bilinear", "nearest", "area"]
Fit = Literal["stretch", "crop", "pad", "inside"]


def to_pillow(pixels: Tensor) -> list[PIL.Image.Image]:
    """Round pictures to 8 bits.

    Args:
        pixels: Values in [0, 1], (batch, 3 or 1, height, width); what is outside is cut off.
    """
    import PIL.Image

    rounded = (pixels.float().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    if rounded.shape[3] == 1:
        rounded = rounded[..., 0]
    return [PIL.Image.fromarray(each) for each in rounded]


def from_pillow(pictures: list[PIL.Image.Image]) -> Tensor:
    """Stack pictures of one size and mode, 8 bits a channel.

    Returns:
        Values in [0, 1], float32, (batch, 3 or 1, height, width).
    """
    import numpy as np
    import torch

    arrays = [np.asarray(picture, dtype=np.float32) / 255 for picture in pictures]
    stacked = torch.tensor(np.stack(arrays))
    return stacked[:, None] if stacked.ndim == 3 else stacked.permute(0, 3, 1, 2).contiguous()


def resized(pixels: Tensor, width: int, height: int, method: Method = "lanczos") -> Tensor:
    """Stretch pictures, in 8 bits, as Pillow does it.

    Args:
        pixels: Values in [0, 1], (batch, 3 or 1, height, width).
        width: New width in pixels.
        height: New height in pixels.
        method: How pixels in between are made.
    """
    if pixels.shape[2:] == (height, width):
        return pixels
    return from_pillow(
        [picture.resize((width, height), _filter(method)) for picture in to_pillow(pixels)]
    )


def fitted(pixels: Tensor, width: int, height: int, fit: Fit, method: Method = "lanczos") -> Tensor:
    """Bring pictures to a size.

    Args:
        pixels: Values in [0, 1], (batch, 3 or 1, height, width).
        width: New width in pixels.
        height: New height in pixels.
        fit: `stretch` changes proportions; the others keep them: `crop` fills the size and cuts off
            what is over, `pad` shows all and leaves borders black, `inside` shows all without
            borders, so one side may be smaller.
        method: How pixels in between are made.
    """
    if fit == "stretch":
        return resized(pixels, width, height, method)
    old_height, old_width = pixels.shape[2:]
    shares = width / old_width, height / old_height
    share = max(shares) if fit == "crop" else min(shares)
    inner_width, inner_height = max(1, round(old_width * share)), max(1, round(old_height * share))
    scaled = resized(pixels, inner_width, inner_height, method)
    if fit == "inside":
        return scaled
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    if fit == "crop":
        return scaled[:, :, -top : -top + height, -left : -left + width]
    bordered = scaled.new_zeros((*scaled.shape[:2], height, width))
    bordered[:, :, top : top + inner_height, left : left + inner_width] = scaled
    return bordered


def _filter(method: Method) -> PIL.Image.Resampling:
    from PIL.Image import Resampling

    return {
        "lanczos": Resampling.LANCZOS,
        "bicubic": Resampling.BICUBIC,
        "bilinear": Resampling.BILINEAR,
        "nearest": Resampling.NEAREST,
        "area": Resampling.BOX,
    }[method]
