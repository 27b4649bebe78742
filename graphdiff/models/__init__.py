"""Diffusion models as plain torch modules, named and configured as diffusers does."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphdiff.models.autoencoder_kl import AutoencoderKL
    from graphdiff.models.autoencoder_tiny import AutoencoderTiny
    from graphdiff.models.clip_text import CLIPTextModel, CLIPTextModelWithProjection
    from graphdiff.models.clip_tokenizer import CLIPTokenizer
    from graphdiff.models.controlnet import ControlNetModel, MultiControlNetModel
    from graphdiff.models.unet_2d import UNet2DModel
    from graphdiff.models.unet_2d_condition import UNet2DConditionModel

# Where each name is; a module, and torch with it, is imported when its name is first asked for.
_MODULES = {
    "AutoencoderKL": "autoencoder_kl",
    "AutoencoderTiny": "autoencoder_tiny",
    "CLIPTextModel": "clip_text",
    "CLIPTextModelWithProjection": "clip_text",
    "CLIPTokenizer": "clip_tokenizer",
    "ControlNetModel": "controlnet",
    "MultiControlNetModel": "controlnet",
    "UNet2DConditionModel": "unet_2d_condition",
    "UNet2DModel": "unet_2d",
}

__all__ = [
    "AutoencoderKL",
    "AutoencoderTiny",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "CLIPTokenizer",
    "ControlNetModel",
    "MultiControlNetModel",
    "UNet2DConditionModel",
    "UNet2DModel",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
