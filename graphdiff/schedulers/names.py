"""What others call samplers and schedules: ComfyUI, k-diffusion and the web interfaces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

Config = Mapping[str, Any]

_MULTISTEP = "DPMSolverMultistepScheduler"
_SINGLESTEP = "DPMSolverSinglestepScheduler"


def _sampler(scheduler: str, **keys: Any) -> Config:  # noqa: ANN401 - configuration keys
    return MappingProxyType({"_class_name": scheduler, **keys})


SAMPLERS: Mapping[str, Config] = MappingProxyType(
    {
        "euler": _sampler("EulerDiscreteScheduler"),
        "euler_ancestral": _sampler("EulerAncestralDiscreteScheduler"),
        "heun": _sampler("HeunDiscreteScheduler"),
        "lms": _sampler("LMSDiscreteScheduler"),
        "dpm_2": _sampler("KDPM2DiscreteScheduler"),
        "dpm_2_ancestral": _sampler("KDPM2AncestralDiscreteScheduler"),
        "dpmpp_2m": _sampler(_MULTISTEP, algorithm_type="dpmsolver++", solver_order=2),
        "dpmpp_3m": _sampler(_MULTISTEP, algorithm_type="dpmsolver++", solver_order=3),
        "dpmpp_2m_sde": _sampler(_MULTISTEP, algorithm_type="sde-dpmsolver++", solver_order=2),
        "dpmpp_2m_sde_heun": _sampler(
            _MULTISTEP, algorithm_type="sde-dpmsolver++", solver_order=2, solver_type="heun"
        ),
        "dpmpp_3m_sde": _sampler(_MULTISTEP, algorithm_type="sde-dpmsolver++", solver_order=3),
        "dpmpp_2s": _sampler(_SINGLESTEP, algorithm_type="dpmsolver++", solver_order=2),
        "dpmpp_sde": _sampler("DPMSolverSDEScheduler"),
        "uni_pc": _sampler("UniPCMultistepScheduler", solver_type="bh1"),
        "uni_pc_bh2": _sampler("UniPCMultistepScheduler", solver_type="bh2"),
        "deis": _sampler("DEISMultistepScheduler"),
        "ddim": _sampler("DDIMScheduler"),
        "ddpm": _sampler("DDPMScheduler"),
        "plms": _sampler("PNDMScheduler", skip_prk_steps=True),
        "pndm": _sampler("PNDMScheduler"),
        "lcm": _sampler("LCMScheduler"),
        "tcd": _sampler("TCDScheduler"),
        "edm_euler": _sampler("EDMEulerScheduler"),
        "edm_dpmpp_2m": _sampler("EDMDPMSolverMultistepScheduler"),
        "flow_euler": _sampler("FlowMatchEulerDiscreteScheduler"),
        "flow_heun": _sampler("FlowMatchHeunDiscreteScheduler"),
    }
)
"""Samplers by ComfyUI's names, and by names in their manner where ComfyUI has none."""

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "euler_a": "euler_ancestral",
        "k_euler": "euler",
        "k_euler_a": "euler_ancestral",
        "k_euler_ancestral": "euler_ancestral",
        "k_heun": "heun",
        "k_lms": "lms",
        "dpm2": "dpm_2",
        "k_dpm_2": "dpm_2",
        "dpm2_a": "dpm_2_ancestral",
        "dpm_2_a": "dpm_2_ancestral",
        "dpm2_ancestral": "dpm_2_ancestral",
        "k_dpm_2_a": "dpm_2_ancestral",
        "k_dpm_2_ancestral": "dpm_2_ancestral",
        "k_dpmpp_2m": "dpmpp_2m",
        "k_dpmpp_sde": "dpmpp_sde",
        "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
        "dpmpp_3m_sde_gpu": "dpmpp_3m_sde",
        "dpmpp_sde_gpu": "dpmpp_sde",
        "dpm++": "dpmpp_2m",
        "dpmpp": "dpmpp_2m",
        "unipc": "uni_pc_bh2",
        "uni_pc_bh1": "uni_pc",
        "sample_euler": "euler",
        "sample_euler_ancestral": "euler_ancestral",
        "sample_heun": "heun",
        "sample_lms": "lms",
        "sample_dpm_2": "dpm_2",
        "sample_dpm_2_ancestral": "dpm_2_ancestral",
        "sample_dpmpp_2m": "dpmpp_2m",
        "sample_dpmpp_2m_sde": "dpmpp_2m_sde",
        "sample_dpmpp_3m_sde": "dpmpp_3m_sde",
        "sample_dpmpp_sde": "dpmpp_sde",
    }
)

_SPREADS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")

SCHEDULES: Mapping[str, Config] = MappingProxyType(
    {
        "normal": MappingProxyType({"timestep_spacing": "linspace"}),
        "simple": MappingProxyType({"timestep_spacing": "trailing"}),
        "sgm_uniform": MappingProxyType({"timestep_spacing": "trailing"}),
        "ddim_uniform": MappingProxyType({"timestep_spacing": "leading"}),
        "leading": MappingProxyType({"timestep_spacing": "leading"}),
        "linspace": MappingProxyType({"timestep_spacing": "linspace"}),
        "trailing": MappingProxyType({"timestep_spacing": "trailing"}),
        "karras": MappingProxyType({"use_karras_sigmas": True}),
        "exponential": MappingProxyType({"use_exponential_sigmas": True}),
        "beta": MappingProxyType({"use_beta_sigmas": True}),
    }
)
"""Schedules by ComfyUI's names, and timestep spacings by diffusers'."""


def named(name: str, schedule: str | None = None) -> dict[str, Any]:
    """Translate a sampler's and a schedule's name into configuration keys.

    Args:
        name: A sampler as ComfyUI, k-diffusion or the web interfaces call it, or a diffusers class;
            a schedule may follow, as in "DPM++ 2M Karras".
        schedule: A schedule's name.

    Returns:
        Keys to put over a configuration, `_class_name` among them.

    Raises:
        ValueError: A name is unknown, two schedules are named, or the sampler cannot follow the
            schedule.
    """
    from graphdiff.schedulers.rules import NAMES, config_keys, rule_class

    sampler, follows = _parted(name)
    if follows is not None and schedule is not None and _simple(schedule) != follows:
        raise ValueError(f"{name!r} names the schedule {follows!r}, but schedule is {schedule!r}")
    if name in NAMES:
        config: dict[str, Any] = {"_class_name": name}
    elif sampler in SAMPLERS:
        config = dict(SAMPLERS[sampler])
    else:
        known = "graphdiff.schedulers.names.SAMPLERS lists them; diffusers' classes are known too"
        raise ValueError(_unknown("sampler", name, [*SAMPLERS, *_ALIASES, *NAMES], known))
    chosen = follows if schedule is None else _simple(schedule)
    if chosen is None:
        return config
    if chosen not in SCHEDULES:
        known = f"There are {', '.join(SCHEDULES)}"
        raise ValueError(_unknown("schedule", schedule or chosen, list(SCHEDULES), known))
    keys = dict(SCHEDULES[chosen])
    rule = rule_class(config["_class_name"])
    if config["_class_name"] == "EulerAncestralDiscreteScheduler" and chosen in _spreads():
        return {**config, "sigma_spread": chosen}
    if config["_class_name"] == "EDMEulerScheduler" and chosen in ("karras", "exponential"):
        return {**config, "sigma_schedule": chosen}
    takes = config_keys(rule)
    missing = [key for key in keys if key not in takes]
    if missing:
        able = [each for each in SCHEDULES if all(key in takes for key in SCHEDULES[each])]
        hint = f"it follows {', '.join(able)}" if able else "it has one of its own"
        raise ValueError(f"the sampler {name!r} cannot follow the schedule {chosen!r}; {hint}")
    if chosen in _spreads():
        return {**config, **{key: key in keys for key in _SPREADS if key in takes}}
    return {**config, **keys}


def _spreads() -> tuple[str, ...]:
    return tuple(key.removeprefix("use_").removesuffix("_sigmas") for key in _SPREADS)


def _parted(name: str) -> tuple[str, str | None]:
    simple = _simple(name)
    whole = _ALIASES.get(simple, simple)
    if whole in SAMPLERS:
        return whole, None
    for schedule in SCHEDULES:
        head = simple.removesuffix(f"_{schedule}")
        head = _ALIASES.get(head, head)
        if head in SAMPLERS:
            return head, schedule
    return whole, None


def _simple(name: str) -> str:
    """Write a name as ComfyUI would: lower case, words parted by underscores, ++ as pp."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower().replace("++", "pp"))


def _unknown(kind: str, name: str, names: list[str], known: str) -> str:
    near = get_close_matches(_simple(name), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"there is no {kind} {name!r}; {hint}{known}"
