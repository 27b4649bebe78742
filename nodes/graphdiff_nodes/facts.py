"""What is known of values before they exist, and which of them fit together."""

from __future__ import annotations

from dataclasses import dataclass

from graphdiff.checkpoints.handles import VAE, Family, TextEncoder, UNet
from graphdiff.graph.node import WireError
from graphdiff.schedulers.schedule import Step
from graphdiff_nodes.values import Conditioning, Latents, Prediction


@dataclass(frozen=True, slots=True)
class LatentFacts:
    """What is known of latents or of a prediction.

    Args:
        channels: How many channels there will be.
    """

    channels: int


@dataclass(frozen=True, slots=True)
class ConditioningFacts:
    """What is known of conditioning.

    Args:
        family: Which UNets take it.
        width: The width of its token vectors.
        pooled_width: The width of its pooled vectors; 0 where there are none.
    """

    family: Family
    width: int
    pooled_width: int


# A value where it is known, else what its node's `infer` says of it, else None.
KnownLatents = Latents | Prediction | LatentFacts | None
KnownConditioning = Conditioning | ConditioningFacts | None

FAMILY_NAMES: dict[Family, str] = {
    "sd1": "SD 1.x",
    "sd2": "SD 2.x",
    "sdxl": "SDXL",
    "sdxl-refiner": "SDXL refiner",
    "unconditional": "unconditional",
}


def present_encoder(encoder: TextEncoder | None) -> TextEncoder:
    """The text encoder of a checkpoint; one without is refused."""
    if encoder is None:
        raise WireError(
            "encoder", "this checkpoint has no text encoder: leave the conditioning of its UNet out"
        )
    return encoder


def present_vae(vae: VAE | None) -> VAE:
    """The autoencoder of a checkpoint; one without is refused."""
    if vae is None:
        raise WireError(
            "vae",
            "this checkpoint has no VAE: its UNet works on pixels, which LatentsToImage and "
            "ImageToLatents turn to pictures and back; or give one with LoadVAE",
        )
    return vae


def check_vae_latents(vae: VAE | None, latents: KnownLatents) -> None:
    """Refuse latents of other channels than a VAE's."""
    vae = present_vae(vae)
    if latents is not None and latents.channels != vae.latent_channels:
        raise WireError(
            "latents",
            f"the VAE decodes latents of {vae.latent_channels} channels, but these have "
            f"{latents.channels}: use the VAE of the checkpoint that made them",
        )


def check_unet_sample(unet: UNet, sample: KnownLatents, extra: KnownLatents) -> None:
    """Refuse a sample whose channels, with the extra ones, are not those that go into a UNet."""
    if sample is None:
        return
    if sample.channels != unet.latent_channels:
        raise WireError(
            "sample",
            f"the UNet denoises {unet.latent_channels} channels, but this sample has "
            f"{sample.channels}",
        )
    wanted = unet.in_channels - unet.latent_channels
    found = 0 if extra is None else extra.channels
    if wanted == found:
        return
    kinds = {
        0: "no extra channels",
        1: "1 extra channel, the depth (DepthChannels)",
        5: "5 extra channels, the mask and the masked picture (InpaintChannels)",
        4: "4 extra channels, the picture to edit (VAEEncode with sample: false)",
    }
    raise WireError(
        "extra",
        f"this UNet takes {kinds.get(wanted, f'{wanted} extra channels')}, "
        f"but {found or 'none'} {'is' if found == 1 else 'are'} wired in",
    )


def check_unet_conditioning(unet: UNet, conditioning: KnownConditioning) -> None:
    """Refuse conditioning of another family or of other widths than a UNet's."""
    if conditioning is None:
        return  # not known yet, or left out: the UNet itself asks for what it needs
    name = FAMILY_NAMES[conditioning.family]
    if not unet.cross_attention_width:
        raise WireError(
            "conditioning",
            "this UNet takes no text: leave the conditioning out",
        )
    if (
        conditioning.width == unet.cross_attention_width
        and conditioning.pooled_width >= unet.pooled_width
    ):
        return
    raise WireError(
        "conditioning",
        f"the {FAMILY_NAMES[unet.family]} UNet takes text vectors of width "
        f"{unet.cross_attention_width}"
        + (f" with a pooled one of {unet.pooled_width}" if unet.pooled_width else "")
        + f", but this is {name} conditioning of width {conditioning.width}"
        + (f" with {conditioning.pooled_width}" if conditioning.pooled_width else "")
        + ": encode the prompt with the text encoder of the UNet's checkpoint",
    )


def check_step(unet: UNet, step: Step | None) -> None:
    """Refuse a step that takes the UNet's output for something else than it is."""
    if step is None or step.rule.prediction_type == unet.prediction_type:
        return
    raise WireError(
        "step",
        f"the UNet predicts {unet.prediction_type}, but the scheduler expects "
        f"{step.rule.prediction_type}: make it from the checkpoint's own, as in "
        "Scheduler(name, base=$model.scheduler), or set prediction_type there",
    )


def check_embedded_guidance(unet: UNet, guidance: float | None) -> None:
    """Refuse a distilled UNet that is not told the guidance scale."""
    if unet.guidance_width and guidance is None:
        raise WireError(
            "embedded_guidance",
            "this UNet is distilled (LCM) and takes the guidance scale as an input: give it here, "
            "and the UNet to Guidance, as the part Denoise does",
        )
