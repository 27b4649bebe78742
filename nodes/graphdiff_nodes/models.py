"""Models and schedulers: checkpoints and what is put into them, as handles without weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

from annotated_types import Ge

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import (
    VAE,
    ControlNet,
    DepthEstimator,
    LoRA,
    PredictionType,
    SafetyChecker,
    TextEncoder,
    TextualInversion,
    UNet,
    WeightFile,
)
from graphdiff.checkpoints.open import (
    locate,
    open_checkpoint,
    open_controlnet,
    open_unet,
    open_vae,
    weight_file,
)
from graphdiff.config import FrozenConfig
from graphdiff.graph.node import Locator, Settings, node
from graphdiff.schedulers.names import named
from graphdiff.schedulers.rules import rule_from_config
from graphdiff_nodes.values import Scheduler as SchedulerValue

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Device = Literal["auto", "cpu", "cuda", "mps"]
OF_THE_RUN = Settings()  # the engine puts what the run was told in its place


class Model(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        unet: Its noise predictor.
        text_encoder: Its text encoders.
        vae: Its autoencoder.
        scheduler: The scheduler that it was published with.
        safety_checker: Its safety checker, None where it brings none.
        depth_estimator: Its depth model, None where it brings none.
    """

    unet: UNet
    text_encoder: TextEncoder
    vae: VAE
    scheduler: SchedulerValue
    safety_checker: SafetyChecker | None
    depth_estimator: DepthEstimator | None


class Patched(NamedTuple):
    """Models with a LoRA in them.

    Attributes:
        unet: The UNet.
        text_encoder: The text encoder; None where none was given.
    """

    unet: UNet
    text_encoder: TextEncoder


@node(at="plan")
def LoadModel(
    checkpoint: Locator,
    *,
    dtype: Precision = "auto",
    device: Device = "auto",
    revision: str | None = None,
    variant: str | None = None,
    config: Locator | None = None,
    settings: Settings = OF_THE_RUN,
) -> Model:
    """Find a checkpoint and read what it says of itself; weights are read when something runs.

    Args:
        checkpoint: A bundled model (`emoji`), a folder in diffusers' layout, a single .safetensors
            file, or a hub id that is on this machine.
        dtype: What to compute in; auto is what the run was told, else float32 on a CPU and 16 bits
            elsewhere.
        device: What to compute on; auto is what the run was told, else the best that there is.
        revision: A branch, tag or commit of a hub id.
        variant: Which of several weight files, such as fp16.
        config: For a single file of an unusual model, the folder that holds its configuration, in
            diffusers' layout.
        settings: What the run was told.
    """
    found = open_checkpoint(
        _named_one(checkpoint),
        dtype=_chosen(dtype, settings.dtype),
        device=_chosen(device, settings.device),
        revision=revision,
        variant=variant,
        config=config,
    )
    return Model(
        _compiled(found.unet, settings),
        # What a checkpoint lacks is refused by the node that it is wired into, by its name.
        cast(TextEncoder, found.text_encoder),
        cast(VAE, found.vae),
        SchedulerValue(found.scheduler),
        found.safety_checker,
        found.depth_estimator,
    )


@node(at="plan")
def LoadUNet(
    checkpoint: Locator,
    *,
    prediction_type: PredictionType | None = None,
    dtype: Precision = "auto",
    device: Device = "auto",
    revision: str | None = None,
    variant: str | None = None,
    settings: Settings = OF_THE_RUN,
) -> UNet:
    """Find a UNet alone, such as a fine-tuned one in a folder of its own.

    Args:
        checkpoint: A folder with the UNet's config, or a checkpoint that holds one.
        prediction_type: What it predicts; None goes by the checkpoint, and is epsilon for a UNet's
            own folder, which does not say.
        dtype: What to compute in, as for LoadModel.
        device: What to compute on, as for LoadModel.
        revision: A branch, tag or commit of a hub id.
        variant: Which of several weight files, such as fp16.
        settings: What the run was told.
    """
    found = open_unet(
        _named_one(checkpoint),
        dtype=_chosen(dtype, settings.dtype),
        device=_chosen(device, settings.device),
        revision=revision,
        variant=variant,
        prediction_type=prediction_type,
    )
    return _compiled(found, settings)


@node(at="plan")
def LoadVAE(
    checkpoint: Locator,
    *,
    dtype: Precision = "auto",
    device: Device = "auto",
    revision: str | None = None,
    variant: str | None = None,
    settings: Settings = OF_THE_RUN,
) -> VAE:
    """Find a VAE, to use instead of a checkpoint's own.

    Args:
        checkpoint: A VAE's folder or file, or a checkpoint that holds one.
        dtype: What to compute in, as for LoadModel; float32 where its config asks for that: in
            float16 always, in bfloat16 to encode.
        device: What to compute on, as for LoadModel.
        revision: A branch, tag or commit of a hub id.
        variant: Which of several weight files, such as fp16.
        settings: What the run was told.
    """
    return open_vae(
        _named_one(checkpoint),
        dtype=_chosen(dtype, settings.dtype),
        device=_chosen(device, settings.device),
        revision=revision,
        variant=variant,
    )


@node(at="plan")
def LoadControlNet(
    checkpoint: Locator,
    *,
    dtype: Precision = "auto",
    device: Device = "auto",
    revision: str | None = None,
    variant: str | None = None,
    settings: Settings = OF_THE_RUN,
) -> ControlNet:
    """Find a ControlNet, for ApplyControlNet.

    Args:
        checkpoint: A ControlNet's folder, a single file, or a hub id that is on this machine.
        dtype: What to compute in, as for LoadModel.
        device: What to compute on, as for LoadModel.
        revision: A branch, tag or commit of a hub id.
        variant: Which of several weight files, such as fp16.
        settings: What the run was told.
    """
    return open_controlnet(
        _named_one(checkpoint),
        dtype=_chosen(dtype, settings.dtype),
        device=_chosen(device, settings.device),
        revision=revision,
        variant=variant,
    )


@node(at="plan")
def LoadLoRA(
    unet: UNet,
    lora: Locator,
    text_encoder: TextEncoder | None = None,
    *,
    scale: float = 1.0,
    text_scale: float | None = None,
    strict: bool = True,
) -> Patched:
    """Change a model by a LoRA; several add up. The model itself is left as it is.

    Args:
        unet: The UNet to change.
        lora: A .safetensors file in PEFT, diffusers or kohya format, or a folder that holds one.
        text_encoder: The text encoder to change too, by what the file holds for it.
        scale: How much of the change to apply; 0 is none.
        text_scale: The same for the text encoder; as `scale` where None.
        strict: Whether keys of the file that fit nothing are an error, or a warning.
    """
    from graphdiff.checkpoints.lora import check_lora

    file = _file_of(lora, ("pytorch_lora_weights.safetensors",))
    change = LoRA(file, scale, strict)
    found = check_lora(change, unet=unet, text_encoder=text_encoder)
    changed = {delta.part for delta in found.deltas}
    # What the file has nothing for stays the model that it was, and so does all that it computed.
    patched = unet.patched(change) if "unet" in changed else unet
    if text_encoder is None:
        return Patched(patched, cast(TextEncoder, None))
    if changed <= {"unet"}:
        return Patched(patched, text_encoder)
    change = LoRA(file, scale if text_scale is None else text_scale, strict)
    return Patched(patched, text_encoder.patched(change))


@node(at="plan")
def LoadTextualInversion(
    text_encoder: TextEncoder, embedding: Locator, *, token: str | None = None
) -> TextEncoder:
    """Teach a text encoder a new word.

    Args:
        text_encoder: The text encoder.
        embedding: The file of the word's vectors, in one of the three usual formats.
        token: The word to write in prompts; what the file calls it where None.
    """
    from graphdiff.checkpoints.textual_inversion import check_inversion, token_of

    file = _file_of(embedding, ("learned_embeds.safetensors",))
    inversion = TextualInversion(file, token or token_of(file.path))
    check_inversion(inversion, text_encoder)
    return text_encoder.patched(inversion)


@node(at="plan")
def Scheduler(
    name: str | None = None,
    base: SchedulerValue | None = None,
    *,
    schedule: str | None = None,
    prediction_type: PredictionType | None = None,
    eta: Annotated[float, Ge(0)] | None = None,
    config: dict[str, Any] | None = None,
) -> SchedulerValue:
    """Choose a scheduler, or change how one is set.

    Args:
        name: Its class in diffusers' names, such as DPMSolverMultistepScheduler, or a sampler in
            ComfyUI's, such as dpmpp_2m; that of `base` where None.
        base: The scheduler that it replaces, whose settings it takes over as far as it knows them.
        schedule: How its steps are spread: leading, linspace or trailing over the timesteps;
            karras, exponential or beta over the noise levels; or a name of ComfyUI's.
        prediction_type: What the UNet predicts; the base's knows that.
        eta: How much noise a step draws anew, for schedulers that have this choice, such as DDIM.
        config: Further settings, in diffusers' keys.
    """
    taken = {} if base is None else _stated(base.config)
    if name is None and "_class_name" not in taken:
        raise ValueError("which scheduler? give a name, or a base to change")
    chosen: dict[str, Any] = {}
    if name is not None or schedule is not None:
        chosen |= named(name or taken["_class_name"], schedule)
    for key, value in (("prediction_type", prediction_type), ("eta", eta)):
        if value is not None:
            chosen[key] = value
    chosen |= config or {}
    made = FrozenConfig(taken | chosen)
    rule = rule_from_config(made)
    if eta is not None and not hasattr(rule, "eta"):
        raise ValueError(
            f"{rule.name} has no eta: noise that is drawn anew is DDIM's and TCD's choice"
        )
    return SchedulerValue(made)


def _chosen(own: str, of_run: str) -> str:
    """What a node says, or what the run was told where it leaves that open."""
    return of_run if own == "auto" else own


def _compiled(unet: UNet, settings: Settings) -> UNet:
    """The UNet as the run wants it: the same object where it can be, which the engine remembers."""
    if unet.compiled == settings.compile:
        return unet
    return replace(unet, compiled=settings.compile)


def _named_one(
    name: str, what: str = "a bundled model (emoji), a folder, a .safetensors file or a hub id"
) -> str:
    """A name, which must be one: nothing at all would mean the folder that one is in.

    Raises:
        CheckpointError: It is empty.
    """
    if not name.strip():
        raise CheckpointError(f"the name is empty: give {what}", expected=what, found=name)
    return name


def _stated(config: FrozenConfig) -> dict[str, Any]:
    """A configuration without what is only its class's default, so that another class's rules."""
    return {key: value for key, value in config.items() if key not in config.defaulted}


def _file_of(name: str, usual: tuple[str, ...]) -> WeightFile:
    """The one weight file that a name means.

    Raises:
        CheckpointError: There is none, or several.
    """
    path = locate(_named_one(name, "a .safetensors file, or a folder that holds one"))
    if path.is_dir():
        path = _only_file(path, usual)
    return weight_file(path)


def _only_file(folder: Path, usual: tuple[str, ...]) -> Path:
    files = sorted(folder.glob("*.safetensors"))
    named = [file for file in files if file.name in usual]
    if len(named or files) != 1:
        held = ", ".join(file.name for file in files) or "none"
        raise CheckpointError(
            f"{folder}: expected one .safetensors file, found {held}: name the file itself",
            file=folder,
            found=tuple(file.name for file in files),
        )
    return (named or files)[0]
