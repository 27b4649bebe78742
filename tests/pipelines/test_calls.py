"""Calls of pipelines: their signatures are diffusers', and what is none of theirs is refused."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

import graphdiff
from graphdiff.pipelines.absent import ARGUMENTS
from graphdiff.pipelines.base import DiffusionPipeline
from graphdiff.pipelines.calls import call

NAMES = sorted(name for name in DiffusionPipeline.names if hasattr(graphdiff, name))


def parameters(cls: Any) -> dict[str, Any]:
    found = inspect.signature(cls.__call__).parameters.values()
    return {each.name: each.default for each in found if each.kind is not each.VAR_KEYWORD}


@pytest.mark.parametrize("name", NAMES)
def test_arguments_stand_in_diffusers_order_with_its_defaults(name: str) -> None:
    import diffusers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = parameters(getattr(diffusers, name))
    ours = parameters(getattr(graphdiff, name))
    wanted = [each for each in theirs if each not in ARGUMENTS]
    assert [each for each in ours if each in theirs] == wanted
    for each in wanted:
        given = ours[each]
        assert (list(given) if each.endswith("tensor_inputs") else given) == theirs[each]


def test_a_pipeline_has_a_signature_and_a_docstring_of_its_own() -> None:
    own = graphdiff.StableDiffusionInpaintPipeline.__call__
    assert list(inspect.signature(own).parameters)[:4] == ["self", "prompt", "image", "mask_image"]
    assert "mask_image: White where it is painted anew" in str(own.__doc__)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ip_adapter_image": 1}, "takes no 'ip_adapter_image': there are no IP-Adapters"),
        ({"callback": print}, "takes no 'callback': callback_on_step_end is called"),
        ({"num_inference_step": 1}, "did you mean num_inference_steps?"),
        ({"seed": 1}, "a call of StableDiffusionPipeline takes no 'seed': it takes prompt"),
    ],
)
def test_an_argument_that_there_is_not_says_what_there_is(
    pipeline: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        pipeline("a cat", **arguments)


def test_an_argument_given_twice_or_too_many_are_refused(pipeline: Any) -> None:
    with pytest.raises(TypeError, match=r"StableDiffusionPipeline: multiple values .* 'prompt'"):
        pipeline("a cat", prompt="a dog")
    with pytest.raises(TypeError, match="StableDiffusionPipeline: too many positional"):
        pipeline(*["a cat"] * 30)


def test_what_asks_for_nothing_is_taken(pipeline: Any) -> None:
    images = pipeline("a cat", num_inference_steps=1, ip_adapter_image=None, callback=None).images
    assert images[0].size == (64, 64)


def test_a_signature_that_asks_for_what_no_request_has_is_refused_when_it_is_written() -> None:
    with pytest.raises(TypeError, match="a Request has no seed"):

        @call
        def asked(self: object, prompt: str, seed: int) -> Any: ...
