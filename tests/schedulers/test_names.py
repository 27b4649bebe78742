from __future__ import annotations

import pytest

from graphdiff.schedulers import named, rule_from_config
from graphdiff.schedulers.names import _ALIASES, SAMPLERS, SCHEDULES
from graphdiff.schedulers.rules import NAMES


@pytest.mark.parametrize("name", [*SAMPLERS, *_ALIASES, *NAMES])
def test_every_name_is_a_rule_that_can_be_laid_out(name: str) -> None:
    assert len(rule_from_config(named(name)).schedule(5)) >= 5


@pytest.mark.parametrize(
    ("name", "schedule", "expected"),
    [
        ("dpmpp_2m", "karras", ("DPMSolverMultistepScheduler", "use_karras_sigmas", True)),
        ("DPM++ 2M Karras", None, ("DPMSolverMultistepScheduler", "use_karras_sigmas", True)),
        (
            "DPM++ 2M SDE Exponential",
            None,
            ("DPMSolverMultistepScheduler", "algorithm_type", "sde-dpmsolver++"),
        ),
        ("DPM++ 3M SDE", None, ("DPMSolverMultistepScheduler", "solver_order", 3)),
        ("euler_a", None, ("EulerAncestralDiscreteScheduler", "_class_name", None)),
        ("Euler a", "karras", ("EulerAncestralDiscreteScheduler", "sigma_spread", "karras")),
        ("uni_pc", None, ("UniPCMultistepScheduler", "solver_type", "bh1")),
        ("UniPC", "trailing", ("UniPCMultistepScheduler", "timestep_spacing", "trailing")),
        ("DDIM", "ddim_uniform", ("DDIMScheduler", "timestep_spacing", "leading")),
        ("LMS Karras", None, ("LMSDiscreteScheduler", "use_karras_sigmas", True)),
        ("DPM2 a Karras", None, ("KDPM2AncestralDiscreteScheduler", "use_karras_sigmas", True)),
        ("heun", "beta", ("HeunDiscreteScheduler", "use_beta_sigmas", True)),
        ("PLMS", None, ("PNDMScheduler", "skip_prk_steps", True)),
    ],
)
def test_names_that_users_know_give_a_class_and_its_keys(
    name: str, schedule: str | None, expected: tuple[str, str, object]
) -> None:
    config = named(name, schedule)
    scheduler, key, value = expected
    assert config["_class_name"] == scheduler
    assert value is None or config[key] == value


def test_a_schedule_switches_the_others_off() -> None:
    config = named("euler", "karras")
    assert config["use_exponential_sigmas"] is config["use_beta_sigmas"] is False
    swapped = {"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": True, **config}
    assert rule_from_config(swapped).spread == "karras"  # type: ignore[attr-defined]


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(ValueError, match="no sampler 'dpmp_2m'; did you mean 'dpmpp_2m'"):
        named("dpmp_2m")
    with pytest.raises(ValueError, match="no schedule 'karas'; did you mean 'karras'"):
        named("euler", "karas")


def test_a_schedule_that_a_sampler_cannot_follow_is_refused() -> None:
    with pytest.raises(ValueError, match="'ddim' cannot follow the schedule 'karras'; it follows"):
        named("ddim", "karras")
    with pytest.raises(ValueError, match="names the schedule 'karras', but schedule is 'beta'"):
        named("DPM++ 2M Karras", "beta")


def test_every_schedule_is_followed_by_some_sampler() -> None:
    for schedule in SCHEDULES:
        assert len(rule_from_config(named("euler", schedule)).schedule(4)) == 4
