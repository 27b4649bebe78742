"""DiffusionPipeline: a checkpoint, the workflow that it runs, and the one call that runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, cast

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Checkpoint, Family
from graphdiff.checkpoints.open import open_checkpoint
from graphdiff.config import FrozenConfig
from graphdiff.engine.events import Event
from graphdiff.engine.session import Cache, Session
from graphdiff.graph.build import Graph
from graphdiff.graph.node import Node, Settings
from graphdiff.pipelines import saved
from graphdiff.pipelines.adapters import Adaptable
from graphdiff.pipelines.graphs import Builder
from graphdiff.pipelines.pictures import given_back
from graphdiff.pipelines.randomness import advance
from graphdiff.pipelines.request import Request
from graphdiff.pipelines.setup import Setup

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16", "float16"]
INDEX = "model_index.json"


class ImagePipelineOutput(NamedTuple):
    """What a pipeline gives.

    Attributes:
        images: The pictures: a list of PIL's, an array or a tensor.
    """

    images: Any


class StableDiffusionPipelineOutput(NamedTuple):
    """What a pipeline with a safety checker gives.

    Attributes:
        images: The pictures: a list of PIL's, an array or a tensor.
        nsfw_content_detected: For each, whether the safety checker blacked it out; None where
            nothing was checked.
    """

    images: Any
    nsfw_content_detected: list[bool] | None


class DiffusionPipeline(Adaptable):
    """A ready-made workflow behind one call.

    `from_pretrained` gives the pipeline that a checkpoint names. A pipeline holds no weights: it
    makes a workflow (`pipeline.workflow`) and runs it; what was computed before is found again.

    Args:
        components: The models, scheduler and tokenizers, as `from_pretrained` of their classes
            gives them; each by its name in a checkpoint's folder.
    """

    output_class: ClassVar[Any] = ImagePipelineOutput
    families: ClassVar[tuple[Family, ...]] = ()
    names: ClassVar[dict[str, type[DiffusionPipeline]]] = {}

    def __init_subclass__(cls) -> None:
        DiffusionPipeline.names[cls.__name__] = cls

    def __init__(self, **components: Any) -> None:  # noqa: ANN401 - any component
        folder = saved.pipeline_folder(type(self).__name__, components)
        self._begin(Setup(open_checkpoint(folder, dtype="float32", device="cpu")), True)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        torch_dtype: torch.dtype | str | None = None,
        dtype: torch.dtype | str | None = None,
        revision: str | None = None,
        variant: str | None = None,
        use_safetensors: bool = True,
        local_files_only: bool = False,
        token: str | bool | None = None,
        cache: Cache = True,
        config: str | Path | None = None,
        **components: Any,  # noqa: ANN401 - any component
    ) -> Self:
        """Find a checkpoint; weights are read when they are first needed.

        Args:
            pretrained_model_name_or_path: A bundled model, a folder in diffusers' layout, a single
                .safetensors file, or a hub id, which is fetched where it is not on this machine.
            torch_dtype: What to compute in; float32 where None.
            dtype: The same, by its newer name.
            revision: A branch, tag or commit of a hub id.
            variant: Which of several weight files, such as fp16.
            use_safetensors: Must be true: pickles can run any code, and are never loaded.
            local_files_only: Do not reach the network.
            token: Who asks the hub, for gated repositories.
            cache: Where results are kept: true for the user's cache, a folder, or false.
            config: For a single file of an unusual model, the folder that holds its configuration.
            components: Other models than the checkpoint's, by name: `scheduler`, `vae`, `unet`,
                `controlnet`; `safety_checker=None` leaves it out.

        Raises:
            CheckpointError: There is no such checkpoint, or it is of another kind.
        """
        if not use_safetensors:
            raise CheckpointError(
                "only safetensors files are loaded, since pickles can run any code; convert one "
                "with: graphdiff models convert PATH",
                found="use_safetensors=False",
            )
        name = saved.located(
            str(pretrained_model_name_or_path),
            revision=revision,
            variant=variant,
            local_files_only=local_files_only,
            token=token,
        )
        folder = None if config is None else str(Path(config).absolute())
        checkpoint = open_checkpoint(
            name,
            dtype="float32",
            device="cpu",
            revision=revision,
            variant=variant,
            config=folder,
        )
        chosen = cls._chosen(checkpoint)
        pipeline = chosen.__new__(chosen)
        pipeline._begin(Setup(checkpoint, revision, variant, folder), cache)
        pipeline._replace(components)
        asked = torch_dtype if torch_dtype is not None else dtype
        if asked is not None:
            pipeline.to(asked)
        return cast(Self, pipeline)

    @classmethod
    def from_single_file(cls, path: str | Path, **options: Any) -> Self:  # noqa: ANN401 - see above
        """Find a checkpoint in one .safetensors file: `from_pretrained` by another name."""
        return cls.from_pretrained(path, **options)

    @classmethod
    def _chosen(cls, checkpoint: Checkpoint) -> type[DiffusionPipeline]:
        """The class for a checkpoint: this one, or the one that the checkpoint names.

        Raises:
            CheckpointError: There is no such pipeline, or this one is for other models.
        """
        if cls is not DiffusionPipeline:
            cls._check_family(checkpoint)
            return cls
        found = DiffusionPipeline.names.get(checkpoint.pipeline_class)
        if found is None:
            raise CheckpointError(
                f"{checkpoint.name}: there is no {checkpoint.pipeline_class}; load it with one of "
                f"{', '.join(DiffusionPipeline.names)}",
                found=checkpoint.pipeline_class,
            )
        return found

    @classmethod
    def _check_family(cls, checkpoint: Checkpoint) -> None:
        if cls.families and checkpoint.family not in cls.families:
            raise CheckpointError(
                f"{checkpoint.name}: {cls.__name__} is for {' and '.join(cls.families)} "
                f"but this one is {checkpoint.family}, a {checkpoint.pipeline_class}; "
                "DiffusionPipeline.from_pretrained finds the right class",
                expected=cls.families,
                found=checkpoint.family,
            )

    def _begin(self, setup: Setup, cache: Cache) -> None:
        self._setup = setup
        self._scheduler: Any = None
        self._session = Session(cache=cache, device="cpu", dtype="float32")
        self._graph: Graph | None = None
        self._index = saved.read_index(setup.checkpoint)
        self.events: tuple[Event, ...] = ()
        self.interrupt = False

    def _replace(self, components: Mapping[str, Any]) -> None:
        for name, component in components.items():
            match name:
                case "scheduler":
                    self.scheduler = component
                case "safety_checker" | "feature_extractor" | "requires_safety_checker":
                    if component:
                        raise TypeError(f"{name} can only be left out, with {name}=None")
                    self._setup = replace(self._setup, is_checked=False)
                case "vae" | "unet":
                    folder = saved.component_folder(component)
                    known = {**self._setup.replaced, name: folder}
                    self._setup = replace(self._setup, replaced=known)
                case "controlnet":
                    several = isinstance(component, list | tuple)
                    nets = cast("list[Any]", component) if several else [component]
                    folders = tuple(saved.component_folder(net) for net in nets)
                    self._setup = replace(self._setup, controlnets=folders)
                case _:
                    raise TypeError(
                        f"{type(self).__name__}.from_pretrained takes no {name!r}; components that "
                        "can be replaced are scheduler, vae, unet, controlnet and safety_checker"
                    )

    # What it is made of.

    @property
    def config(self) -> FrozenConfig:
        """What model_index.json says."""
        return FrozenConfig(self._index)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        import torch

        return torch.device(self._session.settings.device)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        import torch

        found: torch.dtype = getattr(torch, self._session.settings.dtype)
        return found

    def to(self, *places: str | torch.device | torch.dtype) -> Self:
        """Compute elsewhere, or in another precision: `to("cuda")`, `to("cuda", torch.float16)`."""
        settings = self._session.settings
        device, dtype = settings.device, settings.dtype
        for place in places:
            text = str(place).removeprefix("torch.")
            if text in ("float32", "bfloat16", "float16"):
                dtype = text
            elif text.partition(":")[0] in ("cpu", "cuda", "mps", "auto"):
                device = text.partition(":")[0]
            else:
                raise ValueError(f"to() takes a device or a dtype, not {place!r}")
        self._session.settings = Settings(device, dtype)
        return self

    @property
    def scheduler(self) -> Any:  # noqa: ANN401 - one of the scheduler classes
        """The scheduler; another one is put in its place by assignment."""
        if self._scheduler is None:
            from graphdiff import schedulers

            config = self._setup.checkpoint.scheduler
            cls = getattr(schedulers, str(config.get("_class_name")))
            self._scheduler = cls.from_config(dict(config))
        return self._scheduler

    @scheduler.setter
    def scheduler(self, scheduler: Any) -> None:  # noqa: ANN401 - one of the scheduler classes
        config: Any = getattr(scheduler, "config", None)
        if not isinstance(config, Mapping):
            raise TypeError(
                f"a scheduler is expected, such as EulerDiscreteScheduler.from_config("
                f"pipeline.scheduler.config), not {type(scheduler).__name__}"
            )
        known = cast("Mapping[str, Any]", config)
        defaulted: frozenset[str] = getattr(known, "defaulted", frozenset[str]())
        stated = {
            key: _thawed(value)
            for key, value in known.items()
            if key not in defaulted and not key.startswith("_")
        }
        name = type(scheduler).__name__
        self._setup = replace(self._setup, scheduler=(name, stated))
        self._index = {**self._index, "scheduler": ["diffusers", name]}
        self._scheduler = scheduler

    @property
    def components(self) -> dict[str, Any]:
        """The models, tokenizers and the scheduler, by name; None where there is none."""
        names = [key for key, value in self._index.items() if isinstance(value, list | tuple)]
        return {name: getattr(self, name, None) for name in names}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any component
        if name.startswith("_") or name not in self._index:
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        settings = self._session.settings
        return saved.component(self._setup, name, settings.device, settings.dtype)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(dict(self._index), indent=2, sort_keys=True)}"

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the pipeline's parts into a folder in diffusers' layout.

        Args:
            folder: Where to; made if it does not exist.
        """
        saved.save(Path(folder), self._index, self.components)

    # What it does.

    @property
    def workflow(self) -> Graph:
        """The graph behind the last call; before the first, behind one with every default.

        Raises:
            ValueError: There was no call yet, and this pipeline needs pictures.
        """
        if self._graph is None:
            self._graph = self._built(self._example())[0]
        return self._graph

    def to_yaml(self) -> str:
        """The workflow as a file's text."""
        return self.workflow.to_yaml()

    def set_progress_bar_config(self, **options: object) -> None:
        """Taken for diffusers' sake: progress is told by events, see `on_event` of a call."""

    def _example(self) -> Request:
        """A request with every default."""
        raise ValueError(
            f"{type(self).__name__} needs pictures: call it once, then its workflow can be seen"
        )

    def _build(self, builder: Builder, callback: Node[..., Any] | None) -> None:
        """Add what this pipeline does to the graph that is being built."""
        raise TypeError(f"{type(self).__name__} is no task: load a checkpoint with from_pretrained")

    def _built(self, request: Request) -> tuple[Graph, Mapping[str, Any]]:
        from graphdiff.pipelines.callback import callback_node

        call = None
        if request.callback is not None:
            call = callback_node(self, request.callback)
        graph = Graph(type(self).__name__, description=(type(self).__doc__ or "").split("\n")[0])
        with graph:
            builder = Builder(self._setup, request, takes_eta=self._takes_eta())
            self._build(builder, call)
        return graph, builder.inputs

    def _takes_eta(self) -> bool:
        """Whether the scheduler's steps have a choice of eta."""
        from dataclasses import fields

        from graphdiff.schedulers.rules import rule_class

        own = self._setup.checkpoint.scheduler
        chosen = self._setup.scheduler
        name = chosen[0] if chosen is not None else str(own.get("_class_name"))
        return any(field.name == "eta" for field in fields(rule_class(name)))

    def _run(self, request: Request) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Build the workflow of a request and run it."""
        self.interrupt = False
        form = request.form
        graph, inputs = self._built(request)
        self._graph = graph
        results = self._session.run(graph.workflow, inputs, on_event=request.on_event)
        self.events = results.events
        outputs = results.outputs
        advance(request.generator, outputs.get("rng"))
        if form == "latent":
            return self._output(outputs["latents"].samples, None, request)
        unsafe = list(outputs["unsafe"]) if "unsafe" in outputs else None
        return self._output(given_back(outputs["images"], form), unsafe or None, request)

    def _output(self, images: Any, unsafe: list[bool] | None, request: Request) -> Any:  # noqa: ANN401
        found = self.output_class(*([images, unsafe][: len(self.output_class._fields)]))
        return found if request.return_dict else tuple(found)


def _thawed(value: object) -> object:
    return [*cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value
