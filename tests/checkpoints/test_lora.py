"""LoRA files in every format, held against the formula and against each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from graphdiff.checkpoints import ldm
from graphdiff.checkpoints.errors import CheckpointError
from graphdiff.checkpoints.handles import Checkpoint, LoRA
from graphdiff.checkpoints.lora import check_lora
from graphdiff.checkpoints.open import open_checkpoint, open_lora, weight_file
from graphdiff.checkpoints.pool import WeightsPool
from tests.checkpoints.originals import backwards

RANK, ALPHA, SCALE = 4, 2.0, 0.7
UNET_MODULES = (
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "down_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "down_blocks.1.attentions.0.proj_in",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
    "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_v",
)
CONVOLUTIONS = (
    "conv_in",
    "down_blocks.0.resnets.0.conv1",
    "down_blocks.0.downsamplers.0.conv",
    "up_blocks.0.resnets.1.conv_shortcut",
    "up_blocks.0.upsamplers.0.conv",
    "time_embedding.linear_1",
)
TEXT_MODULES = (
    "text_model.encoder.layers.0.self_attn.q_proj",
    "text_model.encoder.layers.1.self_attn.out_proj",
    "text_model.encoder.layers.1.mlp.fc1",
)
Changes = dict[str, tuple[Tensor, Tensor]]
Files = Mapping[str, Tensor]


def changes(modules: Mapping[str, Tensor], seed: int) -> Changes:
    """A random low-rank change of each module: down, and up."""
    generator = torch.Generator().manual_seed(seed)
    made: Changes = {}
    for name, weight in modules.items():
        down = torch.randn((RANK, *weight.shape[1:]), generator=generator)
        up = torch.randn((weight.shape[0], RANK, *[1] * (weight.ndim - 2)), generator=generator)
        made[name] = (down * 0.1, up * 0.1)
    return made


def expected(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """W + scale * alpha / rank * up @ down, the convolutions' product written as a convolution."""
    if weight.ndim == 4:
        return weight + scale * torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
    return weight + scale * torch.einsum("or,ri->oi", up, down)


def weights(folder: Path, part: str, modules: tuple[str, ...]) -> dict[str, Tensor]:
    (file,) = (folder / part).glob("*.safetensors")
    tensors = load_file(file)
    plain = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    return {name: plain[f"{name.removeprefix('text_model.')}.weight"] for name in modules}


def peft(unet: Changes, text: Changes) -> Files:
    files: dict[str, Tensor] = {}
    for part, made in (("unet", unet), ("text_encoder", text)):
        for name, (down, up) in made.items():
            files[f"{part}.{name}.lora_A.weight"] = down
            files[f"{part}.{name}.lora_B.weight"] = up
    return files


def old_diffusers(unet: Changes, text: Changes) -> Files:
    """The first format: attention processors, and projections by the UNet's names in both."""
    files: dict[str, Tensor] = {}
    for name, (down, up) in unet.items():
        if ".attn" not in name:
            files[f"unet.{name}.lora.down.weight"] = down
            files[f"unet.{name}.lora.up.weight"] = up
            continue
        module, leaf = name.removesuffix(".0").rsplit(".", 1)
        files[f"unet.{module}.processor.{leaf}_lora.down.weight"] = down
        files[f"unet.{module}.processor.{leaf}_lora.up.weight"] = up
    names = {"q_proj": "to_q_lora", "out_proj": "to_out_lora", "fc1": "fc1.lora_linear_layer"}
    for name, (down, up) in text.items():
        module, leaf = name.rsplit(".", 1)
        files[f"text_encoder.{module}.{names[leaf]}.down.weight"] = down
        files[f"text_encoder.{module}.{names[leaf]}.up.weight"] = up
    return files


def kohya(unet: Changes, text: Changes) -> Files:
    files: dict[str, Tensor] = {}
    for part, made in (("lora_unet", unet), ("lora_te", text)):
        for name, (down, up) in made.items():
            key = f"{part}_{name.replace('.', '_')}"
            files[f"{key}.lora_down.weight"] = down
            files[f"{key}.lora_up.weight"] = up
            files[f"{key}.alpha"] = torch.tensor(ALPHA)
    return files


@pytest.fixture
def checkpoint(sd1: Path) -> Checkpoint:
    return open_checkpoint(sd1, device="cpu")


def lora_of(files: Files, path: Path, metadata: dict[str, str] | None = None) -> LoRA:
    save_file({name: tensor.contiguous() for name, tensor in files.items()}, path, metadata)
    return LoRA(weight_file(path), SCALE)


@pytest.mark.parametrize(
    ("write", "scale"), [(peft, SCALE), (old_diffusers, SCALE), (kohya, SCALE * ALPHA / RANK)]
)
def test_every_format_adds_the_scaled_product_to_each_weight_and_to_no_other(
    write: Callable[[Changes, Changes], Files],
    scale: float,
    sd1: Path,
    checkpoint: Checkpoint,
    tmp_path: Path,
) -> None:
    unet_weights = weights(sd1, "unet", UNET_MODULES + CONVOLUTIONS)
    text_weights = weights(sd1, "text_encoder", TEXT_MODULES)
    unet, text = changes(unet_weights, 1), changes(text_weights, 2)
    lora = lora_of(write(unet, text), tmp_path / "lora.safetensors")
    assert checkpoint.text_encoder is not None
    found = check_lora(lora, unet=checkpoint.unet, text_encoder=checkpoint.text_encoder)
    assert len(found.deltas) == len(unet) + len(text)
    pool = WeightsPool()
    base = pool.module(checkpoint.unet).state_dict()
    patched = pool.module(checkpoint.unet.patched(lora)).state_dict()
    text_base = pool.module(checkpoint.text_encoder)[0].model.state_dict()
    text_patched = pool.module(checkpoint.text_encoder.patched(lora))[0].model.state_dict()
    for made, before, after in ((unet, base, patched), (text, text_base, text_patched)):
        for name, tensor in after.items():
            module = name.removesuffix(".weight")
            if module in made:
                wanted = expected(before[name], *made[module], scale)
                torch.testing.assert_close(tensor, wanted, atol=1e-6, rtol=1e-6)
                assert not torch.equal(tensor, before[name])
            else:
                assert tensor.data_ptr() == before[name].data_ptr(), f"{name} is not shared"


def test_patched_models_share_what_a_lora_leaves_alone_in_a_pool_that_packs_too(
    sd1: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    plain = WeightsPool().module(checkpoint.unet).state_dict()
    pool = WeightsPool(packs=True)
    packed = pool.module(checkpoint.unet)
    assert packed.state_dict().keys() < plain.keys()  # packed convolutions have left it
    picked = weights(sd1, "unet", UNET_MODULES)
    loras = [lora_of(peft(changes(picked, i), {}), tmp_path / f"{i}.safetensors") for i in (1, 2)]
    before = pool.bytes_on("cpu")
    made = [pool.module(checkpoint.unet.patched(lora)) for lora in loras]
    one, other = (module.state_dict() for module in made)
    differing = {name for name in one if one[name].data_ptr() != other[name].data_ptr()}
    packed_too = {"down_blocks.1.attentions.0.proj_in.weight"}  # a 1x1 convolution
    assert differing == {f"{name}.weight" for name in UNET_MODULES} - packed_too
    changed = sum(4 * picked[name].numel() for name in UNET_MODULES)
    assert pool.bytes_on("cpu") == before + 2 * changed
    sample, states = torch.randn(1, 4, 16, 16), torch.randn(1, 5, 32)
    with torch.no_grad():
        for lora, module in zip(loras, made, strict=True):
            wanted = WeightsPool().module(checkpoint.unet.patched(lora))(sample, 10, states).sample
            assert not torch.allclose(packed(sample, 10, states).sample, wanted, atol=1e-3)
            found = module(sample, 10, states).sample
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_a_streamed_model_is_patched_too(sd1: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    picked = weights(sd1, "unet", UNET_MODULES)
    lora = lora_of(peft(changes(picked, 1), {}), tmp_path / "1.safetensors")
    sample, states = torch.randn(1, 4, 16, 16), torch.randn(1, 5, 32)
    pool = WeightsPool(1_000_000)
    with torch.no_grad():
        found = pool.module(checkpoint.unet.patched(lora))(sample, 10, states).sample
        wanted = WeightsPool().module(checkpoint.unet.patched(lora))(sample, 10, states).sample
    assert torch.equal(found, wanted)
    assert pool.bytes_on("cpu") <= 1_000_000


def test_the_old_format_means_to_diffusers_what_it_means_here(
    sd1: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    attention = tuple(name for name in UNET_MODULES if ".attn" in name)
    made = changes(weights(sd1, "unet", attention), 3)
    theirs = convert_unet_state_dict_to_peft(dict(old_diffusers(made, {})))
    ours = check_lora(
        lora_of(old_diffusers(made, {}), tmp_path / "lora.safetensors"), unet=checkpoint.unet
    )
    assert {f"unet.{delta.module}.lora_A.weight" for delta in ours.deltas} == {
        name.replace(".processor", "") for name in theirs if "lora_A" in name
    }


def test_kohya_names_of_the_original_code_reach_the_modules_that_diffusers_says(
    sdxl: Path, tmp_path: Path
) -> None:
    """SDXL's trainers write `input_blocks_4_1_...`; text encoders are te1 and te2."""
    from diffusers.loaders.lora_conversion_utils import (
        _convert_non_diffusers_lora_to_diffusers,
        _maybe_map_sgm_blocks_to_diffusers,
    )

    checkpoint = open_checkpoint(sdxl, device="cpu")
    config = checkpoint.unet.config
    modules = tuple(name for name in UNET_MODULES + CONVOLUTIONS if "up_blocks.0.res" not in name)
    made = changes(weights(sdxl, "unet", modules), 4)
    blocks, inside = backwards(ldm.unet_blocks(config)), backwards(ldm.RESNET)
    files: dict[str, Tensor] = {}
    for name, (down, up) in made.items():
        original = ldm.rename(name, blocks, inside)
        assert original is not None
        key = f"lora_unet_{original.replace('.', '_')}"
        files |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        files[f"{key}.alpha"] = torch.tensor(ALPHA)
    for part, folder in (("lora_te1", "text_encoder"), ("lora_te2", "text_encoder_2")):
        for name, (down, up) in changes(weights(sdxl, folder, TEXT_MODULES), 5).items():
            key = f"{part}_{name.replace('.', '_')}"
            files |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
            files[f"{key}.alpha"] = torch.tensor(ALPHA)
    lora = lora_of(files, tmp_path / "lora.safetensors")
    found = check_lora(lora, unet=checkpoint.unet, text_encoder=checkpoint.text_encoder)
    assert {delta.module for delta in found.deltas if delta.part == "unet"} == set(modules)
    assert {delta.module for delta in found.deltas if delta.part == "text_encoder_2"} == set(
        TEXT_MODULES
    )
    unet = WeightsPool().module(checkpoint.unet.patched(lora)).state_dict()
    before = WeightsPool().module(checkpoint.unet).state_dict()
    for name in modules:
        key = f"{name}.weight"
        wanted = expected(before[key], *made[name], SCALE * ALPHA / RANK)
        torch.testing.assert_close(unet[key], wanted, atol=1e-6, rtol=1e-6)
    # Upstream maps by rules on strings, which hold within transformer blocks.
    inner = {key: tensor for key, tensor in files.items() if "transformer_blocks" in key}
    converted, _ = _convert_non_diffusers_lora_to_diffusers(
        _maybe_map_sgm_blocks_to_diffusers(dict(inner), config)
    )
    theirs = check_lora(lora_of(converted, tmp_path / "theirs.safetensors"), unet=checkpoint.unet)
    assert {delta.module for delta in theirs.deltas} == {
        name for name in modules if "transformer_blocks" in name
    }


def test_peft_takes_alpha_from_the_metadata_pattern_first(
    sd1: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    made = changes(weights(sd1, "unet", UNET_MODULES[:2]), 6)
    notes = {
        "unet.r": RANK,
        "unet.lora_alpha": 8,
        "unet.alpha_pattern": {"attn1.to_out.0": 16},
        "unet.use_rslora": False,
    }
    metadata = {"lora_adapter_metadata": json.dumps(notes)}
    lora = lora_of(peft(made, {}), tmp_path / "lora.safetensors", metadata)
    pool = WeightsPool()
    base = pool.module(checkpoint.unet).state_dict()
    patched = pool.module(checkpoint.unet.patched(lora)).state_dict()
    for name, alpha in zip(UNET_MODULES[:2], (8, 16), strict=True):
        key = f"{name}.weight"
        wanted = expected(base[key], *made[name], SCALE * alpha / RANK)
        torch.testing.assert_close(patched[key], wanted, atol=1e-6, rtol=1e-6)


def test_two_loras_on_one_base_interleaved_are_each_the_one_alone_and_together_add_up(
    sd1: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    picked = weights(sd1, "unet", UNET_MODULES)
    first = lora_of(kohya(changes(picked, 7), {}), tmp_path / "first.safetensors")
    second = lora_of(peft(changes(picked, 8), {}), tmp_path / "second.safetensors")
    one, other = checkpoint.unet.patched(first), checkpoint.unet.patched(second)
    generator = torch.Generator().manual_seed(9)
    inputs: dict[str, Any] = {
        "sample": torch.randn(1, 4, 16, 16, generator=generator),
        "timestep": torch.tensor(500),
        "encoder_hidden_states": torch.randn(1, 7, 32, generator=generator),
    }
    alone = [WeightsPool().module(unet)(**inputs).sample for unet in (one, other)]
    pool = WeightsPool()
    for _ in range(2):
        assert torch.equal(pool.module(one)(**inputs).sample, alone[0])
        assert torch.equal(pool.module(other)(**inputs).sample, alone[1])
    base = pool.module(checkpoint.unet).state_dict()
    both = pool.module(checkpoint.unet.patched(first, second)).state_dict()
    left, right = (pool.module(unet).state_dict() for unet in (one, other))
    for name in picked:
        key = f"{name}.weight"
        wanted = left[key] + right[key] - base[key]
        torch.testing.assert_close(both[key], wanted, atol=1e-5, rtol=1e-5)


def test_a_scale_of_zero_changes_nothing(sd1: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    made = changes(weights(sd1, "unet", UNET_MODULES), 10)
    lora = replace(lora_of(peft(made, {}), tmp_path / "lora.safetensors"), scale=0.0)
    pool = WeightsPool()
    base = pool.module(checkpoint.unet).state_dict()
    patched = pool.module(checkpoint.unet.patched(lora)).state_dict()
    assert all(torch.equal(base[name], patched[name]) for name in base)


def test_unknown_keys_are_an_error_with_counts_and_a_warning_where_that_is_asked_for(
    sd1: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    files = dict(peft(changes(weights(sd1, "unet", UNET_MODULES), 11), {}))
    files["unet.down_blocks.7.attentions.0.proj_in.lora_A.weight"] = torch.zeros(4, 4)
    files["unet.down_blocks.7.attentions.0.proj_in.lora_B.weight"] = torch.zeros(4, 4)
    files[f"unet.{UNET_MODULES[0]}.dora_scale"] = torch.zeros(4)
    lora = lora_of(files, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=r"3 of 15 keys .*1 DoRA, 2 unknown") as caught:
        open_lora(lora.file.path, unet=checkpoint.unet)
    assert caught.value.file == lora.file.path
    with pytest.warns(UserWarning, match="3 of 15 keys"):
        found = check_lora(replace(lora, strict=False), unet=checkpoint.unet)
    assert len(found.deltas) == len(UNET_MODULES)


def test_a_lora_of_another_family_is_refused_with_both_shapes(
    sd1: Path, sdxl: Path, tmp_path: Path
) -> None:
    names = UNET_MODULES[:1] + UNET_MODULES[4:5]
    lora = lora_of(
        peft(changes(weights(sd1, "unet", names), 12), {}), tmp_path / "lora.safetensors"
    )
    with pytest.raises(CheckpointError, match="another family"):
        check_lora(lora, unet=open_checkpoint(sdxl, device="cpu").unet)


def test_a_file_that_is_no_lora_is_refused(
    sd1: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    lora = lora_of({"weight": torch.zeros(3, 3)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="no LoRA"):
        check_lora(lora, unet=checkpoint.unet)


def test_half_a_change_is_refused(sd1: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    files = dict(peft(changes(weights(sd1, "unet", UNET_MODULES[:1]), 13), {}))
    del files[f"unet.{UNET_MODULES[0]}.lora_B.weight"]
    with pytest.raises(CheckpointError, match="has no 'up' half"):
        check_lora(lora_of(files, tmp_path / "x.safetensors"), unet=checkpoint.unet)


def test_a_single_file_checkpoint_takes_the_same_lora_as_its_folder(
    sd1: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    from tests.checkpoints.originals import write_single_file

    file = write_single_file(sd1, "sd1", tmp_path / "model.safetensors")
    made = changes(weights(sd1, "unet", UNET_MODULES + CONVOLUTIONS), 14)
    lora = lora_of(peft(made, {}), tmp_path / "lora.safetensors")
    pool = WeightsPool()
    single = open_checkpoint(file, config=sd1, device="cpu").unet
    left = pool.module(single.patched(lora)).state_dict()
    right = pool.module(checkpoint.unet.patched(lora)).state_dict()
    assert all(torch.equal(left[name], right[name]) for name in right)
