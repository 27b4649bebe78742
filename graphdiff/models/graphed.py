"""A model whose passes are replayed as CUDA graphs: launched at once, not kernel by kernel."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn

from graphdiff.models.cuda_graphs import Cuda, Mark, Recorder, Recording
from graphdiff.pressure import register

M = TypeVar("M", bound=nn.Module)
_Call: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]

_GRAPHS = 8  # of one model; each holds the memory that its pass works in
_CAPTURES = 3  # of one signature, before what is let go again and again stays eager
_WARM = 64  # signatures that are remembered before they are captured
_AHEAD = 2  # passes that may be enqueued and not done
_thread = threading.local()


def graphed(model: M) -> M:
    """The same function as `model`, replayed as CUDA graphs, and only for inference.

    A pass of a UNet launches some seven hundred kernels, which at small batches takes longer than
    to run them. So the first call with arguments of some shapes runs as ever, which warms up the
    libraries; the second is captured into a graph; and from then on inputs are copied to where the
    graph reads them, it is launched, and its outputs are copied to tensors of their own. What
    cannot be captured runs as it would without.

    The host stays at most two passes ahead of the device. So the device never waits, and yet
    progress, the durations by which is decided what is kept on disk, and Ctrl-C are true, which
    they would not be if a whole picture were enqueued in a moment.

    Args:
        model: A model on a CUDA device, whose weights stay where they are; left as it is.
    """
    replays = _Replays(model, Cuda())
    register(replays)
    other = copy(model)
    other.__dict__["forward"] = replays
    return other


def let_graphs_go(model: nn.Module) -> None:
    """Let the graphs of a model go, if it has any, even if somebody holds on to the model."""
    replays = model.__dict__.get("forward")
    if isinstance(replays, _Replays):
        replays.relieve()


@dataclass(frozen=True, slots=True)
class _Pass:
    """A pass that was captured, and where it reads its inputs."""

    recording: Recording
    inputs: tuple[Tensor, ...]


class _Replays:
    """What is called instead of a model's forward.

    Args:
        model: The model.
        recorder: Where it is.
    """

    def __init__(self, model: nn.Module, recorder: Recorder) -> None:
        self._name = type(model).__name__
        self._forward: Callable[..., Any] = model.forward
        self._device = next(model.parameters()).device
        self._recorder = recorder
        _, *names = inspect.signature(type(model).forward).parameters
        self._time = names.index("timestep") if "timestep" in names else None
        self._passes: dict[Hashable, _Pass] = {}  # the one used last is last
        self._captures: Counter[Hashable] = Counter()
        self._warm: set[tuple[Hashable, object]] = set()
        self._marks: deque[Mark] = deque()
        self._warned = False
        self._lock = threading.RLock()  # inputs and outputs of a graph are there once

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the model's
        """The model's pass."""
        if self._is_traced():
            return self._forward(*args, **kwargs)
        args, kwargs = self._timed(args, kwargs)
        tensors: list[Tensor] = []
        signature = _described((args, kwargs), tensors)
        if not (_can_be_hashed(signature) and self._can_be_copied(tensors)):
            return self._forward(*args, **kwargs)
        call = (args, kwargs)
        with self._lock:
            known = self._passes.pop(signature, None)
            if known is None and self._is_due(signature):
                known = self._captured(signature, call, tensors)
            if known is not None:
                self._passes[signature] = known
                return self._replayed(known, tensors)
        if self._captures[signature] == _CAPTURES:
            return self._forward(*args, **kwargs)
        return self._warmed_up(signature, call, tensors)

    def relieve(self) -> bool:
        """Let all graphs go, which hold the memory that a pass works in; whether there were any."""
        with self._lock:
            self._warm.clear()
            some = bool(self._passes)
            self._let_go(list(self._passes))
            return some

    def _is_traced(self) -> bool:
        """Whether something is about to look at each kernel, or to change what they are."""
        return (
            torch.compiler.is_compiling()
            or torch.is_autocast_enabled(self._device.type)
            or self._recorder.is_recording()
        )

    def _timed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
        """The arguments with the time as a tensor, since as a number it would be another each."""
        place = self._time
        if place is None:
            return args, kwargs
        if len(args) > place:
            return (*args[:place], self._as_tensor(args[place]), *args[place + 1 :]), kwargs
        if "timestep" in kwargs:
            kwargs = {**kwargs, "timestep": self._as_tensor(kwargs["timestep"])}
        return args, kwargs

    def _as_tensor(self, time: object) -> object:
        if isinstance(time, int | float):
            return torch.full((), time, dtype=torch.float32, device=self._device)
        if isinstance(time, Tensor) and time.device != self._device:
            return time.to(self._device, non_blocking=True)
        return time

    def _can_be_copied(self, tensors: list[Tensor]) -> bool:
        gradients = torch.is_grad_enabled()
        return all(
            tensor.device == self._device and not (gradients and tensor.requires_grad)
            for tensor in tensors
        )

    def _replayed(self, known: _Pass, tensors: list[Tensor]) -> Any:  # noqa: ANN401 - as the model
        marks = self._marks
        if marks:
            marks[-1].follow()  # graphs share their memory, whichever stream they are launched on
        if len(marks) == _AHEAD:
            marks.popleft().wait()
        with torch.no_grad():
            for own, given in zip(known.inputs, tensors, strict=True):
                own.copy_(given, non_blocking=True)
            known.recording.replay()
            outputs = _mapped(known.recording.outputs, torch.clone)
        marks.append(self._recorder.mark())
        return outputs

    def _warmed_up(self, signature: Hashable, call: _Call, tensors: list[Tensor]) -> Any:  # noqa: ANN401 - as the model's
        """A plain pass, in which all is as it will be in the capture, so that nothing is new then.

        What is compiled asks its inputs for their layout, and for the modes that they were made in.
        """
        with _as_captured():
            args, kwargs = _with_tensors(call, tuple(map(torch.clone, tensors)))
            result = self._forward(*args, **kwargs)
        with self._lock:
            if len(self._warm) == _WARM:
                self._warm.clear()
            self._warm.add((signature, _this_thread()))
        return result

    def _is_due(self, signature: Hashable) -> bool:
        """Whether a pass is to be captured now.

        Libraries keep handles and plans for each thread, and cannot make them in a capture.
        """
        is_warm = (signature, _this_thread()) in self._warm
        return is_warm and self._captures[signature] < _CAPTURES

    def _captured(self, signature: Hashable, call: _Call, tensors: list[Tensor]) -> _Pass | None:
        """The pass for arguments like these; None if it cannot be captured."""
        if len(self._passes) == _GRAPHS:
            self._let_go([next(iter(self._passes))])
        self._captures[signature] += 1
        try:
            return self._record(call, tensors)
        except Exception as error:
            self._captures[signature] = _CAPTURES
            full = _is_out_of_memory(error)
            if not full and not self._warned:
                self._warned = True
                warnings.warn(
                    f"{self._name} cannot be captured into a CUDA graph, and runs slower without: "
                    f"{_said(error)}",
                    RuntimeWarning,
                    stacklevel=4,
                )
        if full:  # out here, where no frame of the error holds what was allocated or captured
            self._let_go(list(self._passes))
        return None

    def _record(self, call: _Call, tensors: list[Tensor]) -> _Pass:
        beside = next((known.recording for known in self._passes.values()), None)
        forward = self._forward
        with _as_captured():
            inputs = tuple(map(torch.clone, tensors))
            args, kwargs = _with_tensors(call, inputs)
            recording = self._recorder.record(lambda: forward(*args, **kwargs), beside)
        return _Pass(recording, inputs)

    def _let_go(self, signatures: list[Hashable]) -> None:
        """Let graphs go, and give their memory back."""
        if not signatures:
            return
        if self._marks:
            self._marks[-1].wait()  # the last pass may still run
        for signature in signatures:
            del self._passes[signature]
        self._recorder.trim()


@contextmanager
def _as_captured() -> Generator[None]:
    """The modes in which passes are captured, whatever the caller's are."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _with_tensors(call: _Call, tensors: Sequence[Tensor]) -> _Call:
    """The arguments of a call with other tensors in the places of theirs."""
    left = iter(tensors)
    changed: _Call = _mapped(call, lambda _: next(left))
    return changed


def _described(value: object, tensors: list[Tensor]) -> Hashable:
    """What arguments must share for one graph; the tensors in them are added to a list."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return Tensor, tuple(value.shape), value.dtype, value.device
    if isinstance(value, Mapping):
        items = cast("Mapping[Hashable, object]", value).items()
        return dict, tuple((key, _described(each, tensors)) for key, each in items)
    if isinstance(value, list | tuple):
        row = cast("list[object] | tuple[object, ...]", value)
        return type(row), tuple(_described(each, tensors) for each in row)
    return type(value), value  # of equal values, 1 and 1.0 are two


def _mapped(value: object, change: Callable[[Tensor], Tensor]) -> Any:  # noqa: ANN401 - a tree
    """The same tree with other tensors."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Hashable, object]", value).items()
        return {key: _mapped(each, change) for key, each in items}
    if isinstance(value, list | tuple):
        row = cast("list[object] | tuple[object, ...]", value)
        made = [_mapped(each, change) for each in row]
        kind: Callable[..., Any] = type(row)
        return kind(*made) if hasattr(row, "_fields") else kind(made)
    return value


def _can_be_hashed(signature: Hashable) -> bool:
    try:
        hash(signature)
    except TypeError:
        return False
    return True


def _this_thread() -> object:
    """What stands for this thread alone; its number will be another's once it has ended."""
    if not hasattr(_thread, "itself"):
        _thread.itself = object()
    itself: object = _thread.itself
    return itself


def _said(error: BaseException) -> str:
    """What went wrong, and before that what torch hides as it ends a capture that failed."""
    said = f"{type(error).__name__}: {error}"
    before = error.__cause__ or error.__context__
    return said if before is None else f"{said}, after {type(before).__name__}: {before}"


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, which a capture that then cannot be ended may hide."""
    causes: BaseException | None = error
    while causes is not None:
        if isinstance(causes, torch.OutOfMemoryError) or "out of memory" in str(causes):
            return True
        causes = causes.__cause__ or causes.__context__
    return False
