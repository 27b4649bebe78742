"""What travels on wires between the built-in nodes, beside the handles of models: frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphdiff.checkpoints.handles import ControlNet, Family
from graphdiff.config import FrozenConfig
from graphdiff.schedulers.schedule import Step

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A scheduler's configuration; it becomes steps in Timesteps.

    Args:
        config: Configuration in diffusers' keys, `_class_name` among them; what diffusers takes as
            arguments of `step`, such as `eta`, stands beside them.
    """

    config: FrozenConfig = field(hash=False)


@dataclass(frozen=True, slots=True)
class Latents:
    """Pictures in a model's latent space, scaled as its UNet takes them; or pixels in [-1, 1].

    Args:
        samples: The values, (batch, channels, height, width).
    """

    samples: Tensor

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return self.samples.shape[1]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a UNet says of a noisy sample: noise, velocity or picture, as its scheduler knows.

    Args:
        samples: The values, (batch, channels, height, width).
    """

    samples: Tensor

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return self.samples.shape[1]


@dataclass(frozen=True, slots=True)
class History:
    """What a scheduler's rule remembers from step to step.

    Args:
        rule: The rule's class, in diffusers' names; no other can read the memory.
        memory: What it remembers.
    """

    rule: str
    memory: Any


@dataclass(frozen=True, slots=True)
class Image:
    """Pictures.

    Args:
        pixels: Red, green and blue in [0, 1], float32, (batch, 3, height, width).
    """

    pixels: Tensor


@dataclass(frozen=True, slots=True)
class Mask:
    """Where something applies.

    Args:
        values: From 0, where it does not, to 1, float32, (batch, 1, height, width).
    """

    values: Tensor


@dataclass(frozen=True, slots=True)
class DepthMap:
    """How near each place of a picture is, in no unit; larger is nearer.

    Args:
        values: The estimate, float32, (batch, 1, height, width).
    """

    values: Tensor


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of a picture, in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Window:
    """When in a run something applies.

    Args:
        start: From which share of the training timesteps on, counted from the noisy end.
        end: Up to which share.
        steps: The very steps, where a schedule has said them; they replace the shares.
    """

    start: float = 0.0
    end: float = 1.0
    steps: tuple[Step, ...] | None = None

    def holds(self, step: Step) -> bool:
        """Whether it applies at a step."""
        if self.steps is not None:
            return step in self.steps
        return self.start <= 1 - step.timestep / step.rule.num_train_timesteps <= self.end


ALWAYS = Window()


@dataclass(frozen=True, slots=True)
class Control:
    """One ControlNet at work.

    Args:
        net: The net.
        hint: The picture that steers, in [0, 1], (batch, channels, height, width) in pixels.
        strength: What its residuals are multiplied by.
        window: When it applies.
        guess: Whether residuals fade towards the fine blocks, as for a picture without a prompt.
    """

    net: ControlNet
    hint: Tensor
    strength: float = 1.0
    window: Window = ALWAYS
    guess: bool = False


@dataclass(frozen=True, slots=True)
class Framing:
    """What SDXL is told of a picture beside the text; sizes are (height, width) in pixels.

    Args:
        original: The size of the picture before it was cut; that of the sample where None.
        crop: How much was cut off at the top and at the left.
        target: The size that the picture is to have; that of the sample where None.
        aesthetic_score: How beautiful it is to be, 1 to 10; for the refiner, which takes no target.
    """

    original: tuple[int, int] | None = None
    crop: tuple[int, int] = (0, 0)
    target: tuple[int, int] | None = None
    aesthetic_score: float = 6.0

    def time_ids(self, family: Family, size: tuple[int, int]) -> tuple[float, ...]:
        """The numbers that a UNet of a family takes, for a sample of `size`."""
        match family:
            case "sdxl":
                return (*(self.original or size), *self.crop, *(self.target or size))
            case "sdxl-refiner":
                return (*(self.original or size), *self.crop, self.aesthetic_score)
            case _:
                return ()


@dataclass(frozen=True, slots=True)
class ConditioningPart:
    """One prompt, encoded, and where and when it applies.

    Args:
        sequence: A vector for each token, (batch, tokens, width).
        pooled: One vector for the whole text, (batch, width), for models that take one.
        framing: Sizes, crop and score, for models that take them.
        area: Where it applies, None everywhere.
        mask: How much it applies where, (batch, 1, height, width), None everywhere alike.
        window: When it applies.
        weight: How much it counts beside other parts.
        controls: The ControlNets that steer it.
    """

    sequence: Tensor
    pooled: Tensor | None = None
    framing: Framing = Framing()
    area: Area | None = None
    mask: Tensor | None = None
    window: Window = ALWAYS
    weight: float = 1.0
    controls: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What guides a UNet: one encoded prompt, or several that share the picture.

    Args:
        parts: The prompts; where several apply, their predictions are averaged by weight.
        family: Which UNets take it.
    """

    parts: tuple[ConditioningPart, ...]
    family: Family

    @property
    def width(self) -> int:
        """The width of its token vectors."""
        return self.parts[0].sequence.shape[2]

    @property
    def pooled_width(self) -> int:
        """The width of its pooled vectors; 0 where there are none."""
        pooled = self.parts[0].pooled
        return 0 if pooled is None else pooled.shape[1]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a safety checker says of a batch of pictures.

    Args:
        unsafe: For each picture, whether it is unfit to be shown.
    """

    unsafe: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that was written.

    Args:
        path: Where it lies.
        sha256: The hash of its bytes.
    """

    path: str
    sha256: str
