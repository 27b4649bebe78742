"""Pipelines by task: the class that fits a checkpoint, for text, a picture, or a masked picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.open import open_checkpoint
from graphdiff.pipelines import saved
from graphdiff.pipelines.base import DiffusionPipeline
from graphdiff.pipelines.stable_diffusion import (
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from graphdiff.pipelines.stable_diffusion_xl import (
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)


class _Auto:
    plain: ClassVar[type[DiffusionPipeline]]
    xl: ClassVar[type[DiffusionPipeline]]
    keeps_controlnets: ClassVar[bool] = False

    def __init__(self) -> None:
        raise TypeError(f"load a checkpoint: {type(self).__name__}.from_pretrained(...)")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        **options: Any,  # noqa: ANN401 - those of DiffusionPipeline.from_pretrained
    ) -> Any:  # noqa: ANN401 - the class is chosen by the checkpoint
        """Find a checkpoint, as the pipeline that does this task with it.

        Args:
            pretrained_model_name_or_path: A bundled model, a folder, a file or a hub id.
            options: As for DiffusionPipeline.from_pretrained.

        Raises:
            CheckpointError: There is no such checkpoint, or it takes no text.
        """
        name = saved.located(
            str(pretrained_model_name_or_path),
            revision=options.get("revision"),
            variant=options.get("variant"),
            local_files_only=options.get("local_files_only", False),
            token=options.get("token"),
        )
        checkpoint = open_checkpoint(
            name,
            dtype="float32",
            device="cpu",
            revision=options.get("revision"),
            variant=options.get("variant"),
            config=options.get("config"),
        )
        if checkpoint.family == "unconditional":
            raise CheckpointError(
                f"{checkpoint.name}: it takes no text, so it cannot do {cls.__name__[16:]}; "
                "DiffusionPipeline.from_pretrained finds its class",
                found=checkpoint.pipeline_class,
            )
        is_steered = options.get("controlnet") is not None
        chosen = cls._class_for(is_xl=checkpoint.family.startswith("sdxl"), is_steered=is_steered)
        return chosen.from_pretrained(name, **options)

    @classmethod
    def from_pipe(
        cls,
        pipeline: DiffusionPipeline,
        **options: Any,  # noqa: ANN401 - those of DiffusionPipeline.from_pipe
    ) -> Any:  # noqa: ANN401 - the class is chosen by the checkpoint
        """Do this task with another pipeline's models, scheduler, LoRAs and words.

        Args:
            pipeline: The pipeline; it stays as it is.
            options: As for DiffusionPipeline.from_pipe.

        Raises:
            CheckpointError: It takes no text.
        """
        family = pipeline.family
        if family == "unconditional":
            raise CheckpointError(
                f"{type(pipeline).__name__}: it takes no text, so it cannot do {cls.__name__[16:]}",
                found=family,
            )
        has_net = "ControlNet" in type(pipeline).__name__ and cls.keeps_controlnets
        is_steered = options.get("controlnet", has_net or None) is not None
        if "controlnet" in options and not is_steered:
            del options["controlnet"]
        chosen = cls._class_for(is_xl=family.startswith("sdxl"), is_steered=is_steered)
        return chosen.from_pipe(pipeline, **options)

    @classmethod
    def _class_for(cls, *, is_xl: bool, is_steered: bool) -> type[DiffusionPipeline]:
        if is_steered:
            raise TypeError(f"{cls.__name__} takes no controlnet")
        return cls.xl if is_xl else cls.plain


class AutoPipelineForText2Image(_Auto):
    """Text to picture, by the class that fits the checkpoint."""

    plain = StableDiffusionPipeline
    xl = StableDiffusionXLPipeline
    keeps_controlnets = True

    @classmethod
    def _class_for(cls, *, is_xl: bool, is_steered: bool) -> type[DiffusionPipeline]:
        if is_steered:
            steered = StableDiffusionXLControlNetPipeline, StableDiffusionControlNetPipeline
            return steered[0] if is_xl else steered[1]
        return cls.xl if is_xl else cls.plain


class AutoPipelineForImage2Image(_Auto):
    """Picture to picture, by the class that fits the checkpoint."""

    plain = StableDiffusionImg2ImgPipeline
    xl = StableDiffusionXLImg2ImgPipeline


class AutoPipelineForInpainting(_Auto):
    """Inpainting, by the class that fits the checkpoint."""

    plain = StableDiffusionInpaintPipeline
    xl = StableDiffusionXLInpaintPipeline
