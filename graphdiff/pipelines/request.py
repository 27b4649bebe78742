"""What a call of a pipeline asks for, checked, whatever task it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from graphdiff.engine.events import Event
from graphdiff.pipelines.pictures import OutputType, check_output_type

if TYPE_CHECKING:
    import torch

    from graphdiff.pipelines.pictures import Pictures

Text: TypeAlias = "str | Sequence[str] | None"
Callback: TypeAlias = Callable[[Any, int, Any, dict[str, Any]], Mapping[str, Any]]
Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What SDXL is told of the picture; sizes are (height, width), None is the picture's own."""

    original: Size | None = None
    crop: Size = (0, 0)
    target: Size | None = None
    aesthetic_score: float = 6.0


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
    """One call.

    Args:
        prompt: What to draw; a list is as many pictures.
        prompt_2: The same for SDXL's second encoder.
        negative_prompt: What to stay away from.
        negative_prompt_2: The same for SDXL's second encoder.
        prompt_embeds: The prompt encoded, (batch, tokens, width), instead.
        negative_prompt_embeds: The negative prompt encoded.
        pooled_prompt_embeds: The prompt's pooled vectors, (batch, width), for SDXL.
        negative_pooled_prompt_embeds: Those of the negative prompt.
        images_per_prompt: How many pictures of each prompt.
        steps: How many steps.
        timesteps: Timesteps to visit instead.
        sigmas: Noise levels to visit instead.
        strength: How much of a given picture changes, 0 to 1.
        start: The share of the noise that another model has taken away already.
        end: The share of the noise after which another model goes on.
        guidance: The guidance scale.
        rescale: How much of the contrast that guidance adds is taken back.
        eta: How much noise a step of DDIM draws anew.
        clip_skip: How many of the text encoder's last layers to leave out.
        lora_scale: How strongly LoRAs are applied in this call.
        generator: What to draw from.
        latents: The noise itself.
        image: The picture to start from.
        mask: Where it is painted anew.
        padding: How many pixels around the mask are cut out with it, to paint that part alone;
            None for the whole picture.
        depth: Its depth.
        size: Height and width of the pictures.
        sizes: What SDXL is told.
        negative_sizes: What SDXL is told with the negative prompt.
        steering: How ControlNets steer.
        batch: How many pictures, for models without text.
        output_type: In which form they are given.
        return_dict: Whether with names, or as a tuple.
        callback: Called after each step.
        shown: Which tensors it is shown.
        on_event: Told what the engine does.
    """

    prompt: Text = None
    prompt_2: Text = None
    negative_prompt: Text = None
    negative_prompt_2: Text = None
    prompt_embeds: torch.Tensor | None = None
    negative_prompt_embeds: torch.Tensor | None = None
    pooled_prompt_embeds: torch.Tensor | None = None
    negative_pooled_prompt_embeds: torch.Tensor | None = None
    images_per_prompt: int = 1
    steps: int | None = 50
    timesteps: Sequence[float] | None = None
    sigmas: Sequence[float] | None = None
    strength: float | None = None
    start: float | None = None
    end: float | None = None
    guidance: float = 7.5
    rescale: float = 0.0
    eta: float = 0.0
    clip_skip: int | None = None
    lora_scale: float = 1.0
    generator: torch.Generator | Sequence[torch.Generator] | None = None
    latents: torch.Tensor | None = None
    image: Pictures | None = None
    mask: Pictures | None = None
    padding: int | None = None
    depth: torch.Tensor | None = None
    size: tuple[int | None, int | None] = (None, None)
    sizes: Sizes = field(default_factory=Sizes)
    negative_sizes: Sizes | None = None
    steering: Steering | None = None
    batch: int = 1
    output_type: str = "pil"
    return_dict: bool = True
    callback: Callback | None = None
    shown: tuple[str, ...] = ("latents",)
    on_event: Callable[[Event], None] | None = None

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
            return self.batch
        return len(self.prompt)

    @property
    def pictures(self) -> int:
        """How many pictures there will be."""
        return self.prompts * self.images_per_prompt

    def check_numbers(self) -> None:
        """Refuse counts and schedules that are none, by the names that callers know them by."""
        own = self.timesteps is not None, self.sigmas is not None
        if all(own):
            raise ValueError("give either timesteps or sigmas, not both")
        if not any(own) and (self.steps is None or self.steps < 1):
            raise ValueError(f"num_inference_steps is {self.steps}, but it must be at least 1")
        if self.images_per_prompt < 1:
            raise ValueError(
                f"num_images_per_prompt is {self.images_per_prompt}, but it must be at least 1"
            )
        if self.batch < 1:
            raise ValueError(f"batch_size is {self.batch}, but it must be at least 1")
        if self.padding is not None and self.padding < 0:
            raise ValueError(f"padding_mask_crop is {self.padding}, but it must be at least 0")

    def check_size(self, factor: int) -> None:
        """Refuse sizes that the model cannot make, before anything runs.

        Args:
            factor: What both sides must be multiples of.
        """
        for name, side in zip(("height", "width"), self.size, strict=True):
            if side is not None and (side < factor or side % factor):
                low = max(side // factor, 1) * factor
                raise ValueError(
                    f"{name} is {side} pixels, but this model's pictures are multiples of "
                    f"{factor}: take {low} or {low + factor}"
                )

    def check_text(self, *, alike: bool) -> None:
        """Refuse prompts that do not go together.

        Args:
            alike: Whether the negative prompt must be of the prompt's type.
        """
        if (self.prompt is None) == (self.prompt_embeds is None):
            given = "both" if self.prompt is not None else "neither"
            raise ValueError(f"give either prompt or prompt_embeds; {given} were given")
        for name in ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2"):
            _check_text(name, getattr(self, name))
        if self.negative_prompt is not None and self.negative_prompt_embeds is not None:
            raise ValueError("give either negative_prompt or negative_prompt_embeds, not both")
        if self.prompt is None or self.negative_prompt is None:
            return
        is_text = isinstance(self.prompt, str), isinstance(self.negative_prompt, str)
        if alike and is_text[0] != is_text[1]:
            raise TypeError(
                "negative_prompt must be of prompt's type: a text for a text, a list for a list"
            )
        if not is_text[1] and len(self.negative_prompt) != self.prompts:
            raise ValueError(
                f"there are {self.prompts} prompts and {len(self.negative_prompt)} negative ones: "
                "give as many"
            )

    def check_strength(self) -> None:
        """Refuse a strength that is none."""
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise ValueError(f"strength is {self.strength}, but it must be from 0 to 1")


def _check_text(name: str, text: object) -> None:
    several = cast("Sequence[object]", text if isinstance(text, list | tuple) else [text])
    if not several:
        raise ValueError(f"{name} is an empty list: give one text at least")
    if text is None:
        return
    wrong = next((each for each in several if not isinstance(each, str)), None)
    if wrong is not None:
        raise TypeError(
            f"{name} must be a text or a list of texts, but {type(wrong).__name__} is given"
        )
