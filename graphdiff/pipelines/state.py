"""What a call of a pipeline can be asked and told while it runs, by diffusers' names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CallState:
    """The call that is running, or ran last; callbacks change it.

    Args:
        guidance_scale: How closely it follows the prompt from the next step on.
        clip_skip: How many of the text encoder's last layers it leaves out.
        num_timesteps: How many steps it takes, once a callback is called.
        interrupt: Whether it ends after this step.
    """

    guidance_scale: float = 7.5
    clip_skip: int | None = None
    num_timesteps: int = 0
    interrupt: bool = False


class Steerable:
    """A pipeline whose running call can be asked and told things."""

    call: CallState

    @property
    def interrupt(self) -> bool:
        """Whether the call ends after the step that runs; callbacks set it."""
        return self.call.interrupt

    @interrupt.setter
    def interrupt(self, value: bool) -> None:
        self.call.interrupt = bool(value)

    _interrupt = interrupt

    @property
    def guidance_scale(self) -> float:
        """How closely the call follows the prompt; callbacks change it by `_guidance_scale`."""
        return self.call.guidance_scale

    @property
    def _guidance_scale(self) -> float:
        return self.call.guidance_scale

    @_guidance_scale.setter
    def _guidance_scale(self, value: float) -> None:
        self.call.guidance_scale = float(value)

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the call is guided."""
        return self.call.guidance_scale > 1

    @property
    def clip_skip(self) -> int | None:
        """How many of the text encoder's last layers the call leaves out."""
        return self.call.clip_skip

    @property
    def num_timesteps(self) -> int:
        """How many steps the call takes; told to callbacks."""
        return self.call.num_timesteps
