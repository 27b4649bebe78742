from __future__ import annotations

import dataclasses
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
import torch

from graphdiff.rng import Rng
from graphdiff.schedulers import Schedule, Step, rule_from_config
from graphdiff.schedulers.rules import NAMES, config_keys, rule_class
from tests.schedulers.oracle import STABLE_DIFFUSION, model, rule_run, start


def rule(name: str, **config: Any) -> Any:
    return rule_from_config({"_class_name": name, **config})


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_plain_hashable_data(name: str) -> None:
    def plain(value: object) -> bool:
        if dataclasses.is_dataclass(value):
            return all(plain(getattr(value, field.name)) for field in dataclasses.fields(value))
        if isinstance(value, tuple):
            return all(plain(item) for item in value)
        return value is None or type(value) in (int, float, bool, str)

    schedule = rule(name).schedule(5)
    assert all(plain(step) for step in schedule)
    assert len({hash(step) for step in schedule}) == len(set(schedule)) > 1
    assert rule(name).schedule(5) == schedule


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_schedule_has_the_steps_of_the_whole_one(name: str) -> None:
    whole = rule(name).schedule(10)
    later = rule(name).schedule(10, strength=0.5)
    assert len(later) < len(whole)
    assert list(later) == list(whole)[len(whole) - len(later) :]
    if not name.startswith("EDM"):
        earlier = rule(name).schedule(10, end=0.5)
        assert 0 < len(earlier) < len(whole)
        assert list(earlier) == list(whole)[: len(earlier)]


def test_a_schedule_is_a_sequence() -> None:
    schedule = rule("EulerDiscreteScheduler").schedule(4)
    assert len(schedule) == 4
    assert isinstance(schedule[1:3], Schedule)
    assert schedule[1:3].steps == schedule.steps[1:3]
    assert schedule[1:].init_noise_sigma == schedule.init_noise_sigma
    assert schedule[-1].last
    assert not schedule[0].last
    assert [step.timestep for step in schedule] == [999, 666, 333, 0]


@pytest.mark.parametrize(("strength", "left"), [(1.0, 8), (0.65, 5), (0.5, 4), (0.1, 0)])
def test_strength_rounds_as_picture_pipelines_do(strength: float, left: int) -> None:
    assert len(rule("DDIMScheduler").schedule(8, strength=strength)) == left
    assert len(rule("HeunDiscreteScheduler").schedule(8, strength=strength)) == max(2 * left - 1, 0)
    flows = {1.0: 8, 0.65: 6, 0.5: 4, 0.1: 1}
    assert (
        len(rule("FlowMatchEulerDiscreteScheduler").schedule(8, strength=strength))
        == flows[strength]
    )


def test_start_and_end_part_a_schedule_between_two_models() -> None:
    for name in ("DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"):
        base = rule(name).schedule(10, end=0.7)
        refiner = rule(name).schedule(10, start=0.7)
        whole = rule(name).schedule(10)
        if name != "HeunDiscreteScheduler":
            assert [*base, *refiner] == list(whole)
        assert refiner[0].stage == 0


def test_shares_out_of_range_are_refused() -> None:
    for arguments, message in (
        ({"strength": 1.5}, r"strength is 1\.5, but it must be from 0 to 1"),
        ({"start": -0.1}, "start is"),
        ({"start": 0.6, "end": 0.5}, "start must be below end"),
    ):
        with pytest.raises(ValueError, match=message):
            rule("DDIMScheduler").schedule(10, **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_that_a_rule_has_no_use_for_are_refused(name: str) -> None:
    for arguments in ({}, {"mu": 1.0, "steps": 5}, {"timesteps": [1], "steps": 5, "sigmas": [2]}):
        if name == "FlowMatchEulerDiscreteScheduler" and "mu" in arguments:
            continue
        with pytest.raises(ValueError, match=name):
            rule(name).schedule(**arguments)


@pytest.mark.parametrize("name", NAMES)
def test_one_rule_serves_two_runs_at_once(name: str) -> None:
    config = {"noise_sampler_seed": 3} if name == "DPMSolverSDEScheduler" else {}
    one = rule(name, **config)
    runs = []
    for seed, steps in ((1, 6), (2, 9)):
        noise, generator = start(seed)
        runs.append((one.schedule(steps), noise, Rng.from_generator(generator)))
    alone = [rule_run(*run) for run in runs]
    states: list[Any] = [(noise, None, rng) for _, noise, rng in runs]
    for i in range(max(len(schedule) for schedule, _, _ in runs)):
        for k, (schedule, _, _) in enumerate(runs):
            if i < len(schedule):
                sample, history, rng = states[k]
                output = model(schedule[i].scale_input(sample), schedule[i].timestep)
                states[k] = one.step(output, schedule[i], sample, history, rng)
    for (sample, _, _), expected in zip(states, alone, strict=True):
        assert torch.equal(sample, expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_resumed_from_what_it_remembers(name: str) -> None:
    schedule = rule(name).schedule(6)
    noise, generator = start()
    rng = Rng.from_generator(generator)
    sample, history, source = noise, None, rng
    for step in schedule:
        before = dataclasses.replace(history) if history is not None else None
        output = model(step.scale_input(sample), step.timestep)
        sample, history, source = step.rule.step(output, step, sample, before, source)
    assert torch.equal(sample, rule_run(schedule, noise, rng))


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_of_a_batch_is_that_of_its_seed_alone(name: str) -> None:
    schedule = rule(name).schedule(5)
    noise, _ = start()
    batch = rule_run(schedule, noise, Rng.from_seed([11, 12]))
    for i, seed in enumerate((11, 12)):
        alone = rule_run(schedule, noise[i : i + 1], Rng.from_seed(seed))
        assert torch.allclose(batch[i : i + 1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_only_a_stochastic_rule_draws(name: str) -> None:
    one = rule(name)
    sample, _ = start()

    def run(rng: Rng | None) -> Rng | None:
        moved, history, source = sample, None, rng
        for step in one.schedule(5):
            moved, history, source = one.step(sample, step, moved, history, source)
        return source

    rng = Rng.from_seed(1)
    if one.stochastic:
        assert run(rng) != rng
        with pytest.raises(ValueError, match="draws noise"):
            run(None)
    else:
        assert run(rng) is rng
        assert run(None) is None


@pytest.mark.parametrize(
    "name",
    [
        "EulerAncestralDiscreteScheduler",
        "LMSDiscreteScheduler",
        "HeunDiscreteScheduler",
        "KDPM2DiscreteScheduler",
        "DPMSolverSDEScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "UniPCMultistepScheduler",
        "DEISMultistepScheduler",
    ],
)
def test_own_timesteps_and_sigmas_of_a_spacing_are_the_spacing(name: str) -> None:
    one = rule(name, **STABLE_DIFFUSION)
    spaced = one.schedule(6)
    grid = one.grid(6)
    times = [step.timestep for step in spaced if step.stage == 0 or name.startswith("UniPC")]
    own = one.schedule(timesteps=times)
    assert [step.noise for step in own] == pytest.approx([step.noise for step in spaced])
    levels = one.schedule(sigmas=grid.sigmas)
    assert [step.noise for step in levels] == pytest.approx([step.noise for step in spaced])
    expected = pytest.approx([step.timestep for step in spaced], abs=1e-2)
    assert [step.timestep for step in levels] == expected


def test_options_make_a_rule_stochastic() -> None:
    assert rule("DDIMScheduler", eta=0.5).stochastic
    assert rule("EulerDiscreteScheduler", s_churn=1.0).stochastic
    assert not rule("TCDScheduler", eta=0.0).stochastic
    assert rule("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++").stochastic
    assert not rule("DPMSolverSDEScheduler", noise_sampler_seed=1).stochastic


@pytest.mark.parametrize("name", NAMES)
def test_a_step_changes_none_of_its_arguments(name: str) -> None:
    sample, _ = start()
    versions = sample._version
    history, rng = None, Rng.from_seed(1)
    for step in rule(name).schedule(5):
        output = model(sample, step.timestep)
        before = output._version
        moved, history, rng = step.rule.step(output, step, sample, history, rng)
        assert output._version == before
        assert sample._version == versions
        sample, versions = moved, moved._version


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_a_half_precision_run_stays_in_half_precision(name: str, dtype: torch.dtype) -> None:
    sample = start()[0].to(dtype)
    history, rng = None, Rng.from_seed(1)
    config = STABLE_DIFFUSION if name == "EulerDiscreteScheduler" else {}
    for step in rule(name, **config).schedule(4):
        output = model(step.scale_input(sample), step.timestep).to(dtype)
        sample, history, rng = step.rule.step(output, step, sample, history, rng)
        assert sample.dtype == dtype


@pytest.mark.parametrize("thresholding", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_never_reads_numbers_back_from_the_device(name: str, thresholding: bool) -> None:
    config: dict[str, Any] = {}
    if thresholding:
        if "thresholding" not in config_keys(rule_class(name)):
            pytest.skip("this scheduler has no thresholding")
        config = {"thresholding": True}
    sample = torch.zeros(1, 4, 8, 8, device="meta")  # a device without any numbers
    history, rng = None, Rng.from_seed(1)
    for step in rule(name, **config).schedule(5):
        output = model(step.scale_input(sample), step.timestep)
        sample, history, rng = step.rule.step(output, step, sample, history, rng)
    assert sample.device.type == "meta"


def test_the_next_noise_of_a_step_is_that_of_the_next_step() -> None:
    for name in NAMES:
        one = rule(name)
        schedule = one.schedule(6)
        for step, following in pairwise(schedule):
            assert step.noise_next == pytest.approx(following.noise, rel=1e-9), name
            assert step.signal_next == pytest.approx(following.signal, rel=1e-9), name
        image, noise = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 2.0)
        after = one.add_noise_after(image, noise, schedule[0])
        assert torch.allclose(after, one.add_noise(image, noise, schedule[1]))
        assert one.add_noise_after(image, noise, schedule[-1]) is image


def test_an_image_is_found_in_its_own_noise() -> None:
    image, generator = start()
    noise = torch.randn(image.shape, generator=generator)
    for kind, velocity in (("epsilon", None), ("v_prediction", True)):
        one = rule("DPMSolverMultistepScheduler", prediction_type=kind)
        step = one.schedule(6)[3]
        sample = one.add_noise(image, noise, step)
        output = noise if velocity is None else step.signal * noise - step.noise * image
        assert torch.allclose(one.denoised(output, step, sample), image, atol=1e-5)


def test_schedules_are_laid_out_without_torch_or_numpy() -> None:
    program = """
import sys
import graphdiff.schedulers as library
from graphdiff.rng import Rng
from graphdiff.schedulers.rules import NAMES, config_keys, rule_class
Rng.from_seed([1, 2]).split()
for name in NAMES:
    library.rule_from_config({"_class_name": name}).schedule(5)
library.rule_from_config(library.named("dpmpp_2m", "karras")).schedule(5)
heavy = {"torch", "numpy", "transformers", "huggingface_hub", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_step_says_its_level_in_units_of_the_signal() -> None:
    step = rule("DPMSolverMultistepScheduler", **STABLE_DIFFUSION).schedule(5)[0]
    assert isinstance(step, Step)
    assert step.sigma == pytest.approx(14.6146, rel=1e-4)
    assert step.signal**2 + step.noise**2 == pytest.approx(1)
