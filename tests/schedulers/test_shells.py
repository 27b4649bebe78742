from __future__ import annotations

import inspect
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import graphdiff.schedulers as library
from graphdiff.rng import Rng
from graphdiff.schedulers.rules import NAMES
from tests.schedulers.oracle import (
    IGNORED,
    SHAPE,
    STABLE_DIFFUSION,
    difference,
    diffusers,
    model,
    rule_run,
    start,
)

pytestmark = [pytest.mark.filterwarnings(each) for each in IGNORED]

# What the hub's Stable Diffusion 1.5 says.
SD15 = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    **STABLE_DIFFUSION,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}


def shell(name: str, **config: Any) -> Any:
    return getattr(library, name)(**config)


def seeded(name: str) -> dict[str, Any]:
    return {"noise_sampler_seed": 5} if name == "DPMSolverSDEScheduler" else {}


def shell_run(scheduler: Any, sample: torch.Tensor, generator: Any) -> torch.Tensor:
    takes = inspect.signature(scheduler.step).parameters
    drawing = {"generator": generator} if "generator" in takes else {}
    for timestep in scheduler.timesteps:
        output = model(scheduler.scale_model_input(sample, timestep), float(timestep))
        sample = scheduler.step(output, timestep, sample, **drawing).prev_sample
    return sample


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_gives_what_its_rule_gives(name: str) -> None:
    scheduler = shell(name, **seeded(name))
    scheduler.set_timesteps(7)
    noise, generator = start()
    rng = Rng.from_generator(generator)
    ours = shell_run(scheduler, noise, generator)
    assert torch.allclose(ours, rule_run(scheduler.rule.schedule(7), noise, rng), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_each_output_of_a_shell_is_diffusers(name: str) -> None:
    ours, theirs = shell(name, **seeded(name)), getattr(diffusers, name)(**seeded(name))
    ours.set_timesteps(6)
    theirs.set_timesteps(6)
    noise, generator = start()
    other = torch.Generator()
    other.set_state(generator.get_state())
    drawing = "generator" in inspect.signature(theirs.step).parameters
    sample = noise
    for timestep in theirs.timesteps:
        if hasattr(theirs, "scale_model_input"):
            theirs.scale_model_input(sample, timestep)
        output = model(sample, float(timestep))
        expected = theirs.step(
            output, timestep, sample, **({"generator": generator} if drawing else {})
        )
        got = ours.step(output, timestep, sample, **({"generator": other} if drawing else {}))
        for key, value in expected.items():
            assert difference(got[key], value) < 1e-5
        sample = expected.prev_sample


@pytest.mark.parametrize("name", NAMES)
def test_timesteps_and_sigmas_are_diffusers_before_and_after_they_are_set(name: str) -> None:
    ours, theirs = shell(name), getattr(diffusers, name)()
    for steps in (None, 6):
        if steps is not None:
            ours.set_timesteps(steps)
            theirs.set_timesteps(steps)
        if steps is None and name in ("PNDMScheduler", "FlowMatchHeunDiscreteScheduler"):
            continue  # which cannot be stepped yet
        if theirs.timesteps is not None:
            assert ours.timesteps.dtype == theirs.timesteps.dtype or steps is None
            assert torch.allclose(
                ours.timesteps.double(), theirs.timesteps.double(), rtol=1e-6, atol=1e-4
            )
        if hasattr(theirs, "sigmas") and (steps or not name.startswith("FlowMatch")):
            assert torch.allclose(ours.sigmas, theirs.sigmas, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_diffusers(name: str) -> None:
    theirs = dict(getattr(diffusers, name)().config)
    ours = {key: value for key, value in shell(name).config.items() if not key.startswith("_")}
    theirs.pop("_use_default_values")
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in ours.items()} == theirs


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_added_as_diffusers_adds_it(name: str) -> None:
    ours, theirs = shell(name), getattr(diffusers, name)()
    if not hasattr(theirs, "add_noise"):
        pytest.skip("diffusers calls it scale_noise")
    ours.set_timesteps(8)
    theirs.set_timesteps(8)
    image, generator = start()
    noise = torch.randn(SHAPE, generator=generator)
    expected = theirs.add_noise(image, noise, theirs.timesteps[[2, 4]])
    times = ours.timesteps[[2, 4]]
    assert difference(ours.add_noise(image, noise, times), expected) < 1e-5
    if hasattr(theirs, "set_begin_index"):
        ours.set_begin_index(4)
        theirs.set_begin_index(4)
        expected = theirs.add_noise(image, noise, theirs.timesteps[[2, 4]])
        assert difference(ours.add_noise(image, noise, times), expected) < 1e-5


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("EDM", "Flow"))])
def test_noise_added_before_a_run_goes_by_the_training_timestep(name: str, prediction: str) -> None:
    scheduler = shell(name, prediction_type=prediction)
    image, generator = start()
    noise = torch.randn(SHAPE, generator=generator)
    times = torch.tensor([10, 900])
    alphas = scheduler.alphas_cumprod[times][:, None, None, None]
    by_sigma = not torch.isclose(
        torch.as_tensor(scheduler.init_noise_sigma).float(), torch.ones(())
    )
    signal, level = (
        (1.0, ((1 - alphas) / alphas).sqrt()) if by_sigma else (alphas.sqrt(), (1 - alphas).sqrt())
    )
    expected = signal * image + level * noise
    wanted = times if scheduler.timesteps.dtype == torch.int64 else times.float()
    assert difference(scheduler.add_noise(image, noise, wanted), expected) < 1e-5


@pytest.mark.parametrize(
    ("name", "to_one"), [*itertools.product(("DDIMScheduler", "PNDMScheduler"), (True, False))]
)
def test_the_signal_where_a_run_ends_is_diffusers(name: str, to_one: bool) -> None:
    theirs = getattr(diffusers, name)(set_alpha_to_one=to_one)
    ours = shell(name, set_alpha_to_one=to_one)
    assert float(ours.final_alpha_cumprod) == pytest.approx(float(theirs.final_alpha_cumprod))


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_noises_an_image_as_its_shell_does(name: str) -> None:
    scheduler = shell(name)
    scheduler.set_timesteps(8)
    image, generator = start()
    noise = torch.randn(SHAPE, generator=generator)
    schedule = scheduler.rule.schedule(8)
    expected = scheduler.add_noise(image, noise, scheduler.timesteps[[4, 4]])
    assert torch.allclose(scheduler.rule.add_noise(image, noise, schedule[4]), expected, atol=1e-5)


def test_flow_noise_is_scaled_as_diffusers_scales_it() -> None:
    image, generator = start()
    noise = torch.randn(SHAPE, generator=generator)
    for name, pick in (
        ("FlowMatchEulerDiscreteScheduler", slice(2, 4)),
        ("FlowMatchHeunDiscreteScheduler", 0),
    ):
        ours, theirs = shell(name, shift=3.0), getattr(diffusers, name)(shift=3.0)
        ours.set_timesteps(6)
        theirs.set_timesteps(6)
        times = theirs.timesteps[pick]
        expected = theirs.scale_noise(image, times, noise)
        assert difference(ours.scale_noise(image, times, noise), expected) < 1e-5


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler", "LCMScheduler", "TCDScheduler"])
def test_velocities_are_diffusers(name: str) -> None:
    image, generator = start()
    noise = torch.randn(SHAPE, generator=generator)
    times = torch.tensor([3, 700])
    expected = (
        getattr(diffusers, name)().get_velocity(image, noise, times)
        if hasattr(getattr(diffusers, name), "get_velocity")
        else None
    )
    if expected is None:
        pytest.skip("diffusers does not have it")
    assert difference(shell(name).get_velocity(image, noise, times), expected) < 1e-5


def test_a_swap_leaves_what_was_only_a_default_to_the_new_class() -> None:
    swapped = {
        "DPMSolverMultistepScheduler": [999, 799, 599, 400, 200],
        "EulerDiscreteScheduler": [999, 749.25, 499.5, 249.75, 0],
    }
    pndm = library.PNDMScheduler.from_config(SD15)
    theirs = diffusers.PNDMScheduler.from_config(SD15)
    for name, expected in swapped.items():
        ours = getattr(library, name).from_config(pndm.config)
        ours.set_timesteps(5)
        assert ours.timesteps.tolist() == expected
        other = getattr(diffusers, name).from_config(theirs.config)
        other.set_timesteps(5)
        assert other.timesteps.tolist() == expected


def test_a_copy_of_a_configuration_as_a_dict_swaps_alike() -> None:
    config = {**library.PNDMScheduler.from_config(SD15).config, "use_karras_sigmas": True}
    assert library.EulerDiscreteScheduler.from_config(config).config.timestep_spacing == "linspace"


def test_a_swap_keeps_the_keys_that_the_new_class_does_not_know() -> None:
    ddim = library.DDIMScheduler.from_config(library.PNDMScheduler.from_config(SD15).config)
    assert ddim.config.clip_sample is False
    solver = library.DPMSolverMultistepScheduler.from_config(
        library.PNDMScheduler.from_config(SD15).config
    )
    back = library.PNDMScheduler.from_config(solver.config)
    assert back.config.skip_prk_steps is True
    assert back.rule.skip_prk_steps is True


def test_a_saved_configuration_states_every_key(tmp_path: Path) -> None:
    library.PNDMScheduler.from_config(SD15).save_pretrained(tmp_path)
    diffusers.PNDMScheduler.from_config(SD15).save_pretrained(tmp_path / "theirs")
    for folder in (tmp_path, tmp_path / "theirs"):
        pndm = library.PNDMScheduler.from_pretrained(folder)
        swapped = library.DPMSolverMultistepScheduler.from_config(pndm.config)
        swapped.set_timesteps(5)
        assert swapped.timesteps.tolist() == [831, 665, 499, 333, 167]
    ours = json.loads((tmp_path / "scheduler_config.json").read_text())
    theirs = json.loads((tmp_path / "theirs" / "scheduler_config.json").read_text())
    assert {**ours, "_diffusers_version": ""} == {**theirs, "_diffusers_version": ""}


@pytest.mark.parametrize(
    ("name", "key", "given", "becomes"),
    [
        ("DPMSolverMultistepScheduler", "algorithm_type", "deis", "dpmsolver++"),
        ("DPMSolverMultistepScheduler", "solver_type", "bh2", "midpoint"),
        ("DPMSolverSinglestepScheduler", "solver_type", "logrho", "midpoint"),
        ("UniPCMultistepScheduler", "solver_type", "midpoint", "bh2"),
        ("DEISMultistepScheduler", "algorithm_type", "dpmsolver++", "deis"),
        ("DEISMultistepScheduler", "solver_type", "heun", "logrho"),
        ("EDMDPMSolverMultistepScheduler", "solver_type", "bh1", "midpoint"),
    ],
)
def test_a_value_of_another_solver_becomes_one_of_its_own(
    name: str, key: str, given: str, becomes: str
) -> None:
    config: dict[str, Any] = {key: given}
    if name == "DPMSolverMultistepScheduler":
        config["final_sigmas_type"] = "sigma_min"  # without which diffusers refuses what it maps
    assert shell(name, **config).config[key] == becomes
    assert getattr(diffusers, name)(**config).config[key] == becomes


@pytest.mark.parametrize("name", NAMES)
def test_every_scheduler_takes_every_other_ones_configuration_over(name: str) -> None:
    for other in NAMES:
        taken = getattr(library, name).from_config(shell(other).config)
        assert taken.config["_class_name"] == name


def test_a_configuration_is_read_from_a_folder_a_file_and_a_pipelines_folder(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "scheduler"
    library.DDIMScheduler(steps_offset=1).save_pretrained(folder)
    file = folder / "scheduler_config.json"
    for place in (folder, file, tmp_path):
        assert library.DDIMScheduler.from_config(place).config.steps_offset == 1
    assert library.DDIMScheduler.from_pretrained(tmp_path, subfolder="scheduler").rule.steps_offset
    assert diffusers.DDIMScheduler.from_pretrained(folder).config.steps_offset == 1
    with pytest.raises(OSError, match="there is no scheduler_config"):
        library.DDIMScheduler.from_pretrained(tmp_path, subfolder="unet")
    file.write_text("{")
    with pytest.raises(OSError, match="is not JSON"):
        library.DDIMScheduler.from_pretrained(folder)


def test_a_scheduler_prints_its_configuration() -> None:
    scheduler = library.DDPMScheduler()
    name, _, text = repr(scheduler).partition(" ")
    assert name == "DDPMScheduler"
    assert json.loads(text)["beta_end"] == 0.02
    assert '\n  "_class_name": "DDPMScheduler",\n' in repr(scheduler)
    assert "_use_default_values" not in repr(scheduler)


def test_a_configuration_cannot_be_written() -> None:
    scheduler = library.DDPMScheduler()
    with pytest.raises(AttributeError, match="frozen"):
        scheduler.config.beta_end = 1


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(TypeError, match="no key 'beta_ende'"):
        library.DDIMScheduler(beta_ende=1)
    with pytest.raises(TypeError, match="'use_karras'"):
        library.EulerDiscreteScheduler.from_config(SD15, use_karras=True)
    _, unused = library.EulerDiscreteScheduler.from_config(
        SD15, use_karras=True, return_unused_kwargs=True
    )
    assert unused["use_karras"] is True


def test_an_index_in_place_of_a_timestep_is_refused() -> None:
    for name in (
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "EDMEulerScheduler",
        "FlowMatchEulerDiscreteScheduler",
        "FlowMatchHeunDiscreteScheduler",
    ):
        scheduler = shell(name)
        scheduler.set_timesteps(3)
        sample = torch.zeros(SHAPE)
        for index in (0, torch.tensor(0)):
            with pytest.raises(ValueError, match="looks like an index"):
                scheduler.step(sample, index, sample)


def test_a_step_before_the_steps_are_counted_is_refused() -> None:
    sample = torch.zeros(SHAPE)
    for name in ("DDIMScheduler", "PNDMScheduler", "UniPCMultistepScheduler", "LCMScheduler"):
        with pytest.raises(ValueError, match="call set_timesteps first"):
            shell(name).step(sample, 1, sample)


def test_a_timestep_that_is_not_in_the_schedule_is_named() -> None:
    scheduler = library.EulerDiscreteScheduler()
    scheduler.set_timesteps(4)
    with pytest.raises(ValueError, match=r"timestep 5\.0 is not in the schedule"):
        scheduler.scale_model_input(torch.zeros(SHAPE), 5.0)


def test_a_run_may_begin_at_an_index() -> None:
    for name in ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler"):
        ours, theirs = shell(name), getattr(diffusers, name)()
        noise, _ = start()
        results = []
        for scheduler in (ours, theirs):
            scheduler.set_timesteps(8)
            scheduler.set_begin_index(3)
            sample = noise
            for t in scheduler.timesteps[3:]:
                output = model(scheduler.scale_model_input(sample, t), float(t))
                sample = scheduler.step(output, t, sample).prev_sample
            assert scheduler.step_index == 8
            results.append(sample)
        assert difference(*results) < 1e-5


def test_setting_timesteps_starts_afresh() -> None:
    scheduler = library.DPMSolverMultistepScheduler()
    noise, generator = start()
    scheduler.set_timesteps(5)
    first = shell_run(scheduler, noise, generator)
    scheduler.set_timesteps(5)
    assert torch.equal(shell_run(scheduler, noise, generator), first)


def test_several_generators_draw_one_picture_each() -> None:
    noise, _ = start()
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    together = library.EulerAncestralDiscreteScheduler()
    together.set_timesteps(4)
    batch = shell_run(together, noise, generators)
    for i, seed in enumerate((1, 2)):
        alone = library.EulerAncestralDiscreteScheduler()
        alone.set_timesteps(4)
        picture = shell_run(alone, noise[i : i + 1], torch.Generator().manual_seed(seed))
        assert torch.allclose(batch[i : i + 1], picture, atol=1e-5)


def test_noise_of_ones_own_replaces_drawn_noise() -> None:
    noise, generator = start()
    fresh = torch.randn(SHAPE, generator=generator)
    results = []
    for scheduler in (library.DDIMScheduler(), diffusers.DDIMScheduler()):
        scheduler.set_timesteps(5)
        t = int(scheduler.timesteps[1])
        results.append(scheduler.step(noise, t, noise, eta=1.0, variance_noise=fresh).prev_sample)
    assert difference(*results) < 1e-5
    scheduler = library.DDIMScheduler()
    scheduler.set_timesteps(5)
    with pytest.raises(ValueError, match="not both"):
        scheduler.step(noise, 1, noise, generator=generator, variance_noise=fresh)


def test_half_precision_is_stepped_as_diffusers_steps_it() -> None:
    for name in ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DDIMScheduler"):
        noise, _ = start()
        results = []
        for scheduler in (shell(name), getattr(diffusers, name)()):
            scheduler.set_timesteps(5)
            sample = noise.half()
            for t in scheduler.timesteps:
                output = model(scheduler.scale_model_input(sample, t), float(t))
                sample = scheduler.step(output.half(), t, sample).prev_sample
            assert sample.dtype == torch.float16
            results.append(sample.float())
        assert difference(*results) < 2e-2


def test_learned_variances_are_diffusers() -> None:
    noise, generator = start()
    state = generator.get_state()
    for kind in ("learned", "learned_range"):
        results = []
        for scheduler in (
            library.DDPMScheduler(variance_type=kind),
            diffusers.DDPMScheduler(variance_type=kind),
        ):
            generator.set_state(state)
            scheduler.set_timesteps(6)
            sample = noise
            for t in scheduler.timesteps:
                output = model(sample, float(t))
                both = torch.cat([output, output.abs() * 0.1], dim=1)
                sample = scheduler.step(both, t, sample, generator=generator).prev_sample
            results.append(sample)
        assert difference(*results) < 1e-5


def test_tokens_with_timesteps_of_their_own_are_stepped_as_diffusers_steps_them() -> None:
    noise = torch.randn((2, 6, 4), generator=torch.Generator().manual_seed(0))
    times = torch.tensor([[1000.0, 700, 700, 400, 400, 100]] * 2)
    results = []
    for scheduler in (
        library.FlowMatchEulerDiscreteScheduler(),
        diffusers.FlowMatchEulerDiscreteScheduler(),
    ):
        scheduler.set_timesteps(5)
        t = scheduler.timesteps[0]
        output = model(noise, 5.0)
        results.append(scheduler.step(output, t, noise, per_token_timesteps=times).prev_sample)
    assert difference(*results) < 1e-5


def test_interchangeable_schedulers_are_listed() -> None:
    names = {each.__name__ for each in library.LCMScheduler().compatibles}
    theirs = {each.__name__ for each in diffusers.DDIMScheduler().compatibles}
    assert names == theirs | {"LCMScheduler"}
