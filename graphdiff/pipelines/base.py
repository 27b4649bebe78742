"""DiffusionPipeline: a checkpoint, the workflow that it runs, and the one call that runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Checkpoint, Family
from graphdiff.checkpoints.open import open_checkpoint
from graphdiff.engine.events import Event
from graphdiff.engine.session import Cache
from graphdiff.graph.build import Graph, output
from graphdiff.graph.node import Node
from graphdiff.pipelines import saved, written
from graphdiff.pipelines.adapters import Adaptable
from graphdiff.pipelines.callback import callback_inputs, callback_node
from graphdiff.pipelines.checks import (
    check_device,
    check_generator,
    check_numbers,
    check_size,
    check_text,
)
from graphdiff.pipelines.composed import Composed, is_granted
from graphdiff.pipelines.graphs import Builder
from graphdiff.pipelines.memory import Thrifty
from graphdiff.pipelines.outputs import ImagePipelineOutput
from graphdiff.pipelines.pictures import given_back
from graphdiff.pipelines.progress import BarConfig, shown
from graphdiff.pipelines.randomness import advance
from graphdiff.pipelines.request import Request
from graphdiff.pipelines.setup import Setup
from graphdiff.pipelines.state import CallState, Steerable
from graphdiff.pipelines.words import Teachable

if TYPE_CHECKING:
    import torch

# What a model_index.json says although it is nothing that runs.
_OF_INDEX = frozenset({"requires_safety_checker", "feature_extractor", "image_encoder"})


class DiffusionPipeline(Composed, Adaptable, Teachable, Thrifty, Steerable):
    """A ready-made workflow behind one call.

    `from_pretrained` gives the pipeline that a checkpoint names. A pipeline holds no weights: it
    makes a workflow (`pipeline.workflow`) and runs it; what was computed before is found again.
    `pipeline.unet` is the model to look at; one that was changed is put in its place by assignment.

    Args:
        components: The models, scheduler and tokenizers, as `from_pretrained` of their classes
            gives them; each by its name in a checkpoint's folder.
    """

    if TYPE_CHECKING:  # what `from_pretrained` gives is a pipeline of some class, and can be called

        def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the class says
            """Draw pictures; see the class that it is."""
            ...

    output_class: ClassVar[Any] = ImagePipelineOutput
    families: ClassVar[tuple[Family, ...]] = ()
    names: ClassVar[dict[str, type[DiffusionPipeline]]] = {}

    def __init_subclass__(cls) -> None:
        if any("__call__" in vars(base) for base in cls.__mro__):  # what has none only shares code
            DiffusionPipeline.names[cls.__name__] = cls

    def __init__(self, **components: Any) -> None:  # noqa: ANN401 - any component
        given = {
            key: part
            for key, part in components.items()
            if key in _OF_INDEX or not is_granted(key, part)
        }
        place = written.pipeline_place(type(self).__name__, given)
        checkpoint = open_checkpoint(place.path, dtype="float32", device="cpu")
        self._begin(Setup(checkpoint), True)
        self._places = (place,)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        torch_dtype: torch.dtype | str | None = None,
        dtype: torch.dtype | str | None = None,
        revision: str | None = None,
        variant: str | None = None,
        use_safetensors: bool | None = None,
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
            use_safetensors: Must not be false: pickles can run any code, and are never loaded.
            local_files_only: Do not reach the network.
            token: Who asks the hub, for gated repositories.
            cache: Where results are kept: true for the user's cache, a folder, or false.
            config: For a single file of an unusual model, the folder that holds its configuration.
            components: Other parts than the checkpoint's, by name: `scheduler`, `vae`, `unet`,
                `text_encoder`, `controlnet`, ...; `safety_checker=None` leaves it out.

        Raises:
            CheckpointError: There is no such checkpoint, or it is of another kind.
            TypeError: There is no such option; says what there is instead.
        """
        if use_safetensors is False:
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

    @classmethod
    def from_pipe(
        cls,
        pipeline: DiffusionPipeline,
        *,
        torch_dtype: torch.dtype | str | None = None,
        dtype: torch.dtype | str | None = None,
        **components: Any,  # noqa: ANN401 - any component
    ) -> Self:
        """Do another task with a pipeline's models, scheduler, LoRAs and words.

        Args:
            pipeline: The pipeline; it stays as it is.
            torch_dtype: What to compute in; as the pipeline where None.
            dtype: The same, by its newer name.
            components: Other parts than the pipeline's, by name.

        Raises:
            CheckpointError: Its models are for other tasks.
            TypeError: There is no such component.
        """
        chosen: Any = type(pipeline) if cls is DiffusionPipeline else cls
        own = pipeline._setup.checkpoint
        chosen._check_family(own)
        made: DiffusionPipeline = chosen.__new__(chosen)
        made._begin(pipeline._setup, pipeline._session.store)
        made._session.settings = pipeline._session.settings
        made._index = {**pipeline._index, "_class_name": chosen.__name__}
        made._scheduler = pipeline._scheduler
        made._places, made._bar = pipeline._places, pipeline._bar
        made._offloads = pipeline._offloads
        made._replace(components)
        asked = torch_dtype if torch_dtype is not None else dtype
        return cast(Self, made if asked is None else made.to(asked))

    def _begin(self, setup: Setup, cache: Cache) -> None:
        self._compose(setup, cache)
        self._graph: Graph | None = None
        self._bar = BarConfig()
        self.call = CallState()
        self.events: tuple[Event, ...] = ()

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

    def set_progress_bar_config(self, **options: Any) -> None:  # noqa: ANN401 - tqdm's
        """Change the bar that a call shows in a terminal or a notebook; nowhere else is one.

        Args:
            options: `disable`, `desc`, `leave`, `file` and `ncols`, as tqdm means them.

        Raises:
            TypeError: There is no such option.
        """
        known = [each.name for each in fields(BarConfig)]
        strange = [name for name in options if name not in known]
        if strange:
            raise TypeError(
                f"the progress bar has no {', '.join(strange)}; it takes {', '.join(known)}; a bar "
                "of one's own is made of the events that a call tells on_event"
            )
        self._bar = BarConfig(**options)

    def _example(self) -> Request:
        """A request with every default."""
        raise ValueError(
            f"{type(self).__name__} needs pictures: call it once, then its workflow can be seen"
        )

    def _build(self, builder: Builder, callback: Node[..., Any] | None) -> None:
        """Add what this pipeline does to the graph that is being built."""
        raise TypeError(f"{type(self).__name__} is no task: load a checkpoint with from_pretrained")

    def _built(self, request: Request) -> tuple[Graph, Mapping[str, Any]]:
        call = None
        family = self._setup.checkpoint.family
        function = request.callback_on_step_end
        names = callback_inputs(function, request.callback_on_step_end_tensor_inputs, family)
        if function is not None:
            call = callback_node(self, function, names)
            request = replace(request, callback_on_step_end_tensor_inputs=names)
        graph = Graph(type(self).__name__, description=(type(self).__doc__ or "").split("\n")[0])
        vae = self._vae[1]
        setup = replace(
            self._setup,
            slices=self._setup.slices or bool(getattr(vae, "use_slicing", False)),
            tiles=self._setup.tiles or bool(getattr(vae, "use_tiling", False)),
        )
        with graph:
            builder = Builder(setup, request, takes_eta=self._takes_eta())
            self._build(builder, call)
        return graph, builder.inputs

    def _takes_eta(self) -> bool:
        """Whether the scheduler's steps have a choice of eta."""
        from graphdiff.schedulers.rules import rule_class

        own = self._setup.checkpoint.scheduler
        chosen = self._setup.scheduler
        name = chosen[0] if chosen is not None else str(own.get("_class_name"))
        return any(field.name == "eta" for field in fields(rule_class(name)))

    def _run(self, request: Request) -> Any:  # noqa: ANN401 - an output, or a tuple
        """Build the workflow of a request and run it."""
        self.call = CallState(guidance_scale=request.guidance_scale, clip_skip=request.clip_skip)
        form = request.form
        check_numbers(request)
        check_generator(request)
        check_size(request, self._setup.checkpoint.unet.spatial_factor)
        check_device(self._session.settings.device)
        graph, inputs = self._built(request)
        self._graph = graph
        with self._room(), shown(self._bar, lambda: self.call.num_timesteps) as bar:

            def tell(event: Event) -> None:
                bar(event)
                if request.on_event is not None:
                    request.on_event(event)

            results = self._session.run(graph.workflow, inputs, on_event=tell)
        self.events = results.events
        outputs = results.outputs
        advance(request.generator, outputs.get("rng"))
        if form == "latent":
            return self._output(outputs["latents"].samples, None, request)
        unsafe = list(outputs["unsafe"]) if "unsafe" in outputs else None
        return self._output(given_back(outputs["images"], form), unsafe or None, request)

    def _encode(self, request: Request, *, is_guided: bool) -> list[tuple[Any, Any]]:
        """The prompt and the negative prompt, each with its pooled vectors, for every picture."""
        check_text(request, is_pooled=self.family.startswith("sdxl"))
        graph = Graph(f"{type(self).__name__} prompts")
        with graph:
            builder = Builder(self._setup, request, takes_eta=False)
            output(positive=builder.positive())
            if is_guided:
                output(negative=builder.negative())
        with self._room():
            found = self._session.run(graph.workflow, builder.inputs).outputs
        rows: list[tuple[Any, Any]] = []
        for name in ("positive", "negative"):
            part = found[name].parts[0] if name in found else None
            sequence, pooled = (None, None) if part is None else (part.sequence, part.pooled)
            count = request.pictures
            rows.append((_for_each(sequence, count), _for_each(pooled, count)))
        return rows

    def _output(self, images: Any, unsafe: list[bool] | None, request: Request) -> Any:  # noqa: ANN401
        found = self.output_class(*([images, unsafe][: len(self.output_class._fields)]))
        return found if request.return_dict else tuple(found)


def placed(
    rows: Sequence[tuple[Any, Any]], device: torch.device | str | None
) -> list[tuple[Any, Any]]:
    """Vectors of prompts, on a device; where they are where None."""

    def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
        return tensor if tensor is None or device is None else tensor.to(device)

    return [(moved(sequence), moved(pooled)) for sequence, pooled in rows]


def _for_each(rows: torch.Tensor | None, pictures: int) -> torch.Tensor | None:
    """Rows of prompts, repeated for the pictures of each."""
    return None if rows is None else rows.repeat_interleave(pictures // len(rows), dim=0)
