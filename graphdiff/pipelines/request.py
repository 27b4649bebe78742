"""What a call of a pipeline asks for, whatever task it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from graphdiff_nodes.values import Framing

from graphdiff.engine.events import Event
from graphdiff.pipelines.pictures import OutputType, check_output_type

if TYPE_CHECKING:
    import torch

    from graphdiff.pipelines.pictures import Pictures

Generator: TypeAlias = "torch.Generator | Sequence[torch.Generator]"
Text: TypeAlias = "str | Sequence[str] | None"
Callback: TypeAlias = Callable[[Any, int, Any, dict[str, Any]], Mapping[str, Any]]
OnEvent: TypeAlias = Callable[[Event], None]
Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Steering:
    """How the ControlNets of a pipeline steer: for each its picture, strength, start and end."""

    images: tuple[Any, ...]
    strengths: tuple[float, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    guess: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call; its fields are the arguments of the pipelines, by the names that these have.

    Args:
        prompt: What to draw; a list is as many pictures.
        prompt_2: The same for SDXL's second encoder.
        image: The picture to start from, or the one that steers; with several ControlNets one for
            each.
        mask_image: Where it is painted anew.
        masked_image_latents: The latents of the picture without what is painted anew.
        depth_map: Its depth.
        height: Height of the pictures in pixels.
        width: Their width.
        padding_mask_crop: How many pixels around the mask are cut out with it, to paint that part
            alone; None for the whole picture.
        strength: How much of a given picture changes, 0 to 1.
        num_inference_steps: How many steps.
        timesteps: Timesteps to visit instead.
        sigmas: Noise levels to visit instead.
        denoising_start: The share of the noise that another model has taken away already.
        denoising_end: The share of the noise after which another model goes on.
        guidance_scale: How closely to follow the prompt.
        negative_prompt: What to stay away from.
        negative_prompt_2: The same for SDXL's second encoder.
        num_images_per_prompt: How many pictures of each prompt.
        batch_size: How many pictures, for models without text.
        eta: How much noise a step of DDIM draws anew.
        generator: What to draw from.
        latents: The noise itself.
        prompt_embeds: The prompt encoded, (batch, tokens, width), instead.
        negative_prompt_embeds: The negative prompt encoded.
        pooled_prompt_embeds: The prompt's pooled vectors, (batch, width), for SDXL.
        negative_pooled_prompt_embeds: Those of the negative prompt.
        output_type: In which form pictures are given.
        return_dict: Whether with names, or as a tuple.
        cross_attention_kwargs: `scale` says how strongly LoRAs are applied in this call.
        guidance_rescale: How much of the contrast that guidance adds is taken back.
        controlnet_conditioning_scale: How strongly a ControlNet steers.
        guess_mode: Whether it does without the prompt's help.
        control_guidance_start: From which share of the steps on it steers.
        control_guidance_end: Up to which share of the steps it steers.
        original_size: Height and width that SDXL is told the picture comes from.
        crops_coords_top_left: How much it is told to be cut off.
        target_size: Height and width that it is told to have.
        negative_original_size: The same with the negative prompt.
        negative_crops_coords_top_left: The same with the negative prompt.
        negative_target_size: The same with the negative prompt.
        aesthetic_score: How beautiful SDXL's refiner is told that it is.
        negative_aesthetic_score: The same with the negative prompt.
        clip_skip: How many of the text encoders' last layers to leave out.
        callback_on_step_end: Called after each step.
        callback_on_step_end_tensor_inputs: Which tensors it is shown.
        on_event: Told what the engine does.
    """

    prompt: Text = None
    prompt_2: Text = None
    image: Pictures | None = None
    mask_image: Pictures | None = None
    masked_image_latents: torch.Tensor | None = None
    depth_map: torch.Tensor | None = None
    height: int | None = None
    width: int | None = None
    padding_mask_crop: int | None = None
    strength: float | None = None
    num_inference_steps: int | None = 50
    timesteps: Sequence[float] | None = None
    sigmas: Sequence[float] | None = None
    denoising_start: float | None = None
    denoising_end: float | None = None
    guidance_scale: float = 7.5
    negative_prompt: Text = None
    negative_prompt_2: Text = None
    num_images_per_prompt: int = 1
    batch_size: int = 1
    eta: float = 0.0
    generator: Generator | None = None
    latents: torch.Tensor | None = None
    prompt_embeds: torch.Tensor | None = None
    negative_prompt_embeds: torch.Tensor | None = None
    pooled_prompt_embeds: torch.Tensor | None = None
    negative_pooled_prompt_embeds: torch.Tensor | None = None
    output_type: str = "pil"
    return_dict: bool = True
    cross_attention_kwargs: Mapping[str, Any] | None = None
    guidance_rescale: float = 0.0
    controlnet_conditioning_scale: float | Sequence[float] = 1.0
    guess_mode: bool = False
    control_guidance_start: float | Sequence[float] = 0.0
    control_guidance_end: float | Sequence[float] = 1.0
    original_size: Size | None = None
    crops_coords_top_left: Size = (0, 0)
    target_size: Size | None = None
    negative_original_size: Size | None = None
    negative_crops_coords_top_left: Size = (0, 0)
    negative_target_size: Size | None = None
    aesthetic_score: float = 6.0
    negative_aesthetic_score: float = 6.0
    clip_skip: int | None = None
    callback_on_step_end: Callback | None = None
    callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",)
    on_event: OnEvent | None = None

    @property
    def form(self) -> OutputType:
        """The form in which pictures are given."""
        return check_output_type(self.output_type)

    @property
    def prompts(self) -> int:
        """How many prompts there are; for models without text, pictures."""
        if self.prompt_embeds is not None:
            return len(self.prompt_embeds)
        if self.prompt is None or isinstance(self.prompt, str):
            return self.batch_size
        return len(self.prompt)

    @property
    def pictures(self) -> int:
        """How many pictures there will be."""
        return self.prompts * self.num_images_per_prompt

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width of the pictures, as far as they are asked for."""
        return self.height, self.width

    @property
    def framing(self) -> Framing:
        """What SDXL is told with the prompt."""
        own = self.original_size, self.crops_coords_top_left, self.target_size
        return Framing(*own, self.aesthetic_score)

    @property
    def negative_framing(self) -> Framing:
        """What SDXL is told with the negative prompt: its own sizes where both are given."""
        score = self.negative_aesthetic_score
        if self.negative_original_size is None or self.negative_target_size is None:
            return replace(self.framing, aesthetic_score=score)
        crop = self.negative_crops_coords_top_left
        return Framing(self.negative_original_size, crop, self.negative_target_size, score)

    @property
    def lora_scale(self) -> float:
        """How strongly the call wants LoRAs, from what diffusers hands to attention.

        Raises:
            ValueError: There is something else in it.
        """
        given = dict(self.cross_attention_kwargs or {})
        scale = given.pop("scale", None)
        if given:
            raise ValueError(
                f"cross_attention_kwargs has {', '.join(given)}: only scale, the strength of "
                "LoRAs, is known"
            )
        return 1.0 if scale is None else float(scale)
