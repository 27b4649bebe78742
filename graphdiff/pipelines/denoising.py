"""The denoising loop of the pipelines, built call by call."""

from __future__ import annotations

from typing import Any, cast

from graphdiff_nodes import values
from graphdiff_nodes.sampling import (
    Guidance,
    MaskedBlend,
    SchedulerStep,
    StepCount,
    UNetPredict,
)
from graphdiff_nodes.values import Conditioning, Latents, Mask

from graphdiff.checkpoints.handles import UNet
from graphdiff.graph.build import Input, Loop, named
from graphdiff.graph.node import Node
from graphdiff.graph.spec import MISSING
from graphdiff.pipelines.request import Request
from graphdiff.pipelines.setup import Setup
from graphdiff.rng import Rng
from graphdiff.schedulers.schedule import Schedule

_TOLD = ("guidance", "positive", "negative")  # what a callback may change beside the sample


class Denoising:
    """What of a builder declares inputs and makes the loop."""

    setup: Setup
    request: Request
    unet: UNet
    inputs: dict[str, Any]

    def given(self, name: str, type: type | str, value: Any) -> Any:  # noqa: ANN401 - inputs
        """Declare an input and give it this value; plain data is its default too."""
        self.inputs[name] = value
        is_plain = isinstance(value, str | int | float | list)
        return Input(name, cast(Any, type), cast(Any, value) if is_plain else MISSING)

    def denoised(
        self,
        schedule: Schedule,
        sample: Latents,
        rng: Rng,
        *,
        positive: Conditioning | None,
        negative: Conditioning | None,
        extra: Latents | None = None,
        blend: tuple[Latents, Latents, Mask] | None = None,
        callback: Node[..., Any] | None = None,
    ) -> tuple[Latents, Rng]:
        """The denoising loop.

        Args:
            schedule: The steps.
            sample: Where to start.
            rng: What stochastic schedulers draw from.
            positive: The prompt; None for a UNet without text.
            negative: The negative prompt.
            extra: Channels beside the sample.
            blend: A picture's latents, the noise and the mask, where it is kept by blending.
            callback: A node that is called after each step.
        """
        is_text = positive is not None and negative is not None
        scale: Any = self._guidance_scale() if is_text else None
        carried: dict[str, Any] = {"sample": sample, "history": None, "rng": rng}
        is_told = callback is not None and positive is not None
        is_guided = (
            self.request.guidance_scale > 1 and not self.setup.checkpoint.unet.guidance_width
        )
        if is_told and is_guided:
            carried["guidance"] = scale
        if is_told and set(self.request.callback_on_step_end_tensor_inputs) - {"latents"}:
            carried["positive"] = positive
            if is_guided:
                carried["negative"] = negative
        with Loop(schedule, carry=carried) as loop:
            carry, step = loop.carry, loop.item
            if positive is None or negative is None:
                prediction = UNetPredict(self.unet, carry.sample, step)
            else:
                now = {name: getattr(carry, name) for name in carried}
                prediction = self._guided(
                    carry.sample,
                    step,
                    now.get("positive", positive),
                    now.get("negative", negative),
                    extra,
                    scale=now.get("guidance", scale),
                )
            moved = SchedulerStep(prediction, step, carry.sample, carry.history, carry.rng)
            named("step", moved)
            after: dict[str, Any] = {"sample": moved.sample}
            if blend is not None:
                after["sample"] = MaskedBlend(moved.sample, *blend, step)
            if callback is not None:
                told = {name: getattr(carry, name) for name in carried if name in _TOLD}
                called = callback(after["sample"], step, loop.index, StepCount(schedule), **told)
                after = {name: getattr(called, name) for name in ("sample", *told)}
                loop.until(called.stop)
            loop.next(history=moved.history, rng=moved.rng, **after)
        named("denoise", loop)
        return loop.outputs.sample, loop.outputs.rng

    def _guidance_scale(self) -> Any:  # noqa: ANN401 - an input's handle
        return self.given("guidance_scale", float, float(self.request.guidance_scale))

    def _guided(
        self,
        sample: Latents,
        step: Any,  # noqa: ANN401 - the item of a loop
        positive: Conditioning,
        negative: Conditioning,
        extra: Latents | None,
        *,
        scale: float,
    ) -> values.Prediction:
        options: dict[str, Any] = {} if extra is None else {"extra": extra}
        if self.setup.checkpoint.unet.guidance_width:
            options["embedded_guidance"] = scale
        uncond = named("uncond", UNetPredict(self.unet, sample, step, negative, **options))
        cond = named("cond", UNetPredict(self.unet, sample, step, positive, **options))
        rescale = self.request.guidance_rescale
        rest: dict[str, Any] = {"rescale": rescale} if rescale else {}
        return named("guided", Guidance(cond, uncond, scale, unet=self.unet, **rest))
