"""Pictures as callers give them and want them back: PIL, numpy, torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from graphdiff_nodes.pictures import from_pillow, resized, to_pillow
from graphdiff_nodes.values import Image, Mask

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    import torch

    Picture: TypeAlias = PIL.Image.Image | np.ndarray[Any, Any] | torch.Tensor
    Pictures: TypeAlias = Picture | Sequence[Picture]

OutputType = Literal["pil", "np", "pt", "latent"]


def image_of(pictures: Pictures, size: tuple[int, int] | None, factor: int) -> Image:
    """The pictures that a caller gives, as diffusers prepares them.

    Args:
        pictures: One or several: PIL, arrays (height, width, 3) in [0, 1], tensors (3, height,
            width) in [0, 1], or in [-1, 1] if any value is negative; with a batch axis or without.
        size: Height and width that they are to have; their own where None.
        factor: What sides are rounded down to multiples of.
    """
    import torch

    several = _listed(pictures)
    if _is_pillow(several[0]):
        pixels = from_pillow([cast("PIL.Image.Image", each).convert("RGB") for each in several])
        height, width = _rounded(size or _size(pixels), factor)
        return Image(resized(pixels, width, height))
    pixels = _tensor(several, channels=3)
    if bool(pixels.min() < 0):
        pixels = (pixels + 1) / 2
    target = _rounded(size or _size(pixels), factor)
    if _size(pixels) != target:
        pixels = torch.nn.functional.interpolate(pixels, target)
    return Image(pixels)


def mask_of(masks: Pictures, size: tuple[int, int]) -> Mask:
    """The masks that a caller gives: resized, grey, and then all or nothing.

    Args:
        masks: One or several: PIL, arrays (height, width) or tensors (1, height, width) in [0, 1].
        size: Height and width that they are to have.
    """
    import torch

    several = _listed(masks)
    height, width = size
    if _is_pillow(several[0]):
        from PIL.Image import Resampling

        grey = [
            cast("PIL.Image.Image", each).resize((width, height), Resampling.LANCZOS).convert("L")
            for each in several
        ]
        values = from_pillow(grey)
    else:
        values = _tensor(several, channels=1)
        if _size(values) != size:
            values = torch.nn.functional.interpolate(values, size)
    return Mask((values >= 0.5).float())


def whole_picture(picture: Pictures) -> Image:
    """A picture in its own size, to cut a part out of.

    Raises:
        ValueError: It is not one picture of PIL's.
    """
    return Image(from_pillow([_single("image", picture).convert("RGB")]))


def whole_mask(mask: Pictures) -> Mask:
    """A mask in its own size, with its greys.

    Raises:
        ValueError: It is not one picture of PIL's.
    """
    return Mask(from_pillow([_single("mask_image", mask).convert("L")]))


def is_stretched_by_nearest(mask: Pictures) -> bool:
    """Whether a mask has colours that cannot be mixed: Pillow stretches it without."""
    return _single("mask_image", mask).mode in ("1", "P")


def latents_of(pictures: Pictures, channels: int) -> torch.Tensor | None:
    """A tensor that a caller gives as a picture, where it is latents: it has as many channels."""
    import torch

    single = pictures
    if isinstance(pictures, Sequence) and pictures and isinstance(pictures[0], torch.Tensor):
        rows = cast("Sequence[torch.Tensor]", pictures)
        single = torch.cat([row if row.ndim == 4 else row[None] for row in rows])
    if isinstance(single, torch.Tensor) and single.ndim == 4 and single.shape[1] == channels != 3:
        return single
    return None


def given_back(image: Image, output_type: OutputType) -> Any:  # noqa: ANN401 - by the type asked for
    """Pictures in the form that a caller asks for: a list of PIL's, an array, or a tensor."""
    match output_type:
        case "pt":
            return image.pixels
        case "np":
            return image.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        case _:
            return to_pillow(image.pixels)


def check_output_type(output_type: str) -> OutputType:
    """Refuse a form that there is not."""
    if output_type not in get_args(OutputType):
        raise ValueError(
            f"output_type is {output_type!r}, not one of {', '.join(get_args(OutputType))}"
        )
    return cast(OutputType, output_type)


def _listed(pictures: Pictures) -> list[Any]:
    found: list[Any] = list(pictures) if isinstance(pictures, list | tuple) else [pictures]
    if not found:
        raise ValueError("there is no picture in the list")
    return found


def _is_pillow(picture: object) -> bool:
    import PIL.Image

    return isinstance(picture, PIL.Image.Image)


def _single(name: str, picture: Pictures) -> PIL.Image.Image:
    several = _listed(picture)
    if len(several) != 1 or not _is_pillow(several[0]):
        found = type(several[0]).__name__ if len(several) == 1 else f"{len(several)} pictures"
        raise ValueError(
            f"with padding_mask_crop, {name} must be one picture of PIL's, not {found}"
        )
    return cast("PIL.Image.Image", several[0])


def _tensor(pictures: Sequence[Any], channels: int) -> torch.Tensor:
    """Arrays and tensors as one tensor, (batch, channels, height, width)."""
    import numpy as np
    import torch

    rows: list[torch.Tensor] = []
    for picture in pictures:
        if isinstance(picture, np.ndarray):
            tensor = torch.tensor(picture)
            if tensor.ndim > 2 and tensor.shape[-1] == channels:
                tensor = tensor.movedim(-1, -3)
        elif isinstance(picture, torch.Tensor):
            tensor = picture
        else:
            raise ValueError(
                f"a picture must be PIL's, an array or a tensor, not {type(picture).__name__}"
                + ("; a file is opened with PIL.Image.open" if isinstance(picture, str) else "")
            )
        if channels == 1 and (tensor.ndim == 2 or tensor.shape[-3] != 1):
            tensor = tensor.unsqueeze(-3)
        row = tensor if tensor.ndim == 4 else tensor[None]
        if row.ndim != 4 or row.shape[1] != channels:
            raise ValueError(
                f"a picture has {channels} channels: tensors are (batch, {channels}, height, "
                f"width), but this one is {tuple(tensor.shape)}"
            )
        rows.append(row.float())
    return torch.cat(rows)


def _size(pixels: torch.Tensor) -> tuple[int, int]:
    return pixels.shape[2], pixels.shape[3]


def _rounded(size: tuple[int, int], factor: int) -> tuple[int, int]:
    height, width = (max(side // factor, 1) * factor for side in size)
    return height, width
