"""The workflows behind the pipelines, built call by call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from graphdiff_nodes import values
from graphdiff_nodes.conditioning import ApplyControlNet, TextEncode
from graphdiff_nodes.cropping import CropAroundMask, Cropped, PasteArea
from graphdiff_nodes.latents import (
    DepthChannels,
    Encoded,
    InpaintChannels,
    LatentsToImage,
    RepeatLatents,
    VAEDecode,
    VAEEncode,
)
from graphdiff_nodes.masks import BinarizeMask, MaskImage
from graphdiff_nodes.models import (
    LoadControlNet,
    LoadLoRA,
    LoadModel,
    LoadTextualInversion,
    LoadUNet,
    LoadVAE,
    Scheduler,
)
from graphdiff_nodes.sampling import (
    AddNoise,
    Noise,
    NoiseFromLatents,
    NoiseSample,
    Timesteps,
)
from graphdiff_nodes.tiles import VAEDecodeTiled, VAEEncodeTiled
from graphdiff_nodes.values import Conditioning, ConditioningPart, DepthMap, Image, Latents, Mask
from graphdiff_nodes.vision import DepthEstimate, SafetyCheck

from graphdiff.checkpoints.handles import (
    VAE,
    DepthEstimator,
    SafetyChecker,
    TextEncoder,
    UNet,
)
from graphdiff.graph.build import named, output
from graphdiff.pipelines.denoising import Denoising
from graphdiff.pipelines.pictures import (
    image_of,
    is_stretched_by_nearest,
    latents_of,
    mask_of,
    whole_mask,
    whole_picture,
)
from graphdiff.pipelines.randomness import streams
from graphdiff.pipelines.request import Request, Sizes, Text
from graphdiff.pipelines.setup import Setup
from graphdiff.rng import Rng
from graphdiff.schedulers.schedule import Schedule

if TYPE_CHECKING:
    import torch


class _CutOut(NamedTuple):
    """The part of a picture that is painted anew, and what it is pasted into."""

    whole: Image
    mask: Mask
    part: Cropped


class Builder(Denoising):
    """Builds the workflow of one call.

    Args:
        setup: What the pipeline is made of.
        request: What the call asks for.
        takes_eta: Whether the scheduler has a choice of `eta`.
    """

    def __init__(self, setup: Setup, request: Request, *, takes_eta: bool) -> None:
        self.setup = setup
        self.request = request
        self.inputs: dict[str, Any] = {}
        self._image: Image | None = None
        self._cut: _CutOut | None = None
        options: dict[str, Any] = {
            name: value
            for name in ("revision", "variant", "config")
            if (value := getattr(setup, name)) is not None
        }
        checkpoint = self.given("checkpoint", str, setup.checkpoint.name)
        model = named("model", LoadModel(checkpoint, **options))
        replaced = setup.replaced
        prediction = setup.checkpoint.unet.prediction_type
        self.unet: UNet = (
            LoadUNet(replaced["unet"], prediction_type=prediction)
            if "unet" in replaced
            else model.unet
        )
        self.vae: VAE = LoadVAE(replaced["vae"]) if "vae" in replaced else model.vae
        self.text_encoder: TextEncoder = model.text_encoder
        self.safety_checker: SafetyChecker | None = model.safety_checker
        self.depth_estimator: DepthEstimator | None = model.depth_estimator
        self.scheduler = self._scheduler(model.scheduler, takes_eta=takes_eta)
        for adapter, scale, text_scale in setup.loras(request.lora_scale):
            changes: dict[str, Any] = {} if adapter.is_strict else {"strict": False}
            if text_scale != scale:
                changes["text_scale"] = text_scale
            patched = LoadLoRA(self.unet, adapter.file, self.text_encoder, scale=scale, **changes)
            self.unet, self.text_encoder = patched.unet, patched.text_encoder
        for file, token in setup.words:
            self.text_encoder = LoadTextualInversion(self.text_encoder, file, token=token)

    def _scheduler(self, own: values.Scheduler, *, takes_eta: bool) -> values.Scheduler:
        eta = self.request.eta if takes_eta else None
        if self.setup.scheduler is not None:
            name, config = self.setup.scheduler
            return named("scheduler", Scheduler(name, config=dict(config), eta=eta))
        return named("scheduler", Scheduler(base=own, eta=eta)) if eta else own

    # Randomness and schedule.

    def rng(self) -> int | Rng:
        """What the call draws from: a seed where it can be said as one.

        A seed starts a stream where something is drawn before the loop; the loop takes a stream.
        """
        drawn = streams(self.request.generator, self.request.pictures)
        is_first = self.request.start is None
        if is_first and self.request.pictures == 1 and isinstance(drawn.streams[0], int):
            seed: int = self.given("seed", int, drawn.streams[0])
            return seed
        rng: Rng = self.given("rng", Rng, drawn)
        return rng

    def schedule(self, *, has_image: bool = False) -> Schedule:
        """The steps of the call."""
        request = self.request
        own = request.timesteps is None and request.sigmas is None
        steps = self.given("num_inference_steps", int, request.steps) if own else None
        options: dict[str, Any] = {}
        if request.start is not None:
            options["start"] = self.given("denoising_start", float, request.start)
        elif has_image and request.strength is not None:
            options["strength"] = self.given("strength", float, request.strength)
        if request.end is not None:
            options["end"] = self.given("denoising_end", float, request.end)
        if request.timesteps is not None:
            options["timesteps"] = [float(each) for each in request.timesteps]
        if request.sigmas is not None:
            options["sigmas"] = [float(each) for each in request.sigmas]
        return named("schedule", Timesteps(self.scheduler, steps, **options))

    def noise(self, schedule: Schedule, rng: int | Rng) -> Noise:
        """The noise to start from, or the caller's latents."""
        request = self.request
        if request.latents is not None:
            latents = self.given("latents", Latents, self.placed(request.latents))
            return named("noise", NoiseFromLatents(latents, schedule, rng))
        options: dict[str, Any] = {}
        for name, side in zip(("height", "width"), request.size, strict=True):
            if side is not None:
                options[name] = self.given(name, int, side)
        if request.pictures != 1:
            options["batch"] = request.pictures
        return named("noise", NoiseSample(self.unet, schedule, rng, **options))

    def noised(self, latents: Latents, schedule: Schedule, rng: int | Rng, images: int) -> Noise:
        """A picture's latents, noised to the schedule's first step, as many as asked for."""
        return named("noise", AddNoise(self.repeated(latents, images), schedule, rng))

    def repeated(self, latents: Latents, images: int) -> Latents:
        """Latents of as many pictures as are asked for."""
        wanted = self.request.pictures
        if wanted % images:
            raise ValueError(
                f"{images} pictures were given for {wanted} prompts: give one, or one for each"
            )
        if images in (1, wanted) and (images == wanted or self._is_sampled_for_each()):
            return latents
        return RepeatLatents(latents, wanted // images, whole=True)

    def _is_sampled_for_each(self) -> bool:
        """Whether encoding one picture gives a sample of it for each generator."""
        given = self.request.generator
        is_latents = latents_of(cast(Any, self.request.image), self._channels) is not None
        return not is_latents and isinstance(given, Sequence) and len(given) > 1

    @property
    def _channels(self) -> int:
        return self.setup.checkpoint.unet.latent_channels

    def placed(self, tensor: torch.Tensor) -> Latents:
        """A caller's tensor as latents; the model moves them where it computes."""
        return Latents(tensor.detach().float().cpu())

    # Text.

    def positive(self) -> Conditioning:
        """The prompt, encoded."""
        request = self.request
        if request.prompt_embeds is not None:
            made = self._embedded(request.prompt_embeds, request.pooled_prompt_embeds)
            return self._conditioning("prompt_embeds", made)
        return named(
            "positive",
            self._encoded(
                ("prompt", request.prompt),
                ("prompt_2", request.prompt_2),
                request.sizes,
                clip_skip=request.clip_skip or 0,
            ),
        )

    def negative(self) -> Conditioning:
        """The negative prompt, encoded; a missing one is empty, or zeros where a model says so."""
        request = self.request
        sizes = request.negative_sizes or request.sizes
        if request.negative_prompt_embeds is not None:
            pooled = request.negative_pooled_prompt_embeds
            made = self._embedded(request.negative_prompt_embeds, pooled)
            return self._conditioning("negative_prompt_embeds", made)
        text = request.negative_prompt
        if text is None and self.setup.checkpoint.force_zeros_for_empty_prompt:
            return named("negative", TextEncode(self.text_encoder, None, **_framing(sizes)))
        if isinstance(text, str) and request.prompt is not None and request.prompts > 1:
            text = [text] * request.prompts
        return named(
            "negative",
            self._encoded(
                ("negative_prompt", text or ""),
                ("negative_prompt_2", request.negative_prompt_2),
                sizes,
            ),
        )

    def _encoded(
        self, text: tuple[str, Text], second: tuple[str, Text], sizes: Sizes, *, clip_skip: int = 0
    ) -> Conditioning:
        options = _framing(sizes)
        if second[1] is not None:
            options["text_2"] = self._text(*second)
        if clip_skip:
            options["clip_skip"] = clip_skip
        return TextEncode(self.text_encoder, self._text(*text), **options)

    def _text(self, name: str, text: Text) -> Any:  # noqa: ANN401 - an input's handle
        if isinstance(text, str):
            return self.given(name, str, text)
        return self.given(name, "[str]", list(text or ()))

    def _embedded(self, sequence: torch.Tensor, pooled: torch.Tensor | None) -> Conditioning:
        part = ConditioningPart(sequence.detach(), None if pooled is None else pooled.detach())
        return Conditioning((part,), self.setup.checkpoint.family)

    def _conditioning(self, name: str, made: Conditioning) -> Conditioning:
        given: Conditioning = self.given(name, Conditioning, made)
        return given

    def steered(
        self, positive: Conditioning, negative: Conditioning, schedule: Schedule
    ) -> tuple[Conditioning, Conditioning]:
        """The prompts with the pipeline's ControlNets applied."""
        steering = self.request.steering
        if steering is None:
            return positive, negative
        rows = zip(
            self.setup.controlnets,
            steering.images,
            steering.strengths,
            steering.starts,
            steering.ends,
            strict=True,
        )
        for i, (folder, image, strength, start, end) in enumerate(rows):
            net = LoadControlNet(folder)
            size = self.picture_size()
            hint = self.given(
                f"control_image_{i}", Image, image_of(image, size, self.spatial_factor)
            )
            options: dict[str, Any] = {"guess_mode": steering.guess}
            if (start, end) != (0.0, 1.0):
                options |= {"start": start, "end": end, "schedule": schedule}
            positive = ApplyControlNet(positive, net, hint, strength, **options)
            if not steering.guess:
                negative = ApplyControlNet(negative, net, hint, strength, **options)
        return positive, negative

    # Pictures.

    @property
    def spatial_factor(self) -> int:
        """How many pixels a cell of the latents stands for."""
        return self.setup.checkpoint.unet.spatial_factor

    def picture_size(self) -> tuple[int, int]:
        """Height and width of the pictures, in pixels."""
        height, width = self.request.size
        default = self.setup.checkpoint.default_size
        return (height, width) if height and width else default

    def image(self, size: tuple[int, int] | None) -> tuple[Image, int]:
        """The picture that the caller gives, or a part of it, and how many there are."""
        if self.request.padding is not None:
            return self._cut_out().part.image, 1
        made = image_of(cast(Any, self.request.image), size, self.spatial_factor)
        return self.given("image", Image, made), made.pixels.shape[0]

    def encoded(self, size: tuple[int, int] | None, rng: int | Rng) -> tuple[Latents, Rng, int]:
        """The latents of the caller's picture, what to draw from next, and how many there are."""
        latents = latents_of(cast(Any, self.request.image), self._channels)
        if latents is not None:
            given = self.given("image", Latents, self.placed(latents))
            return given, cast(Rng, rng), latents.shape[0]
        image, count = self.image(size)
        self._image = image
        encoded = named("encoded", self._vae_encode(image, rng))
        return encoded.latents, encoded.rng, count

    def _vae_encode(self, image: Image, rng: int | Rng) -> Encoded:
        if self.setup.slices or self.setup.tiles:
            return VAEEncodeTiled(self.vae, image, rng, tiles=self.setup.tiles)
        return VAEEncode(self.vae, image, rng)

    def _vae_decode(self, latents: Latents) -> Image:
        if self.setup.slices or self.setup.tiles:
            return VAEDecodeTiled(self.vae, latents, tiles=self.setup.tiles)
        return VAEDecode(self.vae, latents)

    def latest_image(self) -> Image:
        """The caller's picture that was encoded.

        Raises:
            ValueError: The caller gave latents.
        """
        if self._image is None:
            raise ValueError("inpainting takes a picture, not latents: the mask is of pixels")
        return self._image

    def mask(self, size: tuple[int, int]) -> Mask:
        """The mask that the caller gives, or a part of it."""
        if self.request.padding is not None:
            return named("mask", BinarizeMask(self._cut_out().part.mask))
        mask: Mask = self.given("mask_image", Mask, mask_of(cast(Any, self.request.mask), size))
        return mask

    def _cut_out(self) -> _CutOut:
        """The part of the picture around the mask, in full size."""
        if self._cut is None:
            request = self.request
            image = self.given("image", Image, whole_picture(cast(Any, request.image)))
            mask = self.given("mask_image", Mask, whole_mask(cast(Any, request.mask)))
            height, width = self.picture_size()
            padding = self.given("padding_mask_crop", int, request.padding)
            options: dict[str, Any] = {}
            if is_stretched_by_nearest(cast(Any, request.mask)):
                options["mask_method"] = "nearest"
            part = CropAroundMask(image, mask, width, height, padding, **options)
            self._cut = _CutOut(image, mask, named("part", part))
        return self._cut

    def blanked(self, image: Image, mask: Mask, rng: int | Rng) -> tuple[Latents, Rng]:
        """The latents of the picture without what is masked, and what to draw from next."""
        kept = named("kept", self._vae_encode(MaskImage(image, mask), rng))
        return kept.latents, kept.rng

    def inpaint_channels(self, mask: Mask, kept: Latents) -> Latents:
        """What an inpainting UNet takes beside its sample."""
        return InpaintChannels(mask, kept)

    def depth_channels(self, latents: Latents) -> Latents:
        """What a depth UNet takes beside its sample."""
        if self.request.depth is not None:
            depth = self.request.depth.float()
            rows = depth[None] if depth.ndim == 2 else depth
            given = self.given("depth_map", DepthMap, DepthMap(rows[:, None]))
            return DepthChannels(given, latents)
        whole = image_of(cast(Any, self.request.image), None, 1)
        image = self.given("depth_image", Image, whole)
        return DepthChannels(DepthEstimate(self.depth_estimator, image), latents)

    # The end.

    def finish(self, sample: Latents, rng: Rng, *, is_pixels: bool = False) -> None:
        """Say what the graph gives: pictures, or latents, and where the streams stand."""
        if self.request.form == "latent":
            output(latents=sample, rng=rng)
            return
        if is_pixels:
            output(images=LatentsToImage(sample), rng=rng)
            return
        image = named("image", self._vae_decode(sample))
        if self.setup.is_checked and self.setup.checkpoint.safety_checker is not None:
            checked = named("checked", SafetyCheck(self.safety_checker, image))
            output(images=self._pasted(checked.image), unsafe=checked.unsafe, rng=rng)
            return
        output(images=self._pasted(image), rng=rng)

    def _pasted(self, image: Image) -> Image:
        """What was painted, in its place where only a part was."""
        if self._cut is None:
            return image
        cut = self._cut
        return named("pasted", PasteArea(cut.whole, image, cut.mask, cut.part.area))


def _framing(sizes: Sizes) -> dict[str, Any]:
    """Arguments of TextEncode for what SDXL is told, where it is not the default."""
    options: dict[str, Any] = {}
    for name, size in (("original", sizes.original), ("target", sizes.target)):
        if size is not None:
            options |= {f"{name}_height": size[0], f"{name}_width": size[1]}
    if sizes.crop != (0, 0):
        options |= {"crop_top": sizes.crop[0], "crop_left": sizes.crop[1]}
    if sizes.aesthetic_score != Sizes().aesthetic_score:
        options["aesthetic_score"] = sizes.aesthetic_score
    return options
