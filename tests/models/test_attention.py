"""Attention at the sizes of real models, by the kernels that torch has for them on a GPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend

# Heads, their width, pixels, and tokens of a text (None: to the pixels themselves).
SIZES = {
    "SD 1.5, 64x64, to itself": (8, 40, 4096, None),
    "SD 1.5, 64x64, to a text": (8, 40, 4096, 77),
    "SD 1.5, 32x32, to a text": (8, 80, 1024, 77),
    "SD 1.5, 8x8, to itself": (8, 160, 64, None),
    "SD 1.5, 8x8, to a text": (8, 160, 64, 77),
    "SDXL, 64x64, to itself": (10, 64, 4096, None),
    "SDXL, 32x32, to a text": (20, 64, 1024, 77),
    "SDXL, 32x32, to two chunks": (20, 64, 1024, 154),
    "odd sides": (20, 64, 33 * 31, 77),
    "a decoder, 64x64": (1, 512, 4096, None),
}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("size", SIZES)
def test_on_a_gpu_attention_is_right_and_keeps_no_scores(size: str) -> None:
    heads, width, pixels, text = SIZES[size]
    q, k, v = (
        torch.randn(2, length, heads, width, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
        for length in (pixels, text or pixels, text or pixels)
    )
    assert torch._fused_sdp_choice(q, k, v) != SDPBackend.MATH.value
    found = F.scaled_dot_product_attention(q, k, v).double()
    scores = q.double() @ k.double().transpose(-1, -2) / width**0.5
    torch.testing.assert_close(found, scores.softmax(-1) @ v.double(), atol=2e-2, rtol=2e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_text_attends_to_what_came_before_it_alone() -> None:
    q, k, v = (torch.randn(2, 12, 77, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    assert torch._fused_sdp_choice(q, k, v, is_causal=True) != SDPBackend.MATH.value
    found = F.scaled_dot_product_attention(q, k, v, is_causal=True).double()
    scores = q.double() @ k.double().transpose(-1, -2) / 8
    later = torch.ones(77, 77, device="cuda", dtype=torch.bool).triu(1)
    wanted = scores.masked_fill(later, -torch.inf).softmax(-1) @ v.double()
    torch.testing.assert_close(found, wanted, atol=2e-2, rtol=2e-2)
