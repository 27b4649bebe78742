"""A module of two layers, and weights for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEM = "diffusion_pytorch_model"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(3, 2)


def weights(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {name: torch.randn_like(tensor) for name, tensor in Net().state_dict().items()}


def meta() -> Net:
    """The module without memory."""
    with torch.device("meta"):
        return Net()
