"""The training loop that every piece shares: mixed precision, moving average, resume, log."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from graphdiff.checkpoints.weight_files import write_tensors

Weights = list[dict[str, Tensor]]
"""A state dict for each module of a task, in the task's order."""


class Task(Protocol):
    """Something to train."""

    @property
    def modules(self) -> Sequence[nn.Module]:
        """What learns; the loop moves it to the device and to its precision."""
        ...

    def loss(self, rng: np.random.Generator) -> Tensor:
        """Draw a batch and give the mean loss over it; the loop goes down its gradient."""
        ...

    def save(self, weights: Weights, folder: Path) -> None:
        """Write the averaged weights as a checkpoint, and a sample grid, into `folder`."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """How a task is trained.

    Attributes:
        out: Folder of the run: log, state to resume from, checkpoint.
        minutes: Wall-clock length in all, resumed parts included; the learning rate follows it.
        lr: Highest learning rate, reached after `warmup` steps, then down a cosine.
        floor: Lowest learning rate as a part of the highest.
        batch: Pictures a step and process.
        warmup: Steps of rising learning rate, also after a resume.
        decay: Weight decay.
        ema: Keep rate of the moving average, a step.
        processes: How many work side by side on a CPU; each has one thread.
        sync: Steps between two averagings of the processes' weights.
        save_minutes: Between two checkpoints.
        compile: Whether tasks compile their networks.
        seed: Start of all random numbers.
    """

    out: Path
    minutes: float
    lr: float
    floor: float = 0.02
    batch: int = 32
    warmup: int = 100
    decay: float = 1e-2
    ema: float = 0.998
    processes: int = 2
    sync: int = 8
    save_minutes: float = 5.0
    compile: bool = False
    seed: int = 0


R = TypeVar("R", bound=Run)


def device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found or torch.device("cpu")


def layout() -> torch.memory_format:
    """How pictures lie in memory: a CPU's group norm is several times slower channels last."""
    return torch.contiguous_format if device().type == "cpu" else torch.channels_last


def train(run: R, make: Callable[[R], Task]) -> None:
    """Train until `run.minutes` have been spent, going on from `run.out` if it has a state.

    Args:
        run: The recipe.
        make: Builds the task inside each process; a module-level function.
    """
    run.out.mkdir(parents=True, exist_ok=True)
    processes = run.processes if device().type == "cpu" else 1
    if processes == 1:
        _worker(0, run, make, 1, "")
        return
    # Two processes of one thread share a busy machine better than two threads of one process:
    # nobody waits for the other inside an operator.
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        arguments = (run, make, processes, meeting)
        spawn(_worker, args=arguments, nprocs=processes)  # type: ignore[no-untyped-call]


def _worker(rank: int, run: R, make: Callable[[R], Task], world: int, meeting: str) -> None:
    if device().type == "cpu" and world > 1:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    # Else plain attention in bfloat16 computes in float32, which takes a twelfth of a step.
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    torch.manual_seed(run.seed)
    task = make(run)
    learner = Learner(task.modules, lr=run.lr, decay=run.decay, ema=run.ema)
    state = run.out / "state.safetensors"
    done = learner.load(state) if state.exists() else 0.0
    # Ranks and parts of a resumed run must draw different batches.
    torch.manual_seed(run.seed + 1000 * rank + learner.steps)
    rng = np.random.default_rng([run.seed, rank, learner.steps])
    if rank == 0:
        _lead(run, task, learner, rng, done, world)
    else:
        while (share := _share(run, 0.0, world)) < 1:
            _steps(run, task, learner, rng, share, world)
    if world > 1:
        dist.destroy_process_group()


def _lead(
    run: Run, task: Task, learner: Learner, rng: np.random.Generator, done: float, world: int
) -> None:
    """The first process: it also keeps time, log, bar and checkpoints."""
    start, saved, first = time.monotonic(), done, learner.steps
    progress = Progress(
        TextColumn("step {task.fields[step]}  loss {task.fields[loss]:.4f}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with progress, (run.out / "log.jsonl").open("a", encoding="utf-8") as log:
        bar = progress.add_task("", total=1.0, step=learner.steps, loss=math.nan)
        while True:
            spent = done + (time.monotonic() - start) / 60
            share = _share(run, spent / run.minutes, world)
            if share >= 1:
                break
            loss, norm = _steps(run, task, learner, rng, share, world)
            progress.update(bar, completed=share, step=learner.steps, loss=loss)
            if (learner.steps - first) % (5 * run.sync) == 0:
                line = {
                    "step": learner.steps,
                    "samples": learner.samples,
                    "minutes": round(spent, 3),
                    "loss": round(loss, 5),
                    "gradient": round(norm, 3),
                }
                log.write(json.dumps(line) + "\n")
                log.flush()
            if spent - saved >= run.save_minutes:
                saved = spent
                learner.save(run.out / "state.safetensors", spent)
                task.save(learner.averaged(), run.out)
        learner.save(run.out / "state.safetensors", spent)
        task.save(learner.averaged(), run.out)


def _share(run: Run, share: float, world: int) -> float:
    """How much of the run is over, as the first process says."""
    if world == 1:
        return share
    box = torch.tensor([share], dtype=torch.float64)
    dist.broadcast(box, 0)
    return float(box)


def _steps(
    run: Run, task: Task, learner: Learner, rng: np.random.Generator, share: float, world: int
) -> tuple[float, float]:
    """`run.sync` steps on this process's own weights, then the mean over the processes."""
    losses: list[Tensor] = []
    norm = torch.zeros(())
    for _ in range(run.sync):
        rise = min(1.0, (learner.taken + 1) / run.warmup)
        fall = run.floor + (1 - run.floor) * 0.5 * (1 + math.cos(math.pi * share))
        loss = task.loss(rng)
        torch.autograd.backward(loss)
        losses.append(loss.detach())
        norm = learner.step(run.lr * rise * fall)
        learner.samples += run.batch * world
    if world > 1:
        learner.mean(world)
    learner.average(run.sync)
    return float(torch.stack(losses).mean()), float(norm)


class Learner:
    """Weights in bfloat16 that compute, in float32 that learn, and their moving average.

    The float32 ones lie in one flat tensor: one fused optimizer call, one exchange.
    """

    def __init__(
        self, modules: Sequence[nn.Module], *, lr: float, decay: float, ema: float
    ) -> None:
        self._modules = modules
        where = device()
        for module in modules:
            module.to(where)
        self._parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self._flat = nn.Parameter(
            torch.cat([p.detach().float().reshape(-1) for p in self._parameters])
        )
        self._flat.grad = torch.zeros_like(self._flat)
        self._masters = self._split(self._flat.detach())
        self._gradients = self._split(self._flat.grad)
        self._average = self._flat.detach().clone()
        for module in modules:
            module.to(torch.bfloat16)
            module.to(memory_format=layout())  # type: ignore[call-overload]
        self._optimizer = torch.optim.AdamW(
            [self._flat], lr=lr, betas=(0.9, 0.99), weight_decay=decay, fused=True
        )
        self._ema = ema
        self.steps = 0
        """Steps in all, resumed parts included."""
        self.taken = 0
        """Steps since this learner was made."""
        self.samples = 0
        """Samples seen by all processes, resumed parts included."""

    def _split(self, flat: Tensor) -> list[Tensor]:
        pieces = torch.split(flat, [p.numel() for p in self._parameters])
        return [piece.view(p.shape) for piece, p in zip(pieces, self._parameters, strict=True)]

    @torch.no_grad()
    def step(self, lr: float) -> Tensor:
        """Go down the gradient that lies in the modules, clipped to norm 1; gives the norm."""
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            if parameter.grad is None:
                gradient.zero_()
            else:
                gradient.copy_(parameter.grad)
                parameter.grad = None
        assert self._flat.grad is not None
        norm: Tensor = torch.linalg.vector_norm(self._flat.grad)
        self._flat.grad.mul_((1 / (norm + 1e-6)).clamp(max=1.0))
        self._optimizer.param_groups[0]["lr"] = lr
        self._optimizer.step()
        self._publish()
        self.steps += 1
        self.taken += 1
        return norm

    @torch.no_grad()
    def _publish(self) -> None:
        torch._foreach_copy_(list[Tensor](self._parameters), self._masters)

    @torch.no_grad()
    def mean(self, world: int) -> None:
        """Make the weights of all processes their mean."""
        dist.all_reduce(self._flat.detach())
        self._flat.detach().div_(world)
        self._publish()

    @torch.no_grad()
    def average(self, steps: int) -> None:
        """Move the average as `steps` single moves would; faster while the run is young."""
        keep = min(self._ema, (1 + self.steps) / (10 + self.steps)) ** steps
        self._average.lerp_(self._flat.detach(), 1 - keep)

    def averaged(self) -> Weights:
        """Float32 state dicts of the modules, on the CPU, with the averaged weights."""
        pieces = iter(self._split(self._average))
        weights: Weights = []
        for module in self._modules:
            learned = {n for n, p in module.named_parameters() if p.requires_grad}
            by_name = {n: next(pieces) for n, _ in module.named_parameters() if n in learned}
            state = {**module.state_dict(), **by_name}
            weights.append(
                {n: t.detach().cpu().float().contiguous().clone() for n, t in state.items()}
            )
        return weights

    def save(self, path: Path, minutes: float) -> None:
        """Write all that a resumed run needs; readers never see half a file."""
        moments = self._optimizer.state[self._flat]
        tensors = {
            "weights": self._flat.detach(),
            "average": self._average,
            "first": moments["exp_avg"],
            "second": moments["exp_avg_sq"],
        }
        counts = {"steps": self.steps, "samples": self.samples, "minutes": minutes}
        write_tensors(tensors, path, {key: str(value) for key, value in counts.items()})

    def load(self, path: Path) -> float:
        """Take up a saved state; gives the minutes that were spent on it."""
        from safetensors import safe_open

        tensors = load_file(path)
        if tensors["weights"].shape != self._flat.shape:
            raise ValueError(
                f"{path}: holds {tensors['weights'].numel()} weights, the model has "
                f"{self._flat.numel()}; give another --out, or the recipe it was made by"
            )
        with torch.no_grad():
            self._flat.copy_(tensors["weights"])
            self._average.copy_(tensors["average"])
        with safe_open(path, "pt") as file:
            metadata: dict[str, Any] = file.metadata()
        self.steps, self.samples = int(metadata["steps"]), int(metadata["samples"])
        self._optimizer.state[self._flat] = {
            "step": torch.tensor(float(self.steps)),
            "exp_avg": tensors["first"].to(self._flat.device),
            "exp_avg_sq": tensors["second"].to(self._flat.device),
        }
        self._publish()
        return float(metadata["minutes"])
