"""Pictures from noise alone: DDPM and DDIM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from graphdiff.checkpoints.handles import Family
from graphdiff.pipelines.base import DiffusionPipeline
from graphdiff.pipelines.callback import Step
from graphdiff.pipelines.calls import call
from graphdiff.pipelines.graphs import Builder
from graphdiff.pipelines.request import Callback, Generator, OnEvent, Request
from graphdiff.pipelines.setup import Setup

if TYPE_CHECKING:
    from graphdiff.engine.session import Cache


class _Unconditional(DiffusionPipeline):
    families: ClassVar[tuple[Family, ...]] = ("unconditional",)

    def _example(self) -> Request:
        return Request()

    def _build(self, builder: Builder, callback: Step | None) -> None:
        schedule = builder.schedule()
        noise = builder.noise(schedule, builder.rng())
        sample, rng = builder.denoised(
            schedule, noise.latents, noise.rng, positive=None, negative=None, callback=callback
        )
        builder.finish(sample, rng, is_pixels=True)


class DDPMPipeline(_Unconditional):
    """Pictures from noise by DDPM. Ho et al. 2020, arXiv:2006.11239."""

    @call
    def __call__(
        self,
        batch_size: int = 1,
        generator: Generator | None = None,
        num_inference_steps: int = 1000,
        output_type: str = "pil",
        return_dict: bool = True,
        *,
        callback_on_step_end: Callback | None = None,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Make pictures.

        Args:
            batch_size: How many.
            generator: What to draw from; one for all, or one for each picture.
            num_inference_steps: How many steps.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            callback_on_step_end: Called after each step.
            on_event: Told what the engine does.
        """


class DDIMPipeline(_Unconditional):
    """Pictures from noise by DDIM. Song et al. 2020, arXiv:2010.02502."""

    def _begin(self, setup: Setup, cache: Cache) -> None:
        super()._begin(setup, cache)
        if self._setup.checkpoint.scheduler.get("_class_name") != "DDIMScheduler":
            from graphdiff.schedulers import DDIMScheduler

            self.scheduler = DDIMScheduler.from_config(dict(self._setup.checkpoint.scheduler))

    @call
    def __call__(
        self,
        batch_size: int = 1,
        generator: Generator | None = None,
        eta: float = 0.0,
        num_inference_steps: int = 50,
        output_type: str = "pil",
        return_dict: bool = True,
        *,
        callback_on_step_end: Callback | None = None,
        on_event: OnEvent | None = None,
    ) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Make pictures.

        Args:
            batch_size: How many.
            generator: What to draw from; one for all, or one for each picture.
            eta: How much noise a step draws anew: 0 none, 1 as much as DDPM.
            num_inference_steps: How many steps.
            output_type: `pil`, `np`, `pt` or `latent`.
            return_dict: Whether to give an output with names, or a tuple.
            callback_on_step_end: Called after each step.
            on_event: Told what the engine does.
        """
