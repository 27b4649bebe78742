"""A model larger than its device's share: each block's weights are there while the block runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

Read: TypeAlias = Callable[[str], Tensor]
"""Gives a weight by its name: on the host, in the dtype that the model computes in."""


class DoesNotFitError(ValueError):
    """A model cannot be streamed in as little as was allowed."""


_ALIGNMENT = 64  # bytes; where a tensor may start in a buffer, whatever its dtype


def streamed(
    model: M, read: Read, *, device: str, budget: int, dtype: torch.dtype, slots: int | None = None
) -> M:
    """The same function as `model`, with no more than `budget` bytes of weights on its device.

    As many blocks as fit stay there once they were needed. The others take turns in one or two
    buffers of the largest one's size: on CUDA the next block is brought by a stream of its own
    while this one runs, from pinned memory of the host.

    Args:
        model: A model without memory; it is changed.
        read: Where its weights come from, each time they are needed (on CUDA once).
        device: Where it computes.
        budget: The most bytes of weights to have there.
        dtype: What it computes in.
        slots: How many buffers to use if there is room; None for what the device makes use of.

    Raises:
        DoesNotFitError: Not even its largest layer fits.
    """
    wanted = slots or (2 if device == "cuda" else 1)
    blocks = [_Block.of(part, dtype) for part in list(_parts(model, budget, dtype))]
    largest = max((block.size for block in blocks if not block.stays), default=0)
    fixed = sum(block.size for block in blocks if block.stays)
    if fixed + largest > budget:
        raise DoesNotFitError(
            f"its largest layer and what must stay beside it take {fixed + largest:,} bytes"
        )
    room = budget - fixed
    count = min(wanted, room // largest) if largest else 0
    room -= count * largest
    for block in blocks:
        if not block.stays and block.size <= room:
            block.stays = True
            room -= block.size
    stream = _Stream(read, torch.device(device), count, largest)
    for block in blocks:
        stream.attach(block)
    model.__dict__["stream"] = stream
    model.__dict__["home"] = torch.device(device)
    return model


def streamed_bytes(model: nn.Module) -> int:
    """The bytes of weights that a streamed model has on its device."""
    stream: _Stream = model.__dict__["stream"]
    return stream.held


@dataclass(slots=True)
class _Place:
    """One weight of a block: whose it is, and where it lies in the block's bytes."""

    name: str
    owner: nn.Module
    key: str
    empty: nn.Parameter | Tensor
    start: int

    def view(self, content: Tensor) -> Tensor:
        """This weight in the bytes of its block."""
        end = self.start + self.empty.numel() * self.empty.element_size()
        return content[self.start : end].view(self.empty.dtype).view(self.empty.shape)

    def put(self, tensor: Tensor) -> None:
        """Give the weight to its module."""
        is_parameter = isinstance(self.empty, nn.Parameter)
        setattr(
            self.owner,
            self.key,
            nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor,
        )


@dataclass(slots=True, eq=False)
class _Block:
    """A module whose weights come and go together."""

    module: nn.Module
    places: list[_Place]
    size: int
    stays: bool = False
    host: Tensor | None = None
    slot: _Slot | None = None
    is_there: bool = False
    follower: _Block | None = None

    @classmethod
    def of(cls, part: _Part, dtype: torch.dtype) -> _Block:
        """A block of some tensors of a model, all of them without memory from here on."""
        places: list[_Place] = []
        end = 0
        for name, owner, key, tensor in part.tensors:
            to = dtype if tensor.is_floating_point() else tensor.dtype
            empty: Tensor = torch.empty_like(tensor, device="meta", dtype=to)
            if isinstance(tensor, nn.Parameter):
                empty = nn.Parameter(empty, requires_grad=False)
            place = _Place(name, owner, key, empty, end)
            place.put(place.empty)
            places.append(place)
            end += _aligned(empty.numel() * empty.element_size())
        return cls(part.module, places, end, stays=part.encloses)


@dataclass(slots=True, eq=False)
class _Slot:
    """Bytes on the device that blocks take turns in."""

    content: Tensor
    block: _Block | None = None
    ready: torch.cuda.Event | None = None  # its weights are there
    done: torch.cuda.Event | None = None  # what used them last is done


@dataclass(eq=False)
class _Stream:
    """Brings blocks to the device before they run, and lets them go after."""

    read: Read
    device: torch.device
    count: int
    size: int
    held: int = 0
    slots: list[_Slot] = field(default_factory=list[_Slot])
    last: _Block | None = None
    side: torch.cuda.Stream | None = None
    lock: Any = field(default_factory=threading.RLock)  # one caller uses a slot

    def attach(self, block: _Block) -> None:
        """Have a block's weights come and go as it is called."""
        forward: Callable[..., Any] = block.module.forward

        def stays(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the module takes
            with self.lock:
                self._settle(block)
            return forward(*args, **kwargs)

        def takes_turns(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever it takes
            with self.lock:
                try:
                    self._enter(block)
                    return forward(*args, **kwargs)
                finally:
                    self._leave(block)

        # Not hooks: torch does not call these after an interrupt, and the lock would stay taken.
        block.module.__dict__["forward"] = stays if block.stays else takes_turns

    @torch.no_grad()
    def _settle(self, block: _Block) -> None:
        """Bring a block that stays, if it is not there yet."""
        if not block.is_there:
            content = self._new(block.size)
            self._fill(content, block)
            self._give(block, content)
            self.held += block.size

    @torch.no_grad()
    def _enter(self, block: _Block) -> None:
        """Bring a block that is not there yet, and the next one ahead of its time."""
        if block.slot is None:
            self._bring(block, self._free_slot())
        slot = block.slot
        assert slot is not None
        if slot.ready is not None:
            torch.cuda.current_stream(self.device).wait_event(slot.ready)
        self._give(block, slot.content)
        if self.last is not None:
            self.last.follower = block
        self.last = block
        following = block.follower
        if len(self.slots) > 1 and following is not None and following.slot is None:
            self._bring(following, self._free_slot(beside=slot))

    def _leave(self, block: _Block) -> None:
        """Take the weights of a block that has run."""
        self._take(block)
        slot = block.slot
        if slot is not None and self.device.type == "cuda":
            slot.done = _event()
            slot.done.record(torch.cuda.current_stream(self.device))

    def _give(self, block: _Block, content: Tensor) -> None:
        for place in block.places:
            place.put(place.view(content))
        block.is_there = True

    def _take(self, block: _Block) -> None:
        for place in block.places:
            place.put(place.empty)
        block.is_there = False

    def _bring(self, block: _Block, slot: _Slot) -> None:
        """Start to fill a slot with a block's weights."""
        if slot.block is not None:
            slot.block.slot = None
        slot.block = None  # until all of it is there
        if self.device.type != "cuda":
            self._fill(slot.content, block)
        else:
            host, side = self._pinned(block), self._side_stream()
            if slot.done is not None:
                side.wait_event(slot.done)
            with torch.cuda.stream(side):
                slot.content[: block.size].copy_(host, non_blocking=True)
                slot.ready = _event()
                slot.ready.record(side)
        slot.block, block.slot = block, slot

    def _fill(self, content: Tensor, block: _Block) -> None:
        for place in block.places:
            place.view(content).copy_(self.read(place.name))

    def _pinned(self, block: _Block) -> Tensor:
        if block.host is None:
            host = torch.empty(block.size, dtype=torch.uint8, pin_memory=True)
            self._fill(host, block)
            block.host = host
        return block.host

    def _free_slot(self, *, beside: _Slot | None = None) -> _Slot:
        if len(self.slots) == self.count:
            return next(slot for slot in self.slots if slot is not beside)
        slot = _Slot(self._new(self.size))
        if self.device.type == "cuda":  # what had this memory before may not be done with it,
            slot.done = _event()
            slot.done.record(torch.cuda.current_stream(self.device))
            slot.content.record_stream(self._side_stream())  # nor we, when it is let go
        self.slots.append(slot)
        self.held += self.size
        return slot

    def _side_stream(self) -> torch.cuda.Stream:
        self.side = self.side or _stream_on(self.device)
        return self.side

    def _new(self, size: int) -> Tensor:
        return torch.empty(size, dtype=torch.uint8, device=self.device)


@dataclass(frozen=True, slots=True)
class _Part:
    """A module and the weights that come and go with it."""

    module: nn.Module
    tensors: list[tuple[str, nn.Module, str, Tensor]]
    encloses: bool = False  # others run inside it, which have weights of their own


def _parts(module: nn.Module, budget: int, dtype: torch.dtype, prefix: str = "") -> Iterator[_Part]:
    """What a model's weights are divided into, each at most an eighth of the budget.

    Layers are not divided, and lists of modules always, since they are never called.
    """
    tensors = list(_tensors(module, prefix))
    size = sum(_aligned(tensor.numel() * dtype.itemsize) for *_, tensor in tensors)
    children = list(module.named_children())
    is_list = isinstance(module, nn.ModuleList | nn.ModuleDict)
    if not children or (size <= budget // 8 and not is_list and prefix):
        if tensors:
            yield _Part(module, tensors)
        return
    own = [entry for entry in tensors if entry[1] is module]
    if own:
        yield _Part(module, own, encloses=True)
    for name, child in children:
        yield from _parts(child, budget, dtype, f"{prefix}{name}.")


def _tensors(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """The weights in a tree of modules: name, owner, the owner's name for it, tensor."""
    for name, tensor in module.state_dict(keep_vars=True).items():
        path, _, key = name.rpartition(".")
        yield f"{prefix}{name}", module.get_submodule(path), key, tensor


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def _stream_on(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
