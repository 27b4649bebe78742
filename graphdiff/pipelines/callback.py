"""A caller's function, called after each denoising step, as a node of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from graphdiff_nodes.values import Latents

from graphdiff.graph.node import Node, node
from graphdiff.schedulers import schedule

if TYPE_CHECKING:
    from graphdiff.pipelines.request import Callback


Step = Node[..., Any]
"""A node that is called after each step."""


class Called(NamedTuple):
    """What a callback leaves behind.

    Attributes:
        sample: The latents, which it may have changed.
        stop: Whether the loop ends here.
    """

    sample: Latents
    stop: bool


def callback_node(pipeline: Any, callback: Callback) -> Node[..., Any]:  # noqa: ANN401 - any
    """A node that calls a function of a pipeline's caller.

    What it does is not known, so that nothing that depends on it is kept.

    Args:
        pipeline: What the function gets first; its `interrupt` ends the loop.
        callback: The function: pipeline, number of the step, timestep, `{"latents": ...}`; it gives
            a map that may hold other latents.
    """

    @node(cache="never", name="CallbackOnStepEnd")
    def call(sample: Latents, step: schedule.Step, index: int) -> Called:
        import torch

        timestep = torch.tensor(step.timestep)
        latents = sample.samples.clone()  # what is done to it in place stays out of the graph
        given = callback(pipeline, index, timestep, {"latents": latents})
        if not isinstance(given, dict | None):
            raise TypeError("callback_on_step_end must give back the map that it was given")
        strange = set(given or {}) - {"latents"}
        if strange:
            raise ValueError(
                f"callback_on_step_end gives {', '.join(sorted(strange))}: only latents can change "
                "from step to step"
            )
        changed = (given or {}).get("latents", latents)
        return Called(Latents(changed), bool(pipeline.interrupt))

    return call
