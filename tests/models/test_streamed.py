"""A streamed model computes what the plain one does, in little memory."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphdiff.models import AutoencoderKL
from graphdiff.models.streamed import DoesNotFitError, streamed, streamed_bytes

WIDTH = 16
LAYER = 4 * (WIDTH * WIDTH + WIDTH)  # bytes of one linear layer, a multiple of 64


class Chain(nn.Module):
    """Layers in a list that is never called, and a weight of the module's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(6))
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.shift: Tensor
        self.register_buffer("shift", torch.full((WIDTH,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        scaled: Tensor = self.scale * x + self.shift
        return scaled


class Weights:
    """Reads the weights of a model, and counts how often."""

    def __init__(self, model: nn.Module) -> None:
        self.state = dict(model.state_dict())
        self.reads: Counter[str] = Counter()

    def __call__(self, name: str) -> Tensor:
        self.reads[name] += 1
        found: Tensor = self.state[name]
        return found


def pair(budget: int, **options: Any) -> tuple[Chain, Chain, Weights]:
    torch.manual_seed(0)
    plain = Chain().eval().requires_grad_(False)
    read = Weights(plain)
    with torch.device("meta"):
        empty = Chain()
    made = streamed(empty, read, device="cpu", budget=budget, dtype=torch.float32, **options)
    return plain, made, read


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("layers", [1, 2, 3, 5, 6])
def test_it_computes_the_same_and_never_holds_more_than_its_budget(layers: int, slots: int) -> None:
    budget = layers * LAYER + 2 * 64
    plain, made, _ = pair(budget, slots=slots)
    held: list[int] = []
    for layer in made.layers:
        layer.register_forward_hook(lambda *_: held.append(streamed_bytes(made)))
    x = torch.randn(3, WIDTH)
    for _ in range(3):
        assert torch.equal(made(x), plain(x))
    assert max(held) <= budget


def test_what_fits_stays_and_the_rest_is_brought_each_time() -> None:
    _, made, read = pair(4 * LAYER + 2 * 64)
    for _ in range(5):
        made(torch.randn(1, WIDTH))
    times = [read.reads[f"layers.{i}.weight"] for i in range(6)]
    assert sorted(times) == [1, 1, 1, 5, 5, 5]
    assert read.reads["scale"] == read.reads["shift"] == 1  # layers run inside of their module


def test_the_next_block_is_brought_while_one_runs_once_the_order_is_known() -> None:
    _, made, read = pair(2 * LAYER + 2 * 64, slots=2)
    before: list[int] = []
    made.layers[1].register_forward_hook(lambda *_: before.append(read.reads["layers.2.weight"]))
    made(torch.randn(1, WIDTH))
    made(torch.randn(1, WIDTH))
    assert before == [0, 2]


def test_it_holds_nothing_before_it_is_called_and_no_weights_after() -> None:
    _, made, _ = pair(LAYER + 2 * 64)
    assert streamed_bytes(made) == 0
    made(torch.randn(1, WIDTH))
    assert all(layer.weight.is_meta for layer in made.layers)


def test_a_layer_that_does_not_fit_is_refused_with_what_it_takes() -> None:
    with pytest.raises(DoesNotFitError, match=f"{LAYER + 128:,} bytes"):
        pair(LAYER)


def test_threads_take_turns() -> None:
    plain, made, _ = pair(LAYER + 2 * 64)
    xs = [torch.randn(2, WIDTH) for _ in range(8)]
    found: dict[int, Tensor] = {}

    def work(i: int) -> None:
        for _ in range(20):
            found[i] = made(xs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[i], plain(x)) for i, x in enumerate(xs))


def test_after_a_failure_it_runs_again() -> None:
    plain, made, read = pair(LAYER + 2 * 64)
    lost = read.state.pop("layers.3.weight")
    x = torch.randn(1, WIDTH)
    with pytest.raises(KeyError, match=r"layers\.3\.weight"):
        made(x)
    with pytest.raises(RuntimeError):
        made(torch.randn(1, WIDTH + 1))
    read.state["layers.3.weight"] = lost
    assert torch.equal(made(x), plain(x))


def test_after_an_interrupt_other_threads_can_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, made, _ = pair(LAYER + 2 * 64)
    x = torch.randn(1, WIDTH)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.functional.linear", interrupt)  # while a block runs
        with pytest.raises(KeyboardInterrupt):
            made(x)
    found: list[Tensor] = []
    other = threading.Thread(target=lambda: found.append(made(x)), daemon=True)
    other.start()
    other.join(10)
    assert found
    assert torch.equal(found[0], plain(x))


def test_what_could_not_be_read_is_not_counted() -> None:
    _, made, read = pair(4 * LAYER + 2 * 64)
    lost = read.state.pop("layers.1.weight")
    x = torch.randn(1, WIDTH)
    for _ in range(3):
        with pytest.raises(KeyError):
            made(x)
    read.state["layers.1.weight"] = lost
    made(x)
    assert streamed_bytes(made) <= 4 * LAYER + 2 * 64


def test_a_model_that_is_never_called_itself_is_streamed_too() -> None:
    config = {
        "_class_name": "AutoencoderKL",
        "block_out_channels": (32, 64),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    }
    torch.manual_seed(0)
    plain = AutoencoderKL.from_config(config).eval().requires_grad_(False)
    with torch.device("meta"):
        empty = AutoencoderKL.from_config(config)
    size = sum(4 * parameter.numel() for parameter in plain.parameters())
    made = streamed(
        empty, Weights(plain), device="cpu", budget=size // 4, dtype=torch.float32
    ).requires_grad_(False)
    latents = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        assert torch.equal(made.decode(latents).sample, plain.decode(latents).sample)
    assert streamed_bytes(made) <= size // 4
    assert made.device == torch.device("cpu")


class Tied(Chain):
    """Two layers with one weight, and a buffer that no file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.layers[4].weight = self.layers[1].weight
        self.places: Tensor
        self.register_buffer("places", torch.arange(WIDTH), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x) + self.places
        return y


def test_weights_that_are_tied_and_buffers_that_are_in_no_file_are_right() -> None:
    torch.manual_seed(0)
    plain = Tied().eval().requires_grad_(False)
    with torch.device("meta"):
        empty = Tied()
    empty.places = torch.arange(WIDTH)
    budget = 2 * LAYER + 2 * 64
    made = streamed(empty, Weights(plain), device="cpu", budget=budget, dtype=torch.float32)
    x = torch.randn(3, WIDTH)
    for _ in range(2):
        assert torch.equal(made(x), plain(x))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_computes_the_same_in_two_buffers() -> None:
    torch.manual_seed(0)
    plain = Chain().eval().requires_grad_(False)
    with torch.device("meta"):
        empty = Chain()
    budget = 3 * LAYER + 2 * 64
    made = streamed(empty, Weights(plain), device="cuda", budget=budget, dtype=torch.float32)
    plain = plain.cuda()
    for _ in range(10):
        x = torch.randn(3, WIDTH, device="cuda")
        torch.testing.assert_close(made(x), plain(x))
    assert streamed_bytes(made) <= budget
