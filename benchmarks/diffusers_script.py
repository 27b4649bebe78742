"""What a diffusers user writes for one picture; the cold runs are measured against it."""

# pyright: basic, reportPrivateImportUsage=false, reportAttributeAccessIssue=false
# diffusers' own types are partial, and this is what its documentation shows.

import sys

import torch
from diffusers import StableDiffusionPipeline

model, prompt, seed, steps, file = sys.argv[1:]
pipeline = StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32)
pipeline.set_progress_bar_config(disable=True)
generator = torch.Generator().manual_seed(int(seed))
pipeline(prompt, num_inference_steps=int(steps), guidance_scale=5.0, generator=generator).images[
    0
].save(file)
