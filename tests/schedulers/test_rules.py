from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from graphdiff.schedulers import DDIM, Euler, rule_from_config
from graphdiff.schedulers.rules import KEYS, NAMES, config_keys, rule_class
from tests.schedulers.oracle import IGNORED, diffusers

pytestmark = [pytest.mark.filterwarnings(each) for each in IGNORED]


FOR_FLOWS = {
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_has_diffusers_keys_and_defaults(name: str) -> None:
    theirs = dict(getattr(diffusers, name)().config)
    theirs.pop("_use_default_values")
    ours = config_keys(rule_class(name))
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in ours.items()} == theirs


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"timestep_spacing": "linspce"},
            "EulerDiscreteScheduler: timestep_spacing is 'linspce', but it must be one of "
            "'linspace', 'leading', 'trailing'",
        ),
        ({"num_train_timesteps": "many"}, "num_train_timesteps is 'many', but it must be a whole"),
        ({"beta_start": True}, "beta_start is True, but it must be a number"),
        ({"rescale_betas_zero_snr": 1}, "must be true or false"),
        ({"trained_betas": ["a"]}, "must be a list of a number or null"),
        ({"sigma_min": float("nan")}, "sigma_min is nan"),
        (
            {"use_karras_sigmas": True, "use_beta_sigmas": True},
            "only one of use_karras_sigmas and use_beta_sigmas can be true",
        ),
        ({"beta_strat": 0.1}, "there is no key 'beta_strat'; did you mean 'beta_start'"),
        ({"solver_p": "DDIMScheduler"}, "solver_p is given"),
    ],
)
def test_an_illegal_value_is_refused_with_what_is_legal(
    config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        rule_from_config({"_class_name": "EulerDiscreteScheduler", **config})


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("PNDMScheduler", {"prediction_type": "sample"}, "'epsilon', 'v_prediction'"),
        ("DPMSolverMultistepScheduler", {"solver_order": 4}, "solver_order is 4"),
        (
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "dpmsolver"},
            "final_sigmas_type is 'zero', but it must be 'sigma_min'",
        ),
        (
            "DPMSolverMultistepScheduler",
            {
                "algorithm_type": "sde-dpmsolver",
                "solver_order": 3,
                "final_sigmas_type": "sigma_min",
            },
            "solver_order is 3, but it must be 1 or 2",
        ),
        ("UniPCMultistepScheduler", {"shift_terminal": 0.1}, "must be null where"),
        ("EDMEulerScheduler", {"sigma_schedule": "beta"}, "'karras', 'exponential'"),
        *(
            (name, {"prediction_type": "flow_prediction"}, "must be one of 'epsilon', ")
            for name in NAMES
            if name not in FOR_FLOWS
        ),
        ("TCDScheduler", {"eta": 2.0}, "eta is 2.0, but it must be from 0 to 1"),
    ],
)
def test_values_that_do_not_go_together_are_refused(
    name: str, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rule_from_config({"_class_name": name, **config})


def test_an_unknown_class_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean EulerDiscreteScheduler"):
        rule_from_config({"_class_name": "EulerDiscretScheduler"})
    with pytest.raises(ValueError, match="must have _class_name"):
        rule_from_config({})


def test_keys_of_other_schedulers_are_left_alone() -> None:
    config = {"skip_prk_steps": True, "_diffusers_version": "0.6.0", "solver_order": 3}
    assert rule_from_config({"_class_name": "DDIMScheduler", **config}) == DDIM()


def test_hidden_bounds_of_another_scheduler_are_honoured_as_in_diffusers() -> None:
    config = {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 9.0}
    rule = rule_from_config({"_class_name": "HeunDiscreteScheduler", **config})
    sigmas = rule.grid(5).sigmas
    assert (sigmas[0], sigmas[-2]) == pytest.approx((9.0, 0.1))


def test_a_key_that_only_a_relative_has_is_not_honoured() -> None:
    name = "DPMSolverSinglestepScheduler"
    rule = rule_from_config({"_class_name": name, "timestep_spacing": "trailing"})
    assert rule == rule_from_config({"_class_name": name})


def test_what_old_files_say_is_understood() -> None:
    rule = rule_from_config({"_class_name": "DDPMScheduler", "predict_epsilon": False})
    assert rule.prediction_type == "sample"
    old = {"tensor_format": "pt", "timestep_values": None, "clip_sample": True}
    assert rule_from_config({"_class_name": "DDIMScheduler", **old}) == DDIM()


def test_an_option_may_stand_among_the_keys() -> None:
    rule = rule_from_config({"_class_name": "EulerDiscreteScheduler", "s_churn": 2.0})
    assert rule == Euler(s_churn=2.0)
    assert "s_churn" not in config_keys(Euler)


def test_the_written_list_of_keys_is_that_of_the_rules() -> None:
    fields_of_all = {f.name for name in NAMES for f in dataclasses.fields(rule_class(name))}
    assert fields_of_all == KEYS


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "DEISMultistepScheduler"])
def test_levels_that_no_flow_has_are_refused(name: str) -> None:
    config = {"_class_name": name, "use_flow_sigmas": True, "use_karras_sigmas": True}
    with pytest.raises(ValueError, match=r"at most 1, but .* since use_karras_sigmas is true"):
        rule_from_config(config).schedule(5)
    schedule = rule_from_config(config | {"sigma_max": 1.0, "sigma_min": 0.01}).schedule(5)
    assert schedule[0].noise == 1.0
