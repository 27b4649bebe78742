"""Small random checkpoints of each family, built with diffusers and saved as it saves them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

EMOJI = Path(__file__).parents[2] / "graphdiff" / "checkpoints" / "bundled" / "emoji"
V1_SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def randomised(module: torch.nn.Module, seed: int = 0, scale: float = 0.02) -> Any:
    """Shake every weight, those that start at zero too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    return module.eval()


def tokenizer(folder: Path, *, pad: str = "<|endoftext|>") -> Any:
    from transformers import CLIPTokenizer

    shutil.copytree(EMOJI / "tokenizer", folder, dirs_exist_ok=True)
    for path in folder.iterdir():
        path.chmod(0o644)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"model_max_length": 77, "pad_token": pad}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    return CLIPTokenizer.from_pretrained(folder)


def text_encoder(seed: int, *, projection: bool = False, **changes: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = {
        "vocab_size": 2000,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 1,
        "max_position_embeddings": 77,
        "projection_dim": 48,
        "bos_token_id": 1998,
        "eos_token_id": 1999,
        "pad_token_id": 1999,
    } | changes
    cls = CLIPTextModelWithProjection if projection else CLIPTextModel
    torch.manual_seed(seed)
    return randomised(cls(CLIPTextConfig(**config)), seed)


def unet(seed: int = 1, **changes: Any) -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    config = {
        "sample_size": 16,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    } | changes
    return randomised(UNet2DConditionModel(**config), seed)


def vae(seed: int = 2, **changes: Any) -> Any:
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    config = {
        "block_out_channels": (16, 32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "sample_size": 64,
    } | changes
    return randomised(AutoencoderKL(**config), seed)


def scheduler(name: str = "PNDMScheduler", **changes: Any) -> Any:
    import diffusers

    config = dict(V1_SCHEDULE)
    if name == "PNDMScheduler":
        config |= {"skip_prk_steps": True, "steps_offset": 1}
    return getattr(diffusers, name)(**(config | changes))


def stable_diffusion(folder: Path, **unet_changes: Any) -> Any:
    """An SD 1.5 in small: diffusers' pipeline, saved under `folder`."""
    from diffusers import StableDiffusionPipeline

    made = StableDiffusionPipeline(
        vae=vae(),
        text_encoder=text_encoder(3),
        tokenizer=tokenizer(folder.parent / f"{folder.name}-tokenizer"),
        unet=unet(**unet_changes),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(folder)
    return made


def inpainting(folder: Path) -> Any:
    """An SD 1.5 whose UNet sees the mask."""
    return stable_diffusion(folder, in_channels=9)


def distilled(folder: Path) -> Any:
    """An LCM: an SD 1.5 that takes the guidance scale as an input."""
    return stable_diffusion(folder, time_cond_proj_dim=16)


def depth(folder: Path) -> Any:
    """An SD 2 for depth to image, with a small DPT."""
    from diffusers import StableDiffusionDepth2ImgPipeline
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    config = DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=1,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        reassemble_factors=[4, 2, 1, 0.5],
        is_hybrid=False,
    )
    torch.manual_seed(5)
    processor = DPTImageProcessor(size={"height": 32, "width": 32})
    made = StableDiffusionDepth2ImgPipeline(
        vae=vae(),
        text_encoder=text_encoder(3),
        tokenizer=tokenizer(folder.parent / f"{folder.name}-tokenizer"),
        unet=unet(in_channels=5, use_linear_projection=True),
        scheduler=scheduler(),
        depth_estimator=randomised(DPTForDepthEstimation(config), 5),
        feature_extractor=processor,
    )
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(folder)
    return made


def controlled(folder: Path) -> Any:
    """An SD 1.5 with a ControlNet."""
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline

    base = stable_diffusion(folder.parent / f"{folder.name}-base")
    net = ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(8, 16, 16))
    net = ControlNetModel.from_config(
        {**net.config, "conditioning_embedding_out_channels": (8, 16, 16)}
    )
    parts = {name: part for name, part in base.components.items() if name != "image_encoder"}
    made = StableDiffusionControlNetPipeline(
        **parts, controlnet=randomised(net, 6, 0.1), requires_safety_checker=False
    )
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(folder)
    return made


def checked(folder: Path) -> Any:
    """An SD 1.5 with a safety checker that objects to everything."""
    from diffusers import StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    vision = {
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_attention_heads": 1,
        "num_hidden_layers": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    config = CLIPConfig(vision_config=vision, text_config={}, projection_dim=16)
    torch.manual_seed(7)
    checker = randomised(StableDiffusionSafetyChecker(config), 7)
    checker.concept_embeds_weights.data.fill_(-1.0)
    base = stable_diffusion(folder.parent / f"{folder.name}-base")
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    parts = {**base.components, "safety_checker": checker, "feature_extractor": processor}
    made = StableDiffusionPipeline(**parts)
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(folder)
    return made


def xl_unet(
    seed: int = 1, *, ids: int = 6, width: int = 80, pooled: int = 48, **changes: Any
) -> Any:
    each = 8
    settings: dict[str, Any] = {
        "cross_attention_dim": width,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": each,
        "projection_class_embeddings_input_dim": pooled + ids * each,
        "transformer_layers_per_block": (1, 2),
    }
    return unet(seed, **(settings | changes))


def stable_diffusion_xl(folder: Path, **unet_changes: Any) -> Any:
    """An SDXL in small."""
    from diffusers import StableDiffusionXLPipeline

    made = StableDiffusionXLPipeline(
        vae=vae(scaling_factor=0.13025, force_upcast=True),
        text_encoder=text_encoder(3),
        text_encoder_2=text_encoder(4, projection=True, hidden_size=48, intermediate_size=64),
        tokenizer=tokenizer(folder.parent / f"{folder.name}-tokenizer"),
        tokenizer_2=tokenizer(folder.parent / f"{folder.name}-tokenizer-2", pad="!"),
        unet=xl_unet(**unet_changes),
        scheduler=scheduler("EulerDiscreteScheduler", timestep_spacing="leading", steps_offset=1),
        add_watermarker=False,
    )
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(folder)
    return made


def xl_inpainting(folder: Path) -> Any:
    """An SDXL whose UNet sees the mask."""
    return stable_diffusion_xl(folder, in_channels=9)


def xl_refiner(folder: Path) -> Any:
    """An SDXL refiner in small: one encoder, an aesthetic score."""
    from diffusers import StableDiffusionXLImg2ImgPipeline

    made = StableDiffusionXLImg2ImgPipeline(
        vae=vae(scaling_factor=0.13025),
        text_encoder=None,
        text_encoder_2=text_encoder(4, projection=True, hidden_size=48, intermediate_size=64),
        tokenizer=None,
        tokenizer_2=tokenizer(folder.parent / f"{folder.name}-tokenizer-2", pad="!"),
        unet=xl_unet(ids=5, width=48),
        scheduler=scheduler("EulerDiscreteScheduler", timestep_spacing="leading", steps_offset=1),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(folder)
    return made


def xl_controlled(folder: Path) -> Any:
    """An SDXL with a ControlNet."""
    from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline

    base = stable_diffusion_xl(folder.parent / f"{folder.name}-base")
    net = ControlNetModel.from_unet(base.unet)
    net = ControlNetModel.from_config(
        {**net.config, "conditioning_embedding_out_channels": (8, 16, 16)}
    )
    names = ("image_encoder", "feature_extractor")
    parts = {name: part for name, part in base.components.items() if name not in names}
    made = StableDiffusionXLControlNetPipeline(
        **parts, controlnet=randomised(net, 6, 0.1), add_watermarker=False
    )
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(folder)
    return made


def unconditional(folder: Path) -> Any:
    """A DDPM in small."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(8)
    net = UNet2DModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=32,
        norm_num_groups=8,
    )
    made = DDPMPipeline(unet=randomised(net, 8), scheduler=DDPMScheduler())
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(folder)
    return made


def rounded(folder: Path) -> Any:
    """An SD 1.5 whose weights are the same in 16 bits, with a UNet that single files can hold."""
    made = stable_diffusion(folder)
    for part in (made.unet, made.vae, made.text_encoder):
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.copy_(parameter.half())
    return made
