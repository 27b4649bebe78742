"""From a scheduler's configuration, as checkpoints hold it, to the rule that follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any

from graphdiff.schedulers.schedule import Rule

_MODULES = {
    "DDIMScheduler": ("ddim", "DDIM"),
    "DDPMScheduler": ("ddpm", "DDPM"),
    "PNDMScheduler": ("pndm", "PNDM"),
    "EulerDiscreteScheduler": ("euler", "Euler"),
    "EulerAncestralDiscreteScheduler": ("euler", "EulerAncestral"),
    "LMSDiscreteScheduler": ("lms", "LMS"),
    "HeunDiscreteScheduler": ("heun", "Heun"),
    "KDPM2DiscreteScheduler": ("kdpm2", "KDPM2"),
    "KDPM2AncestralDiscreteScheduler": ("kdpm2", "KDPM2Ancestral"),
    "DPMSolverMultistepScheduler": ("dpm_multistep", "DPMSolverMultistep"),
    "DPMSolverSinglestepScheduler": ("dpm_singlestep", "DPMSolverSinglestep"),
    "DPMSolverSDEScheduler": ("dpm_sde", "DPMSolverSDE"),
    "UniPCMultistepScheduler": ("unipc", "UniPC"),
    "DEISMultistepScheduler": ("deis", "DEIS"),
    "LCMScheduler": ("distilled", "LCM"),
    "TCDScheduler": ("distilled", "TCD"),
    "EDMEulerScheduler": ("edm", "EDMEuler"),
    "EDMDPMSolverMultistepScheduler": ("edm", "EDMDPMSolverMultistep"),
    "FlowMatchEulerDiscreteScheduler": ("flow", "FlowEuler"),
    "FlowMatchHeunDiscreteScheduler": ("flow", "FlowHeun"),
}
NAMES = tuple(_MODULES)
"""The diffusers class names that there are rules for."""

KARRAS_NAMES = (
    "DDIMScheduler",
    "DDPMScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
    "DPMSolverSDEScheduler",
    "EDMEulerScheduler",
)
"""The schedulers that diffusers calls interchangeable."""

KEYS = frozenset(
    [
        "algorithm_type",
        "base_image_seq_len",
        "base_shift",
        "beta_end",
        "beta_schedule",
        "beta_start",
        "clip_sample",
        "clip_sample_range",
        "disable_corrector",
        "dynamic_thresholding_ratio",
        "eta",
        "euler_at_final",
        "every_timestep",
        "final_sigmas_type",
        "flow_shift",
        "grid_strength",
        "interpolation_type",
        "invert_sigmas",
        "lambda_min_clipped",
        "lower_order_final",
        "max_image_seq_len",
        "max_order",
        "max_shift",
        "noise_sampler_seed",
        "num_train_timesteps",
        "original_inference_steps",
        "predict_x0",
        "prediction_type",
        "rescale_betas_zero_snr",
        "rho",
        "s_churn",
        "s_noise",
        "s_tmax",
        "s_tmin",
        "sample_max_value",
        "set_alpha_to_one",
        "shift",
        "shift_terminal",
        "sigma_data",
        "sigma_max",
        "sigma_min",
        "sigma_schedule",
        "sigma_spread",
        "skip_prk_steps",
        "solver_order",
        "solver_p",
        "solver_type",
        "steps_offset",
        "stochastic_sampling",
        "thresholding",
        "time_shift_type",
        "timestep_scaling",
        "timestep_spacing",
        "timestep_type",
        "trained_betas",
        "use_beta_sigmas",
        "use_clipped_model_output",
        "use_dynamic_shifting",
        "use_exponential_sigmas",
        "use_flow_sigmas",
        "use_karras_sigmas",
        "use_lu_lambdas",
        "variance_type",
    ]
)
"""Every key of every rule: written down, since asking the rules would import them all."""

_MEANINGLESS = frozenset({"tensor_format", "timestep_values", "solver_p", "predict_epsilon"})
"""Keys of old configurations that say nothing to any class, or are treated apart."""


@cache
def rule_class(name: str) -> type[Rule[Any]]:
    """Give the rule of a diffusers scheduler class.

    Raises:
        ValueError: There is none of this name.
    """
    try:
        module, attribute = _MODULES[name]
    except KeyError:
        near = get_close_matches(name, NAMES, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"there is no scheduler {name!r}{hint} There are {', '.join(NAMES)}"
        ) from None
    rule: type[Rule[Any]] = getattr(import_module(f"graphdiff.schedulers.{module}"), attribute)
    return rule


def config_keys(rule: type[Rule[Any]]) -> dict[str, Any]:
    """Give the keys that the diffusers class of a rule takes, and their defaults."""
    return {
        field.name: field.default
        for field in fields(rule)
        if "option" not in field.metadata and field.name not in rule.hidden | rule.foreign
    }


def rule_from_config(config: Mapping[str, Any]) -> Rule[Any]:
    """Make the rule of a scheduler's configuration.

    Keys that only other schedulers know are left alone, as they are when one scheduler is swapped
    for another; so a configuration with another `_class_name` is a swap. Options of the rule, such
    as DDIM's `eta`, may stand among the keys.

    Args:
        config: What `scheduler_config.json` says.

    Raises:
        ValueError: The class is unknown, a key is one that no scheduler knows, or a value is
            illegal.
    """
    name = config.get("_class_name")
    if not isinstance(name, str):
        raise ValueError(
            "a scheduler's configuration must have _class_name, such as 'DDIMScheduler'"
        )
    rule = rule_class(name)
    known = {field.name for field in fields(rule)} - rule.foreign
    values: dict[str, Any] = {key: plain(value) for key, value in config.items() if key in known}
    if config.get("predict_epsilon") is False:  # what diffusers called it before 0.10
        values["prediction_type"] = "sample"
    if config.get("solver_p") is not None:
        raise ValueError(
            f"{name}: solver_p is given, but another scheduler as predictor is not supported"
        )
    for key in config:
        if key not in known and not key.startswith("_") and not is_known_key(key):
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{name}: there is no key {key!r}{hint}")
    return rule(**values)


def plain(value: Any) -> Any:  # noqa: ANN401 - JSON data, or an array of betas
    """Freeze a configuration's value: lists and arrays become tuples."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list):
        return value
    return _tuple(value)  # pyright: ignore[reportUnknownArgumentType]


def _tuple(items: list[Any]) -> tuple[Any, ...]:
    return tuple(items)


def is_known_key(key: str) -> bool:
    """Tell whether any scheduler has a key, or had it once."""
    return key in KEYS or key in _MEANINGLESS
