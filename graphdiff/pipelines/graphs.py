"""The workflows behind the pipelines, built call by call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from graphdiff_nodes import values
from graphdiff_nodes.conditioning import ApplyControlNet
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
from graphdiff_nodes.values import Conditioning, DepthMap, Image, Latents, Mask
from graphdiff_nodes.vision import DepthEstimate, SafetyCheck

from graphdiff.checkpoints.handles import (
    VAE,
    DepthEstimator,
    SafetyChecker,
    UNet,
)
from graphdiff.checkpoints.open import locate
from graphdiff.graph.build import named, output
from graphdiff.pipelines.checks import check_latents
from graphdiff.pipelines.pictures import (
    image_of,
    is_stretched_by_nearest,
    latents_of,
    mask_of,
    whole_mask,
    whole_picture,
)
from graphdiff.pipelines.prompting import Prompting
from graphdiff.pipelines.randomness import streams
from graphdiff.pipelines.request import Request, Steering
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


class Builder(Prompting):
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
        self.unet: UNet = model.unet
        if "unet" in replaced:
            self.unet = LoadUNet(replaced["unet"], prediction_type=setup.prediction_type)
        elif setup.prediction_type != setup.checkpoint.unet.prediction_type:
            # A whole checkpoint would say itself what it predicts; its folder of weights does not.
            folder = str(locate(setup.checkpoint.name, revision=setup.revision) / "unet")
            variant = {name: options[name] for name in options if name == "variant"}
            self.unet = LoadUNet(folder, prediction_type=setup.prediction_type, **variant)
        self.vae: VAE = LoadVAE(replaced["vae"]) if "vae" in replaced else model.vae
        self.text_encoder = model.text_encoder
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

    @property
    def is_xl(self) -> bool:
        """Whether the models are SDXL's."""
        return self.setup.checkpoint.family.startswith("sdxl")

    # Randomness and schedule.

    def rng(self, *, is_drawn: bool = True) -> int | Rng:
        """What the call draws from: a seed where it can be said as one.

        Args:
            is_drawn: Whether something is drawn before the loop, which a seed starts a stream for;
                the loop takes a stream.
        """
        drawn = streams(self.request.generator, self.request.pictures)
        if is_drawn and self.request.pictures == 1 and isinstance(drawn.streams[0], int):
            seed: int = self.given("seed", int, drawn.streams[0])
            return seed
        rng: Rng = self.given("rng", Rng, drawn)
        return rng

    def schedule(self, *, has_image: bool = False) -> Schedule:
        """The steps of the call."""
        request = self.request
        own = request.timesteps is None and request.sigmas is None
        steps = self.given("num_inference_steps", int, request.num_inference_steps) if own else None
        options: dict[str, Any] = {}
        if request.denoising_start is not None:
            options["start"] = self.given("denoising_start", float, request.denoising_start)
        elif has_image and request.strength is not None:
            options["strength"] = self.given("strength", float, request.strength)
        if request.denoising_end is not None:
            options["end"] = self.given("denoising_end", float, request.denoising_end)
        if request.timesteps is not None:
            options["timesteps"] = [float(each) for each in request.timesteps]
        if request.sigmas is not None:
            options["sigmas"] = [float(each) for each in request.sigmas]
        return named("schedule", Timesteps(self.scheduler, steps, **options))

    def noise(self, schedule: Schedule, rng: int | Rng) -> Noise:
        """The noise to start from, or the caller's latents."""
        request = self.request
        if request.latents is not None:
            return named("noise", NoiseFromLatents(self.begun(request.latents), schedule, rng))
        options: dict[str, Any] = {}
        for name, side in zip(("height", "width"), request.size, strict=True):
            if side is not None:
                options[name] = self.given(name, int, side)
        if request.pictures != 1:
            options["batch"] = request.pictures
        return named("noise", NoiseSample(self.unet, schedule, rng, **options))

    def begun(self, latents: torch.Tensor) -> Latents:
        """The caller's latents, with which the loop begins.

        Raises:
            ValueError: They are none of this model, or not as many as the pictures.
        """
        check_latents("latents", latents, self._channels)
        if len(latents) != self.request.pictures:
            raise ValueError(
                f"latents of {len(latents)} were given for {self.request.pictures} pictures: give "
                "as many"
            )
        given: Latents = self.given("latents", Latents, self.placed(latents))
        return given

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
        return not self._is_latents and isinstance(given, Sequence) and len(given) > 1

    @property
    def _is_latents(self) -> bool:
        """Whether the caller gives a picture as latents."""
        return latents_of(cast(Any, self.request.image), self._channels) is not None

    @property
    def _channels(self) -> int:
        return self.setup.checkpoint.unet.latent_channels

    def placed(self, tensor: torch.Tensor) -> Latents:
        """A caller's tensor as latents; the model moves them where it computes."""
        return Latents(tensor.detach().float().cpu())

    # Pictures.

    def steered(
        self,
        positive: Conditioning,
        negative: Conditioning,
        schedule: Schedule,
        steering: Steering,
    ) -> tuple[Conditioning, Conditioning]:
        """The prompts with the pipeline's ControlNets applied."""
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
        if self.request.padding_mask_crop is not None:
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

    def mask(self, size: tuple[int, int]) -> Mask:
        """The mask that the caller gives, or a part of it."""
        if self.request.padding_mask_crop is not None:
            return named("mask", BinarizeMask(self._cut_out().part.mask))
        mask: Mask = self.given(
            "mask_image", Mask, mask_of(cast(Any, self.request.mask_image), size)
        )
        return mask

    def _cut_out(self) -> _CutOut:
        """The part of the picture around the mask, in full size."""
        if self._cut is None:
            request = self.request
            image = self.given("image", Image, whole_picture(cast(Any, request.image)))
            mask = self.given("mask_image", Mask, whole_mask(cast(Any, request.mask_image)))
            height, width = self.picture_size()
            padding = self.given("padding_mask_crop", int, request.padding_mask_crop)
            options: dict[str, Any] = {}
            if is_stretched_by_nearest(cast(Any, request.mask_image)):
                options["mask_method"] = "nearest"
            part = CropAroundMask(image, mask, width, height, padding, **options)
            self._cut = _CutOut(image, mask, named("part", part))
        return self._cut

    def blanked(self, size: tuple[int, int], mask: Mask, rng: Rng) -> tuple[Latents | None, Rng]:
        """The latents of the picture without what is masked, and what to draw from next.

        They are None where the caller gives the picture as latents: the mask is of pixels.

        Raises:
            ValueError: The caller's own are no latents of this model.
        """
        own = self.request.masked_image_latents
        if own is not None:
            check_latents("masked_image_latents", own, self._channels)
            return self.given("masked_image_latents", Latents, self.placed(own)), rng
        if self._is_latents:
            return None, rng
        image = self._image if self._image is not None else self.image(size)[0]
        kept = named("kept", self._vae_encode(MaskImage(image, mask), rng))
        return kept.latents, kept.rng

    def inpaint_channels(self, mask: Mask, kept: Latents) -> Latents:
        """What an inpainting UNet takes beside its sample."""
        return InpaintChannels(mask, kept)

    def depth_channels(self, latents: Latents) -> Latents:
        """What a depth UNet takes beside its sample."""
        if self.request.depth_map is not None:
            depth = self.request.depth_map.float()
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
