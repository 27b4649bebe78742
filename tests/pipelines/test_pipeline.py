"""What every pipeline does, whatever its task."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import graphdiff
from graphdiff.engine.events import NodeCached, NodeFailed, NodeFinished, NodeStarted
from tests.pipelines.compare import TOLERANCE, difference, generator, oracle_of

FAST: dict[str, Any] = {"num_inference_steps": 3, "output_type": "np"}


def test_the_checkpoint_says_which_pipeline_it_is(folder: Path) -> None:
    found = graphdiff.DiffusionPipeline.from_pretrained(folder)
    assert type(found) is graphdiff.StableDiffusionPipeline


@pytest.mark.parametrize(
    ("auto", "wanted"),
    [
        ("AutoPipelineForText2Image", "StableDiffusionPipeline"),
        ("AutoPipelineForImage2Image", "StableDiffusionImg2ImgPipeline"),
        ("AutoPipelineForInpainting", "StableDiffusionInpaintPipeline"),
    ],
)
def test_the_task_and_the_checkpoint_choose_the_class(
    checkpoint: Any, auto: str, wanted: str
) -> None:
    plain, _ = checkpoint("stable_diffusion")
    xl, _ = checkpoint("stable_diffusion_xl")
    cls = getattr(graphdiff, auto)
    assert type(cls.from_pretrained(plain)).__name__ == wanted
    assert type(cls.from_pretrained(xl)).__name__ == wanted.replace("Diffusion", "DiffusionXL")


def test_a_second_call_with_the_same_arguments_only_hits_the_cache(folder: Path) -> None:
    pipeline = graphdiff.StableDiffusionPipeline.from_pretrained(folder)
    seen: list[Any] = []
    first = pipeline("a cat", generator=generator(), **FAST).images
    second = pipeline("a cat", generator=generator(), on_event=seen.append, **FAST).images
    calls = [e for e in seen if isinstance(e, NodeStarted | NodeFinished | NodeCached | NodeFailed)]
    assert calls
    assert {type(event) for event in calls} == {NodeCached}
    assert list(pipeline.events) == seen
    assert np.array_equal(first, second)


def test_the_workflow_is_a_file_that_gives_the_same_picture(pipeline: Any, tmp_path: Path) -> None:
    wanted = pipeline("a cat", negative_prompt="blue", generator=generator(5), **FAST).images
    file = tmp_path / "cat.yaml"
    file.write_text(pipeline.to_yaml(), encoding="utf-8")
    found = graphdiff.run(file, cache=False, device="cpu", dtype="float32").outputs["images"]
    assert np.array_equal(found.pixels.permute(0, 2, 3, 1).numpy(), wanted)


def test_there_is_a_workflow_before_the_first_call(pipeline: Any) -> None:
    assert "type: UNetPredict" in pipeline.to_yaml()


def test_a_generator_goes_on_where_a_call_has_left_it(folder: Path, checkpoint: Any) -> None:
    _, made = checkpoint("stable_diffusion")
    oracle = oracle_of(folder, made, "StableDiffusionPipeline", "EulerAncestralDiscreteScheduler")
    ours = graphdiff.StableDiffusionPipeline.from_pretrained(folder, cache=False)
    ours.scheduler = graphdiff.EulerAncestralDiscreteScheduler.from_config(ours.scheduler.config)
    one, other = generator(), generator()
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = oracle("a cat", generator=one, **FAST).images
        found = ours("a cat", generator=other, **FAST).images
        assert np.abs(found - wanted).max() < TOLERANCE
    assert torch.equal(one.get_state(), other.get_state())


def test_without_a_generator_torch_s_own_is_drawn_from(pipeline: Any) -> None:
    torch.manual_seed(3)
    first = pipeline("a cat", **FAST).images
    another = pipeline("a cat", **FAST).images
    torch.manual_seed(3)
    again = pipeline("a cat", **FAST).images
    assert np.array_equal(first, again)
    assert not np.array_equal(first, another)


def test_a_scheduler_is_swapped_and_shown(pipeline: Any) -> None:
    before = pipeline("a cat", generator=generator(), **FAST).images
    cls = graphdiff.EulerDiscreteScheduler
    pipeline.scheduler = cls.from_config(pipeline.scheduler.config)
    after = pipeline("a cat", generator=generator(), **FAST).images
    assert np.abs(before - after).max() > 0.01
    shown = json.loads(repr(pipeline).partition(" ")[2])
    assert shown["scheduler"] == ["diffusers", "EulerDiscreteScheduler"]


def test_settings_of_a_swapped_scheduler_count(folder: Path, checkpoint: Any) -> None:
    import diffusers

    _, made = checkpoint("stable_diffusion")
    oracle = oracle_of(folder, made, "StableDiffusionPipeline")
    config = dict(oracle.scheduler.config)
    karras = {"use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"}
    name = "DPMSolverMultistepScheduler"
    oracle.scheduler = getattr(diffusers, name).from_config(config, **karras)
    scheduler = getattr(graphdiff, name).from_config(config, **karras)
    found = difference(
        oracle, folder, "StableDiffusionPipeline", ours={"scheduler": scheduler}, prompt="a cat"
    )
    assert found < TOLERANCE


def test_a_scheduler_says_what_the_unet_predicts(folder: Path, checkpoint: Any) -> None:
    import diffusers

    _, made = checkpoint("stable_diffusion")
    oracle = oracle_of(folder, made, "StableDiffusionPipeline")
    config = dict(oracle.scheduler.config)
    name, options = "EulerDiscreteScheduler", {"prediction_type": "v_prediction"}
    oracle.scheduler = getattr(diffusers, name).from_config(config, **options)
    scheduler = getattr(graphdiff, name).from_config(config, **options)
    asked: dict[str, Any] = {"ours": {"scheduler": scheduler}, "prompt": "a cat"}
    with pytest.warns(UserWarning, match="predicts v_prediction, and the checkpoint says epsilon"):
        found = difference(oracle, folder, "StableDiffusionPipeline", **asked)
    assert found < TOLERANCE


@pytest.mark.parametrize("form", ["pil", "np", "pt", "latent"])
def test_pictures_come_in_the_form_asked_for(pipeline: Any, form: str) -> None:
    images = pipeline("a cat", num_inference_steps=1, output_type=form).images
    shapes = {"np": (1, 64, 64, 3), "pt": (1, 3, 64, 64), "latent": (1, 4, 16, 16)}
    if form == "pil":
        assert images[0].size == (64, 64)
    else:
        assert tuple(images.shape) == shapes[form]


def test_a_tuple_is_given_on_request(pipeline: Any) -> None:
    images, unsafe = pipeline("a cat", num_inference_steps=1, return_dict=False)
    assert images[0].size == (64, 64)
    assert unsafe is None


def test_its_components_are_models_and_a_tokenizer(pipeline: Any) -> None:
    assert type(pipeline.unet).__name__ == "UNet2DConditionModel"
    assert type(pipeline.vae).__name__ == "AutoencoderKL"
    assert type(pipeline.text_encoder).__name__ == "CLIPTextModel"
    assert pipeline.tokenizer.model_max_length == 77
    assert pipeline.components["safety_checker"] is None
    assert set(pipeline.components) >= {"unet", "vae", "scheduler", "text_encoder", "tokenizer"}
    with pytest.raises(AttributeError, match="no 'transformer'"):
        _ = pipeline.transformer


def test_a_device_that_is_not_here_is_refused_before_anything_runs(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphdiff.pipelines.checks.resolve_device", lambda: "cpu")
    with pytest.raises(ValueError, match=r"no cuda device on this machine.* pipeline\.to\('cpu'"):
        pipeline.to("cuda")
    assert pipeline.device.type == "cpu"


@pytest.mark.parametrize(("height", "instead"), [(50, "48 or 52"), (-4, "4 or 8")])
def test_a_size_that_the_model_cannot_make_is_refused_before_anything_runs(
    pipeline: Any, height: int, instead: str
) -> None:
    with pytest.raises(ValueError, match=f"height is {height} pixels.* take {instead}"):
        pipeline("a", height=height)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either prompt or prompt_embeds; neither"),
        ({"prompt": "a", "negative_prompt": ["b"]}, "of prompt's type"),
        ({"prompt": ["a"], "negative_prompt": ["b", "c"]}, "1 prompts and 2 negative ones"),
        ({"prompt": "a", "output_type": "jpg"}, "output_type is 'jpg', not one of pil"),
        ({"prompt": ["a", "b", "c"], "generator": [generator(), generator()]}, "2 generators"),
        (
            {"prompt": "a", "callback_on_step_end_tensor_inputs": ["masked_image_latents"]},
            "a callback is shown latents, prompt_embeds",
        ),
        ({"prompt": 5}, "prompt must be a text or a list of texts, but int"),
        ({"prompt": []}, "prompt is an empty list"),
        ({"prompt": "a", "num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"prompt": "a", "num_images_per_prompt": 0}, "num_images_per_prompt is 0"),
        ({"prompt": "a", "timesteps": [5], "sigmas": [1.0]}, "either timesteps or sigmas"),
        ({"prompt": ["a"] * 2, "latents": torch.zeros(1, 4, 16, 16)}, "latents of 1 .* for 2 pic"),
        ({"prompt": "a", "latents": torch.zeros(1, 9, 16, 16)}, "latents is .*, but this model's"),
        ({"prompt": "a", "timesteps": [9, 5]}, "PNDMScheduler takes no timesteps of your own"),
        ({"prompt": "a", "cross_attention_kwargs": {"gligen": 1}}, "has gligen: only scale"),
    ],
)
def test_what_cannot_be_done_is_said(
    pipeline: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError, graphdiff.RunError), match=message):
        pipeline(**arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_safetensors": False}, "graphdiff models convert"),
        ({"transformer": "x"}, "takes no 'transformer'"),
        ({"device_map": "auto"}, "say where to compute with"),
        ({"custom_pipeline": "lpw"}, "write a workflow file"),
        ({"safety_checker": lambda images: images}, "can only be left out, with None"),
    ],
)
def test_what_cannot_be_loaded_is_said(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        graphdiff.DiffusionPipeline.from_pretrained(folder, **options)


def test_to_says_where_and_in_what_to_compute(pipeline: Any) -> None:
    assert pipeline.to("cpu", torch.bfloat16) is pipeline
    assert pipeline.dtype == torch.bfloat16
    assert pipeline.unet.dtype == torch.bfloat16
    assert np.isfinite(pipeline("a cat", **FAST).images).all()
    assert pipeline.to(device="cpu", dtype="float32").dtype == torch.float32
    with pytest.raises(ValueError, match="a device or a dtype"):
        pipeline.to("fast")


def test_half_precision_is_saved_where_nothing_computes_in_it(folder: Path, tmp_path: Path) -> None:
    pipeline: Any = graphdiff.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float16)
    assert pipeline.unet.dtype == pipeline.text_encoder.dtype == torch.float16
    pipeline.save_pretrained(tmp_path, variant="fp16")
    saved: Any = graphdiff.DiffusionPipeline.from_pretrained(tmp_path, cache=False, variant="fp16")
    plain: Any = graphdiff.DiffusionPipeline.from_pretrained(folder, cache=False)
    assert plain.unet.dtype == torch.float32  # what others have is theirs
    found, wanted = (each("a cat", generator=generator(), **FAST).images for each in (saved, plain))
    assert 0 < np.abs(found - wanted).max() < 0.02


def test_options_that_ask_for_what_is_so_anyway_are_taken(folder: Path) -> None:
    options: dict[str, Any] = {
        "low_cpu_mem_usage": True,
        "use_safetensors": None,
        "device_map": None,
    }
    pipeline = graphdiff.DiffusionPipeline.from_pretrained(folder, **options)
    assert type(pipeline) is graphdiff.StableDiffusionPipeline


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("enable_group_offload", "enable_model_cpu_offload"),
        ("load_ip_adapter", "no IP-Adapters"),
        ("enable_freeu", "no FreeU"),
    ],
)
def test_a_method_that_there_is_not_says_what_there_is(
    pipeline: Any, method: str, message: str
) -> None:
    assert not hasattr(pipeline, method)
    with pytest.raises(AttributeError, match=message):
        getattr(pipeline, method)


def test_prompts_may_come_encoded(pipeline: Any, checkpoint: Any) -> None:
    _, made = checkpoint("stable_diffusion")
    tokens = made.tokenizer(
        ["a cat", "blue"], padding="max_length", max_length=77, return_tensors="pt"
    )
    with torch.no_grad():
        cat, blue = made.text_encoder(tokens.input_ids)[0].split(1)
    wanted = pipeline("a cat", negative_prompt="blue", generator=generator(), **FAST).images
    found = pipeline(
        prompt_embeds=cat, negative_prompt_embeds=blue, generator=generator(), **FAST
    ).images
    assert np.abs(found - wanted).max() < TOLERANCE


def test_the_bundled_model_draws(tmp_path: Path) -> None:
    pipeline = graphdiff.AutoPipelineForText2Image.from_pretrained("emoji", cache=False)
    image = pipeline("a red apple", num_inference_steps=4, generator=generator()).images[0]
    assert np.asarray(image).std() > 20


@pytest.mark.parametrize("kind", ["stable_diffusion", "stable_diffusion_xl"])
def test_prompts_are_encoded_as_diffusers_does(checkpoint: Any, kind: str) -> None:
    folder, made = checkpoint(kind)
    ours = graphdiff.DiffusionPipeline.from_pretrained(folder, cache=False)
    options: dict[str, Any] = {"prompt": ["a cat", "a dog"], "negative_prompt": ["blue", "red"]}
    options |= {"num_images_per_prompt": 2, "do_classifier_free_guidance": True}
    with torch.no_grad():
        wanted = made.encode_prompt(device="cpu", **options)
    found = ours.encode_prompt(device="cpu", **options)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() < TOLERANCE
    names = ["prompt_embeds", "negative_prompt_embeds"]
    names += ["pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    given = dict(zip(names, ours.encode_prompt(**options), strict=False))
    encoded = ours(generator=generator(), **given, **FAST).images
    wanted = ours(
        options["prompt"],
        negative_prompt=options["negative_prompt"],
        num_images_per_prompt=2,
        generator=generator(),
        **FAST,
    ).images
    assert np.abs(encoded - wanted).max() < TOLERANCE
    unguided = ours.encode_prompt("a cat", do_classifier_free_guidance=False)
    assert unguided[1] is None
