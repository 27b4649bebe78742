"""Stable Diffusion 1 and 2: text to picture, picture to picture, inpainting, depth, ControlNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphdiff.pipelines.callback import Step
from graphdiff.pipelines.calls import call
from graphdiff.pipelines.prompted import Prompted
from graphdiff.pipelines.request import Callback, Generator, OnEvent, Request, Text
from graphdiff.pipelines.tasks import (
    build_depth_to_image,
    build_image_to_image,
    build_inpainting,
    build_steered,
    build_text_to_image,
)

if TYPE_CHECKING:
    import torch

    from graphdiff.pipelines.graphs import Builder
    from graphdiff.pipelines.pictures import Pictures


class StableDiffusionPipeline(Prompted):
    """A picture from a prompt."""

    def _example(self) -> Request:
        return Request(prompt="")

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_text_to_image(builder, callback)

    @call
    def __call__(
        self,
        prompt: Text = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float = 7.5,
        negative_prompt: Text = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        guidance_rescale: float = 0.0,
        clip_skip: int | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        *,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Draw pictures of prompts.

        Args:
            prompt: What to draw; a list is as many pictures.
            height: Height in pixels; the checkpoint's own where None.
            width: Width in pixels; the checkpoint's own where None.
            num_inference_steps: How many denoising steps.
            timesteps: Timesteps to visit instead, from high to low.
            sigmas: Noise levels to visit instead, from high to low.
            guidance_scale: How closely to follow the prompt; 1 is no guidance.
            negative_prompt: What to stay away from.
            num_images_per_prompt: How many pictures of each prompt.
            eta: How much noise a step of DDIM draws anew.
            generator: What to draw from: one for all, or one for each picture.
            latents: The noise itself, (batch, channels, height, width) of the latents.
            prompt_embeds: The prompt encoded, (batch, tokens, width), instead of `prompt`.
            negative_prompt_embeds: The negative prompt encoded.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            cross_attention_kwargs: `scale` says how strongly LoRAs are applied in this call.
            guidance_rescale: How much of the contrast that guidance adds is taken back, 0 to 1.
            clip_skip: How many of the text encoder's last layers to leave out.
            callback_on_step_end: Called after each step with the pipeline, the step's number, its
                timestep and a map of tensors; what it gives back replaces them.
            callback_on_step_end_tensor_inputs: What is in that map: latents, prompt_embeds,
                negative_prompt_embeds.
            on_event: Told what the engine does.
        """


class StableDiffusionImg2ImgPipeline(Prompted):
    """A picture changed by a prompt."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_image_to_image(builder, callback)

    @call
    def __call__(
        self,
        prompt: Text = None,
        image: Pictures | None = None,
        strength: float = 0.8,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float = 7.5,
        negative_prompt: Text = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        clip_skip: int | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        *,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Change pictures along prompts.

        Arguments are those of StableDiffusionPipeline, and what stands with a picture.

        Args:
            prompt: What to make of it.
            image: The picture, or several: PIL, arrays, tensors; a tensor of as many channels as
                the latents is taken for these.
            strength: How much to change, 0 to 1: the share of the steps that is taken.
            num_inference_steps: How many steps a whole run has.
            timesteps: Timesteps to visit instead.
            sigmas: Noise levels to visit instead.
            guidance_scale: How closely to follow the prompt.
            negative_prompt: What to stay away from.
            num_images_per_prompt: How many pictures of each prompt.
            eta: How much noise a step of DDIM draws anew.
            generator: What to draw from.
            prompt_embeds: The prompt encoded.
            negative_prompt_embeds: The negative prompt encoded.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            cross_attention_kwargs: `scale` says how strongly LoRAs are applied in this call.
            clip_skip: How many of the text encoder's last layers to leave out.
            callback_on_step_end: Called after each step.
            callback_on_step_end_tensor_inputs: What it is given: latents, prompt_embeds,
                negative_prompt_embeds.
            on_event: Told what the engine does.
        """


class StableDiffusionInpaintPipeline(Prompted):
    """A part of a picture painted anew."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_inpainting(builder, callback)

    @call
    def __call__(
        self,
        prompt: Text = None,
        image: Pictures | None = None,
        mask_image: Pictures | None = None,
        masked_image_latents: torch.Tensor | None = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        strength: float = 1.0,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float = 7.5,
        negative_prompt: Text = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        clip_skip: int | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        *,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Paint parts of pictures anew.

        Arguments are those of StableDiffusionPipeline, and what stands with a picture.

        Args:
            prompt: What the whole picture shows then.
            image: The picture.
            mask_image: White where it is painted anew, black where it is kept.
            masked_image_latents: The latents of the picture without what is painted anew; they
                are made of the two where None.
            height: Height in pixels, to which the picture is brought.
            width: Width in pixels.
            padding_mask_crop: How many pixels around the mask are cut out with it: only that part
                is brought to the size, painted, and pasted back. The whole picture where None.
            strength: How much the painted part may differ from what was there, 0 to 1.
            num_inference_steps: How many steps a whole run has.
            timesteps: Timesteps to visit instead.
            sigmas: Noise levels to visit instead.
            guidance_scale: How closely to follow the prompt.
            negative_prompt: What to stay away from.
            num_images_per_prompt: How many pictures of each prompt.
            eta: How much noise a step of DDIM draws anew.
            generator: What to draw from.
            latents: The noise itself.
            prompt_embeds: The prompt encoded.
            negative_prompt_embeds: The negative prompt encoded.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            cross_attention_kwargs: `scale` says how strongly LoRAs are applied in this call.
            clip_skip: How many of the text encoder's last layers to leave out.
            callback_on_step_end: Called after each step.
            callback_on_step_end_tensor_inputs: What it is given: latents, prompt_embeds,
                negative_prompt_embeds.
            on_event: Told what the engine does.
        """


class StableDiffusionDepth2ImgPipeline(Prompted):
    """A picture changed by a prompt that keeps its depth."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_depth_to_image(builder, callback)

    @call
    def __call__(
        self,
        prompt: Text = None,
        image: Pictures | None = None,
        depth_map: torch.Tensor | None = None,
        strength: float = 0.8,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: Text = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        clip_skip: int | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        *,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Change pictures that keep their depth.

        Arguments are those of StableDiffusionImg2ImgPipeline, and what stands with a picture.

        Args:
            prompt: What to make of it.
            image: The picture.
            depth_map: Its depth, (batch, height, width), larger is nearer; estimated where None.
            strength: How much to change, 0 to 1.
            num_inference_steps: How many steps a whole run has.
            guidance_scale: How closely to follow the prompt.
            negative_prompt: What to stay away from.
            num_images_per_prompt: How many pictures of each prompt.
            eta: How much noise a step of DDIM draws anew.
            generator: What to draw from.
            prompt_embeds: The prompt encoded.
            negative_prompt_embeds: The negative prompt encoded.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            cross_attention_kwargs: `scale` says how strongly LoRAs are applied in this call.
            clip_skip: How many of the text encoder's last layers to leave out.
            callback_on_step_end: Called after each step.
            callback_on_step_end_tensor_inputs: What it is given: latents, prompt_embeds,
                negative_prompt_embeds.
            on_event: Told what the engine does.
        """


class StableDiffusionControlNetPipeline(Prompted):
    """A picture from a prompt, steered by other pictures."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_steered(builder, callback)

    @call
    def __call__(
        self,
        prompt: Text = None,
        image: Pictures | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float = 7.5,
        negative_prompt: Text = None,
        num_images_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generator | None = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: Mapping[str, Any] | None = None,
        controlnet_conditioning_scale: float | Sequence[float] = 1.0,
        guess_mode: bool = False,
        control_guidance_start: float | Sequence[float] = 0.0,
        control_guidance_end: float | Sequence[float] = 1.0,
        clip_skip: int | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        *,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Draw pictures of prompts along others.

        Arguments are those of StableDiffusionPipeline, and what stands with a picture.

        Args:
            prompt: What to draw.
            image: The picture that steers; with several ControlNets one for each.
            height: Height in pixels; that of `image` where None.
            width: Width in pixels; that of `image` where None.
            num_inference_steps: How many denoising steps.
            timesteps: Timesteps to visit instead.
            sigmas: Noise levels to visit instead.
            guidance_scale: How closely to follow the prompt.
            negative_prompt: What to stay away from.
            num_images_per_prompt: How many pictures of each prompt.
            eta: How much noise a step of DDIM draws anew.
            generator: What to draw from.
            latents: The noise itself.
            prompt_embeds: The prompt encoded.
            negative_prompt_embeds: The negative prompt encoded.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            cross_attention_kwargs: `scale` says how strongly LoRAs are applied in this call.
            controlnet_conditioning_scale: How strongly it steers; with several, one for each.
            guess_mode: Whether the ControlNet does without the prompt's help.
            control_guidance_start: From which share of the steps on it steers.
            control_guidance_end: Up to which share of the steps it steers.
            clip_skip: How many of the text encoder's last layers to leave out.
            callback_on_step_end: Called after each step.
            callback_on_step_end_tensor_inputs: What it is given: latents, prompt_embeds,
                negative_prompt_embeds.
            on_event: Told what the engine does.
        """
