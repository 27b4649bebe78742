"""A graphed model computes what the plain one does; on the CPU by a recorder that calls again."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphdiff import pressure
from graphdiff.models import ControlNetModel, UNet2DConditionModel, UNet2DModel
from graphdiff.models import graphed as module
from graphdiff.models.graphed import graphed, let_graphs_go
from tests.models.reference import COMMON, UNETS, randomise, unet_inputs


class Recording:
    """Work that is done again on the same inputs, its results written to the same outputs."""

    def __init__(self, recorder: Recorder, work: Callable[[], Any]) -> None:
        self.recorder, self.work = recorder, work
        self.outputs = work()
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        self.recorder.said.append("replay")
        with torch.inference_mode(False), torch.no_grad():  # as it was captured
            for old, new in zip(leaves(self.outputs), leaves(self.work()), strict=True):
                old.copy_(new)


class Mark:
    def __init__(self, recorder: Recorder, number: int) -> None:
        self.recorder, self.number = recorder, number

    def wait(self) -> None:
        self.recorder.said.append(f"wait {self.number}")

    def follow(self) -> None:
        self.recorder.said.append(f"follow {self.number}")


class Recorder:
    """Stands for a device."""

    def __init__(self) -> None:
        self.recordings: list[weakref.ref[Recording]] = []
        self.made: list[tuple[Recording | None, bool]] = []
        self.failures: list[Exception] = []
        self.said: list[str] = []
        self.marks = 0
        self.trimmed: list[int] = []  # how many recordings were alive each time
        self.recording = False

    def is_recording(self) -> bool:
        return self.recording

    def record(self, work: Callable[[], Any], beside: Any) -> Recording:
        self.made.append((None, beside is not None))
        if self.failures:
            raise self.failures.pop(0)
        made = Recording(self, work)
        self.recordings.append(weakref.ref(made))
        return made

    def mark(self) -> Mark:
        self.marks += 1
        return Mark(self, self.marks)

    def trim(self) -> None:
        self.trimmed.append(self.alive)

    @property
    def alive(self) -> int:
        return sum(recording() is not None for recording in self.recordings)


def leaves(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)


class Net(nn.Module):
    """Multiplies by a weight, adds the time, and counts how often it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0), requires_grad=False)
        self.calls = 0

    def forward(self, x: Tensor, timestep: Any = 0.0, *, more: Any = None) -> Any:
        self.calls += 1
        y = x * self.weight + timestep
        return (y, [more["a"] - 1]) if more else y


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(module, "Cuda", lambda: made)
    return made


def test_the_first_call_is_plain_the_second_captured_and_later_ones_replayed(
    recorder: Recorder,
) -> None:
    net = Net()
    fast = graphed(net)
    for i in range(5):
        x = torch.full((2, 3), float(i))
        assert torch.equal(fast(x), 3 * x)
        assert len(recorder.made) == (i > 0)
    (recording,) = (ref() for ref in recorder.recordings)
    assert recording is not None
    assert recording.replays == 4


def test_outputs_are_the_callers_own(recorder: Recorder) -> None:
    fast = graphed(Net())
    found = [fast(torch.full((2,), float(i))) for i in range(6)]
    assert [float(each[0]) for each in found] == [0, 3, 6, 9, 12, 15]


def test_inputs_are_left_alone_and_read_at_each_call(recorder: Recorder) -> None:
    fast = graphed(Net())
    x = torch.ones(2)
    for _ in range(3):
        fast(x)
    x.mul_(5)
    assert torch.equal(fast(x), torch.full((2,), 15.0))
    assert torch.equal(x, torch.full((2,), 5.0))


def test_trees_of_tensors_go_in_and_come_out(recorder: Recorder) -> None:
    fast = graphed(Net())
    for i in range(4):
        y, (z,) = fast(torch.ones(2), more={"a": torch.full((3,), float(i))})
        assert torch.equal(y, torch.full((2,), 3.0))
        assert torch.equal(z, torch.full((3,), i - 1.0))
    assert len(recorder.made) == 1


def test_shapes_dtypes_and_plain_values_each_have_a_graph(recorder: Recorder) -> None:
    fast = graphed(Net())
    calls: list[tuple[Tensor, Any]] = [
        (torch.ones(2), None),
        (torch.ones(3), None),
        (torch.ones(2, dtype=torch.float64), None),
        (torch.ones(2), {"a": torch.ones(1), "b": 1}),
        (torch.ones(2), {"a": torch.ones(1), "b": 1.0}),
    ]
    for _ in range(3):
        for x, more in calls:
            fast(x, more=more)
    assert len(recorder.made) == len(calls)


def test_a_time_that_is_a_number_does_not_make_a_graph_for_each(recorder: Recorder) -> None:
    fast = graphed(Net())
    for time in (900, 12.5, 0, torch.tensor(3.0)):
        for given in ((time,), ()):
            options = {} if given else {"timestep": time}
            assert torch.equal(fast(torch.ones(1), *given, **options), torch.ones(1) * 3 + time)
    assert len(recorder.made) == 2  # by place, and by name


def test_what_cannot_be_hashed_or_wants_a_gradient_runs_as_ever(recorder: Recorder) -> None:
    net = Net()
    fast = graphed(net)
    for _ in range(3):
        fast(torch.ones(1), more={"a": torch.ones(1), "b": {1, 2}})
    x = torch.ones(1, requires_grad=True)
    for _ in range(3):
        fast(x).backward()
    assert float(x.grad) == 9  # type: ignore[arg-type]
    assert not recorder.made
    assert net.calls == 6


def test_inside_of_another_capture_or_under_autocast_it_runs_as_ever(recorder: Recorder) -> None:
    fast = graphed(Net())
    with torch.autocast("cpu"):
        for _ in range(3):
            fast(torch.ones(1))
    recorder.recording = True
    for _ in range(3):
        fast(torch.ones(1))
    assert not recorder.made


def test_what_was_captured_in_inference_mode_serves_outside_and_the_other_way(
    recorder: Recorder,
) -> None:
    fast = graphed(Net())
    for mode in (True, True, False, True, False):
        with torch.inference_mode(mode):
            x = torch.ones(2)
            y = fast(x)
        assert torch.equal(y, torch.full((2,), 3.0))
    assert len(recorder.made) == 1


def test_the_host_is_at_most_two_passes_ahead(recorder: Recorder) -> None:
    fast = graphed(Net())
    for _ in range(6):
        fast(torch.ones(1))
    assert recorder.said == [
        *("replay", "follow 1", "replay", "follow 2", "wait 1", "replay"),
        *("follow 3", "wait 2", "replay", "follow 4", "wait 3", "replay"),
    ]


def test_the_graph_used_longest_ago_leaves_once_it_has_run(recorder: Recorder) -> None:
    fast = graphed(Net())
    for size in (*range(1, 9), 1, 9):  # eight graphs, the first of them used again, then a ninth
        fast(torch.ones(size))
        fast(torch.ones(size))
    assert recorder.alive == 8
    assert recorder.trimmed == [7]
    assert recorder.said[-4:] == ["wait 10", "follow 10", "wait 9", "replay"]
    before = len(recorder.made)
    fast(torch.ones(1))
    assert len(recorder.made) == before
    fast(torch.ones(2))
    assert len(recorder.made) == before + 1


def test_graphs_of_a_model_share_their_memory_and_never_with_one_that_is_gone(
    recorder: Recorder,
) -> None:
    fast = graphed(Net())
    for size in (1, 2):
        fast(torch.ones(size))
        fast(torch.ones(size))
    assert [shares for _, shares in recorder.made] == [False, True]
    let_graphs_go(fast)
    for _ in range(2):
        fast(torch.ones(1))
    assert [shares for _, shares in recorder.made] == [False, True, False]


@pytest.mark.parametrize("hidden", [False, True])
def test_when_memory_runs_out_in_a_capture_all_graphs_go_and_that_call_stays_plain(
    hidden: bool, recorder: Recorder
) -> None:
    net = Net()
    fast = graphed(net)
    for _ in range(2):
        fast(torch.ones(1))
    recorder.failures.append(torch.OutOfMemoryError("CUDA out of memory"))
    if hidden:  # as torch tells it where the capture cannot be ended after that
        hiding = RuntimeError("capture was invalidated")
        hiding.__context__ = recorder.failures.pop()
        recorder.failures.append(hiding)
        del hiding
    for _ in range(4):
        assert torch.equal(fast(torch.ones(2)), torch.full((2,), 3.0))
    assert recorder.trimmed == [0]
    assert len(recorder.made) == 2
    for _ in range(2):
        fast(torch.ones(1))
    assert len(recorder.made) == 3


def test_what_cannot_be_captured_runs_as_ever_and_says_so_once(recorder: Recorder) -> None:
    fast = graphed(Net())
    recorder.failures += [RuntimeError("operation not permitted"), RuntimeError("nor this")]
    fast(torch.ones(1))
    with pytest.warns(RuntimeWarning, match=r"Net cannot be captured .* operation not permitted"):
        fast(torch.ones(1))
    for size in (1, 2, 2, 2):
        assert torch.equal(fast(torch.ones(size)), torch.full((size,), 3.0))
    assert len(recorder.made) == 2


def test_it_says_what_failed_and_not_only_that_the_capture_did(recorder: Recorder) -> None:
    fast = graphed(Net())
    failure = RuntimeError("operation failed due to a previous error during capture")
    failure.__context__ = RuntimeError("operation would wait for the device")
    recorder.failures.append(failure)
    fast(torch.ones(1))
    with pytest.warns(RuntimeWarning, match="previous error .* would wait for the device"):
        fast(torch.ones(1))


def test_under_pressure_graphs_go_and_come_back_but_not_for_ever(recorder: Recorder) -> None:
    fast = graphed(Net())
    gave = []
    for _ in range(5):
        for _ in range(3):
            fast(torch.ones(1))
        gave.append(pressure.relieve())
        assert recorder.alive == 0
    assert gave == [True, True, True, False, False]


def test_a_thread_captures_only_what_it_has_run_itself(recorder: Recorder) -> None:
    fast = graphed(Net())
    fast(torch.ones(1))
    other = threading.Thread(target=lambda: fast(torch.ones(1)))
    other.start()
    other.join()
    assert not recorder.made
    fast(torch.ones(1))
    assert len(recorder.made) == 1


def test_nor_what_another_ran_that_has_ended_and_left_it_its_number(recorder: Recorder) -> None:
    fast = graphed(Net())
    numbers: list[int] = []

    def call() -> None:
        numbers.append(threading.get_ident())
        fast(torch.ones(1))

    for _ in range(50):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        if len(set(numbers)) < len(numbers):
            break
    assert len(set(numbers)) < len(numbers), "no number came twice, which proves nothing"
    assert not recorder.made


def test_threads_do_not_mix_their_results(recorder: Recorder) -> None:
    fast = graphed(Net())
    wrong: list[float] = []

    def work(i: int) -> None:
        for k in range(50):
            y = fast(torch.full((3,), float(i * 100 + k)))
            if not torch.equal(y, torch.full((3,), 3.0 * (i * 100 + k))):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_model_that_is_let_go_takes_its_graphs_along_at_once(recorder: Recorder) -> None:
    fast = graphed(Net())
    for _ in range(3):
        fast(torch.ones(1))
    gc.disable()
    try:
        del fast
        assert recorder.alive == 0
    finally:
        gc.enable()


def test_it_keeps_the_models_interface_and_leaves_the_model_as_it_is(recorder: Recorder) -> None:
    plain = UNet2DConditionModel.from_config(COMMON)
    fast = graphed(plain)
    assert isinstance(fast, UNet2DConditionModel)
    assert (fast.config, fast.dtype, fast.device) == (plain.config, plain.dtype, plain.device)
    assert fast.conv_in is plain.conv_in
    assert "forward" not in plain.__dict__


@pytest.mark.parametrize("family", ["sd1", "sdxl", "lcm", "upscale"])
def test_a_unet_predicts_the_same(family: str, recorder: Recorder) -> None:
    config = COMMON | UNETS[family]
    plain = randomise(UNet2DConditionModel.from_config(config)).requires_grad_(False)
    fast = graphed(plain)
    for height in (16, 8, 16, 16, 8):
        inputs = unet_inputs(config, height=height)
        assert torch.equal(fast(**inputs).sample, plain(**inputs).sample)
    assert len(recorder.made) == 2


on_a_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def to_gpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: to_gpu(each) for key, each in value.items()}
    return value.cuda() if isinstance(value, Tensor) else value


class TestOnAGpu:
    pytestmark = on_a_gpu

    @pytest.mark.parametrize("family", list(UNETS))
    def test_a_unet_predicts_the_same_at_several_shapes(self, family: str) -> None:
        config = COMMON | UNETS[family]
        plain = randomise(UNet2DConditionModel.from_config(config)).requires_grad_(False).cuda()
        fast = graphed(plain)
        for height, batch in ((16, 2), (8, 2), (16, 1)) * 4:
            inputs = to_gpu(unet_inputs(config, batch=batch, height=height))
            found, wanted = fast(**inputs).sample, plain(**inputs).sample
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)

    def test_a_controlnet_and_a_unet_without_text_predict_the_same(self) -> None:
        config = {k: v for k, v in COMMON.items() if k not in ("sample_size", "up_block_types")}
        net = randomise(ControlNetModel.from_config(config)).requires_grad_(False).cuda()
        inputs = to_gpu(unet_inputs(COMMON))
        inputs["controlnet_cond"] = torch.randn(2, 3, 128, 96, device="cuda")
        fast: Any = graphed(net)
        for _ in range(4):
            for found, wanted in zip(leaves(fast(**inputs)), leaves(net(**inputs)), strict=True):
                torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        unet = UNet2DModel.from_config(
            {
                "sample_size": 16,
                "block_out_channels": (32, 64),
                "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
                "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
                "norm_num_groups": 8,
            }
        )
        unet = randomise(unet).requires_grad_(False).cuda()
        fast = graphed(unet)
        x = torch.randn(2, 3, 16, 16, device="cuda")
        for time in (900.0, 500, 20, 1):
            torch.testing.assert_close(
                fast(x, time).sample, unet(x, time).sample, atol=1e-4, rtol=1e-4
            )

    @pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # torch's own
    def test_a_replay_waits_for_nothing_on_the_device(self) -> None:
        plain = randomise(UNet2DConditionModel.from_config(COMMON)).requires_grad_(False).cuda()
        fast = graphed(plain)
        inputs = to_gpu(unet_inputs(COMMON))
        for _ in range(3):
            fast(**inputs)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(5):
                fast(**inputs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def test_other_threads_copy_and_give_memory_back_while_it_is_captured(self) -> None:
        plain = randomise(UNet2DConditionModel.from_config(COMMON)).requires_grad_(False).cuda()
        stop = threading.Event()
        failed: list[BaseException] = []

        def copies() -> None:
            try:
                while not stop.is_set():
                    pinned = torch.ones(1 << 18, pin_memory=True)
                    there = pinned.to("cuda", non_blocking=True)
                    torch.empty(1 << 20, device="cuda")
                    pressure.give_back()
                    assert float(there.sum().cpu()) == 1 << 18
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=copies)
        thread.start()
        try:
            for seed in range(5):
                fast = graphed(plain)
                for height in (8, 16, 24):
                    inputs = to_gpu(unet_inputs(COMMON, batch=1 + seed, height=height))
                    for _ in range(3):
                        found = fast(**inputs).sample
                    torch.testing.assert_close(found, plain(**inputs).sample, atol=1e-4, rtol=1e-4)
        finally:
            stop.set()
            thread.join()
        assert not failed

    def test_a_thread_that_is_new_runs_and_captures_as_the_first_one_did(self) -> None:
        plain = randomise(UNet2DConditionModel.from_config(COMMON)).requires_grad_(False).cuda()
        fast = graphed(plain)
        failed: list[BaseException] = []

        def calls(height: int) -> None:
            try:
                inputs = to_gpu(unet_inputs(COMMON, height=height))
                for _ in range(3):
                    found = fast(**inputs).sample
                torch.testing.assert_close(found, plain(**inputs).sample, atol=1e-4, rtol=1e-4)
            except BaseException as error:
                failed.append(error)

        for height in (8, 16, 8, 16, 24):
            thread = threading.Thread(target=calls, args=(height,))
            thread.start()
            thread.join()
        assert not failed

    def test_memory_comes_back_when_graphs_or_the_model_go(self) -> None:
        plain = randomise(UNet2DConditionModel.from_config(COMMON)).requires_grad_(False).cuda()
        inputs = to_gpu(unet_inputs(COMMON, batch=8, height=64))

        def reserved() -> int:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            return torch.cuda.memory_reserved()

        for _ in range(2):  # what libraries keep for themselves is there from the second time on
            before = reserved()
            fast = graphed(plain)
            for _ in range(3):
                fast(**inputs)
            during = reserved()
            let_graphs_go(fast)
            without = reserved()
            for _ in range(3):
                fast(**inputs)
            del fast
            after = reserved()
        assert before < during
        assert without <= before
        assert after <= before

    def test_a_pass_that_cannot_be_captured_leaves_the_device_in_order(self) -> None:
        class Waits(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(1), requires_grad=False)

            def forward(self, x: Tensor) -> Tensor:
                return x * float(x.sum().item())

        fast = graphed(Waits().cuda())
        stream = torch.cuda.current_stream()
        x = torch.ones(2, device="cuda")
        fast(x)
        with pytest.warns(RuntimeWarning, match="cannot be captured"):
            found = fast(x)
        assert torch.cuda.current_stream() == stream
        assert torch.equal(found.cpu(), torch.full((2,), 2.0))
        assert torch.equal(fast(x + 1).cpu(), torch.full((2,), 8.0))
        torch.cuda.empty_cache()  # torch 2.11 would take the capture to go on, and fail
        plain = randomise(UNet2DConditionModel.from_config(COMMON)).requires_grad_(False).cuda()
        unet = graphed(plain)
        inputs = to_gpu(unet_inputs(COMMON))
        for _ in range(3):  # without a warning, which would be an error
            found = unet(**inputs).sample
        torch.testing.assert_close(found, plain(**inputs).sample, atol=1e-4, rtol=1e-4)
