"""Ready-made workflows behind one call, by the names that diffusers gives them."""

from graphdiff.pipelines.auto import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
)
from graphdiff.pipelines.base import DiffusionPipeline
from graphdiff.pipelines.outputs import ImagePipelineOutput, StableDiffusionPipelineOutput
from graphdiff.pipelines.stable_diffusion import (
    StableDiffusionControlNetPipeline,
    StableDiffusionDepth2ImgPipeline,
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
from graphdiff.pipelines.unconditional import DDIMPipeline, DDPMPipeline

__all__ = [
    "AutoPipelineForImage2Image",
    "AutoPipelineForInpainting",
    "AutoPipelineForText2Image",
    "DDIMPipeline",
    "DDPMPipeline",
    "DiffusionPipeline",
    "ImagePipelineOutput",
    "StableDiffusionControlNetPipeline",
    "StableDiffusionDepth2ImgPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionPipeline",
    "StableDiffusionPipelineOutput",
    "StableDiffusionXLControlNetPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionXLInpaintPipeline",
    "StableDiffusionXLPipeline",
]
