"""A caller's function, called after each denoising step, as a node of the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from graphdiff_nodes.values import Conditioning, Latents

from graphdiff.graph.node import Node, node
from graphdiff.schedulers import schedule

if TYPE_CHECKING:
    import torch

    from graphdiff.checkpoints.handles import Checkpoint, Family
    from graphdiff.pipelines.request import Callback


Step = Node[..., Any]
"""A node that is called after each step."""

_TENSORS = ("latents", "prompt_embeds", "negative_prompt_embeds")
_OF_XL = ("add_text_embeds", "add_time_ids")


class Called(NamedTuple):
    """What a callback leaves behind.

    Attributes:
        sample: The latents, which it may have changed.
        stop: Whether the loop ends here.
        guidance: The guidance scale from here on.
        positive: The prompt from here on; None where the callback is not shown it.
        negative: The negative prompt from here on, likewise.
    """

    sample: Latents
    stop: bool
    guidance: float
    positive: Conditioning
    negative: Conditioning


def callback_inputs(callback: object, names: Sequence[str], family: Family) -> tuple[str, ...]:
    """Which tensors a callback is shown.

    Args:
        callback: The callback; one that knows which tensors it needs says so by `tensor_inputs`.
        names: What the caller asks for.
        family: Of which family the model is.

    Raises:
        ValueError: There is no such tensor.
    """
    own: Sequence[str] | None = getattr(callback, "tensor_inputs", None)
    asked = tuple(names if own is None else own)
    known = _TENSORS[:1] if family == "unconditional" else _TENSORS
    known = (*known, *(_OF_XL if family.startswith("sdxl") else ()))
    strange = [name for name in asked if name not in known]
    if strange:
        raise ValueError(
            f"callback_on_step_end_tensor_inputs has {', '.join(strange)}: a callback is shown "
            f"{', '.join(known)}"
        )
    return asked


def callback_node(pipeline: Any, callback: Callback, names: Sequence[str]) -> Node[..., Any]:  # noqa: ANN401 - any
    """A node that calls a function of a pipeline's caller.

    What it does is not known, so that nothing that depends on it is kept.

    Args:
        pipeline: What the function gets first; its `interrupt` ends the loop.
        callback: The function: pipeline, number of the step, timestep, a map of tensors; it gives
            back a map that may hold other ones.
        names: Which tensors it is shown.
    """

    @node(cache="never", name="CallbackOnStepEnd")
    def call(
        sample: Latents,
        step: schedule.Step,
        index: int,
        count: int,
        guidance: float | None = None,
        positive: Conditioning | None = None,
        negative: Conditioning | None = None,
    ) -> Called:
        import torch

        state = pipeline.call
        state.num_timesteps = count
        state.guidance_scale = state.guidance_scale if guidance is None else guidance
        latents = sample.samples.clone()  # what is done to it in place stays out of the graph
        text = _Text(positive, negative, sample.samples, pipeline._setup.checkpoint)
        shown = {"latents": latents} | text.tensors()
        given: Any = callback(
            pipeline, index, torch.tensor(step.timestep), {name: shown[name] for name in names}
        )
        if not isinstance(given, dict | None):
            raise TypeError("callback_on_step_end must give back the map that it was given")
        changed = cast("dict[str, Any]", given or {})
        strange = set(changed) - set(names)
        if strange:
            raise ValueError(
                f"callback_on_step_end gives {', '.join(sorted(strange))}, which it was not shown: "
                f"ask for it in callback_on_step_end_tensor_inputs, of {', '.join(shown)}"
            )
        scale = state.guidance_scale
        after = text.changed(changed, is_guided=scale > 1)
        return Called(
            Latents(changed.get("latents", latents)),
            bool(state.interrupt),
            scale,
            cast(Conditioning, after[0]),
            cast(Conditioning, after[1]),
        )

    return call


class _Text:
    """The prompts of a loop as diffusers shows them: the negative one's rows before the other's.

    Args:
        positive: The prompt; None where the callback is not shown it.
        negative: The negative prompt; None without guidance.
        sample: The pictures in the making; each has rows of its own.
        checkpoint: The models.
    """

    def __init__(
        self,
        positive: Conditioning | None,
        negative: Conditioning | None,
        sample: torch.Tensor,
        checkpoint: Checkpoint,
    ) -> None:
        self._both = (positive, negative)
        self._pictures = sample.shape[0]
        height, width = (side * checkpoint.unet.spatial_factor for side in sample.shape[2:])
        self._size = height, width
        self._family: Family = checkpoint.family

    def tensors(self) -> dict[str, torch.Tensor]:
        """What can be shown beside the latents."""
        import torch

        parts = [each.parts[0] for each in reversed(self._both) if each is not None]
        if not parts:
            return {}
        rows = [self._rows(part.sequence) for part in parts]
        found = {"prompt_embeds": torch.cat(rows), "negative_prompt_embeds": rows[0]}
        pooled = [self._rows(part.pooled) for part in parts if part.pooled is not None]
        if pooled:
            ids = [part.framing.time_ids(self._family, self._size) for part in parts]
            numbers = torch.tensor(ids, dtype=rows[0].dtype)
            found["add_text_embeds"] = torch.cat(pooled)
            found["add_time_ids"] = self._rows(numbers, len(parts))
        return found

    def changed(
        self, given: Mapping[str, Any], *, is_guided: bool
    ) -> tuple[Conditioning | None, Conditioning | None]:
        """The prompt and the negative prompt from here on.

        Args:
            given: What the callback gave back.
            is_guided: Whether guidance goes on; without, the prompt's rows alone are enough.

        Raises:
            ValueError: There are not as many rows as before, or sizes are others.
        """
        import torch

        ids = given.get("add_time_ids")
        if ids is not None:
            own = self.tensors()["add_time_ids"]
            if not torch.equal(torch.as_tensor(ids).to(own), own[-len(ids) :]):
                raise ValueError(
                    "callback_on_step_end changes add_time_ids, but the sizes that SDXL is told "
                    "stay for the whole call: give them to the call, as original_size, "
                    "crops_coords_top_left and target_size"
                )
        positive, negative = self._both
        for name, key in (("prompt_embeds", "sequence"), ("add_text_embeds", "pooled")):
            rows = given.get(name)
            if rows is None or positive is None:
                continue
            whole = self._pictures * (1 if negative is None else 2)
            if negative is not None and len(rows) == whole:
                first, rows = rows.chunk(2)
                negative = _with(negative, key, first)
            elif negative is not None and is_guided:
                raise ValueError(
                    f"callback_on_step_end gives {len(rows)} rows of {name} instead of {whole}, "
                    "but guidance goes on: the prompt's rows alone are enough once the pipeline's "
                    "_guidance_scale is at most 1"
                )
            positive = _with(positive, key, rows)
        return positive, negative

    def _rows(self, tensor: torch.Tensor, prompts: int = 1) -> torch.Tensor:
        """A row for each picture of each prompt, to be changed as one likes."""
        return tensor.repeat_interleave(self._pictures * prompts // tensor.shape[0], dim=0)


def _with(conditioning: Conditioning, key: str, rows: torch.Tensor) -> Conditioning:
    first = replace(conditioning.parts[0], **cast("dict[str, Any]", {key: rows.clone()}))
    return replace(conditioning, parts=(first, *conditioning.parts[1:]))
