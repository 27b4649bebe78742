"""Stable Diffusion 1 and 2: text to picture, picture to picture, inpainting, depth, ControlNet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from graphdiff.checkpoints.handles import Family
from graphdiff.engine.events import Event
from graphdiff.pipelines.adapters import lora_scale
from graphdiff.pipelines.base import DiffusionPipeline, placed
from graphdiff.pipelines.callback import Step
from graphdiff.pipelines.outputs import StableDiffusionPipelineOutput
from graphdiff.pipelines.request import Callback, Request
from graphdiff.pipelines.tasks import (
    build_depth_to_image,
    build_image_to_image,
    build_inpainting,
    build_text_to_image,
    steering,
)

if TYPE_CHECKING:
    import torch

    from graphdiff.pipelines.graphs import Builder
    from graphdiff.pipelines.pictures import Pictures

    Generator = torch.Generator | Sequence[torch.Generator]
OnEvent = Callable[[Event], None]


class _StableDiffusion(DiffusionPipeline):
    output_class: ClassVar[Any] = StableDiffusionPipelineOutput
    families: ClassVar[tuple[Family, ...]] = ("sd1", "sd2")

    def encode_prompt(
        self,
        prompt: str | Sequence[str] | None = None,
        device: torch.device | str | None = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: str | Sequence[str] | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Encode prompts, to be changed or kept and given to a call.

        Args:
            prompt: What to draw.
            device: Where the vectors are to be; where the pipeline computes where None.
            num_images_per_prompt: How many rows each prompt becomes.
            do_classifier_free_guidance: Whether the negative prompt is encoded, too.
            negative_prompt: What to stay away from.
            prompt_embeds: The prompt encoded already.
            negative_prompt_embeds: The negative prompt encoded already.
            lora_scale: How strongly LoRAs are applied.
            clip_skip: How many of the text encoder's last layers to leave out.

        Returns:
            The prompt's vectors, (pictures, tokens, width), and the negative prompt's; None for
            the latter without guidance.
        """
        request = Request(
            prompt=prompt,
            negative_prompt=negative_prompt,
            images_per_prompt=num_images_per_prompt,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            lora_scale=1.0 if lora_scale is None else lora_scale,
            clip_skip=clip_skip,
        )
        rows = self._encode(request, is_guided=do_classifier_free_guidance)
        (positive, _), (negative, _) = placed(rows, device)
        return positive, negative


class StableDiffusionPipeline(_StableDiffusion):
    """A picture from a prompt."""

    def _example(self) -> Request:
        return Request(prompt="")

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_text_to_image(builder, callback)

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float = 7.5,
        negative_prompt: str | Sequence[str] | None = None,
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
        return self._run(
            Request(
                prompt=prompt,
                size=(height, width),
                steps=num_inference_steps,
                timesteps=timesteps,
                sigmas=sigmas,
                guidance=guidance_scale,
                negative_prompt=negative_prompt,
                images_per_prompt=num_images_per_prompt,
                eta=eta,
                generator=generator,
                latents=latents,
                prompt_embeds=prompt_embeds,
                negative_prompt_embeds=negative_prompt_embeds,
                output_type=output_type,
                return_dict=return_dict,
                lora_scale=lora_scale(cross_attention_kwargs),
                rescale=guidance_rescale,
                clip_skip=clip_skip,
                callback=callback_on_step_end,
                shown=tuple(callback_on_step_end_tensor_inputs),
                on_event=on_event,
            )
        )


class StableDiffusionImg2ImgPipeline(_StableDiffusion):
    """A picture changed by a prompt."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_image_to_image(builder, callback)

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        image: Pictures | None = None,
        strength: float = 0.8,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float = 7.5,
        negative_prompt: str | Sequence[str] | None = None,
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
        return self._run(
            Request(
                prompt=prompt,
                image=image,
                strength=strength,
                steps=num_inference_steps,
                timesteps=timesteps,
                sigmas=sigmas,
                guidance=guidance_scale,
                negative_prompt=negative_prompt,
                images_per_prompt=num_images_per_prompt,
                eta=eta,
                generator=generator,
                prompt_embeds=prompt_embeds,
                negative_prompt_embeds=negative_prompt_embeds,
                output_type=output_type,
                return_dict=return_dict,
                lora_scale=lora_scale(cross_attention_kwargs),
                clip_skip=clip_skip,
                callback=callback_on_step_end,
                shown=tuple(callback_on_step_end_tensor_inputs),
                on_event=on_event,
            )
        )


class StableDiffusionInpaintPipeline(_StableDiffusion):
    """A part of a picture painted anew."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_inpainting(builder, callback)

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        image: Pictures | None = None,
        mask_image: Pictures | None = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        strength: float = 1.0,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float = 7.5,
        negative_prompt: str | Sequence[str] | None = None,
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
        return self._run(
            Request(
                prompt=prompt,
                image=image,
                mask=mask_image,
                padding=padding_mask_crop,
                size=(height, width),
                strength=strength,
                steps=num_inference_steps,
                timesteps=timesteps,
                sigmas=sigmas,
                guidance=guidance_scale,
                negative_prompt=negative_prompt,
                images_per_prompt=num_images_per_prompt,
                eta=eta,
                generator=generator,
                latents=latents,
                prompt_embeds=prompt_embeds,
                negative_prompt_embeds=negative_prompt_embeds,
                output_type=output_type,
                return_dict=return_dict,
                lora_scale=lora_scale(cross_attention_kwargs),
                clip_skip=clip_skip,
                callback=callback_on_step_end,
                shown=tuple(callback_on_step_end_tensor_inputs),
                on_event=on_event,
            )
        )


class StableDiffusionDepth2ImgPipeline(_StableDiffusion):
    """A picture changed by a prompt that keeps its depth."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_depth_to_image(builder, callback)

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        image: Pictures | None = None,
        depth_map: torch.Tensor | None = None,
        strength: float = 0.8,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: str | Sequence[str] | None = None,
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
        return self._run(
            Request(
                prompt=prompt,
                image=image,
                depth=depth_map,
                strength=strength,
                steps=num_inference_steps,
                guidance=guidance_scale,
                negative_prompt=negative_prompt,
                images_per_prompt=num_images_per_prompt,
                eta=eta,
                generator=generator,
                prompt_embeds=prompt_embeds,
                negative_prompt_embeds=negative_prompt_embeds,
                output_type=output_type,
                return_dict=return_dict,
                lora_scale=lora_scale(cross_attention_kwargs),
                clip_skip=clip_skip,
                callback=callback_on_step_end,
                shown=tuple(callback_on_step_end_tensor_inputs),
                on_event=on_event,
            )
        )


class StableDiffusionControlNetPipeline(_StableDiffusion):
    """A picture from a prompt, steered by other pictures."""

    def _build(self, builder: Builder, callback: Step | None) -> None:
        build_text_to_image(builder, callback)

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        image: Pictures | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float = 7.5,
        negative_prompt: str | Sequence[str] | None = None,
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
        steers, size = steering(
            self._setup,
            image,
            (height, width),
            controlnet_conditioning_scale,
            control_guidance_start,
            control_guidance_end,
            guess_mode=guess_mode,
        )
        return self._run(
            Request(
                prompt=prompt,
                steering=steers,
                size=size,
                steps=num_inference_steps,
                timesteps=timesteps,
                sigmas=sigmas,
                guidance=guidance_scale,
                negative_prompt=negative_prompt,
                images_per_prompt=num_images_per_prompt,
                eta=eta,
                generator=generator,
                latents=latents,
                prompt_embeds=prompt_embeds,
                negative_prompt_embeds=negative_prompt_embeds,
                output_type=output_type,
                return_dict=return_dict,
                lora_scale=lora_scale(cross_attention_kwargs),
                clip_skip=clip_skip,
                callback=callback_on_step_end,
                shown=tuple(callback_on_step_end_tensor_inputs),
                on_event=on_event,
            )
        )
