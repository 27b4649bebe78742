"""Pictures, masks and latents, read, changed and written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from graphdiff_nodes import images, latents, masks, saving, vision
from graphdiff_nodes.models import LoadModel
from graphdiff_nodes.values import DepthMap, Image, Latents, Mask

from graphdiff.engine.outputs import OutputFolder
from graphdiff.graph.node import Settings
from graphdiff.picture import extract
from graphdiff.rng import Rng

CPU = Settings("cpu", "float32")


def random_image(width: int = 12, height: int = 8, batch: int = 1) -> Image:
    rng = torch.Generator().manual_seed(width)
    bytes_ = torch.randint(0, 256, (batch, 3, height, width), generator=rng)
    return Image(bytes_.float() / 255)


def as_array(image: Image) -> Any:
    return (image.pixels[0].permute(1, 2, 0) * 255).round().byte().numpy()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 4), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_picture_is_read_to_the_bit(photo: Path) -> None:
    wanted = np.asarray(PIL.Image.open(photo).convert("RGB"))
    assert np.array_equal(as_array(images.LoadImage.fn(photo)), wanted)


def test_a_turned_picture_is_put_upright(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert images.LoadImage.fn(tmp_path / "turned.jpg").pixels.shape == (1, 3, 20, 10)


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"x\.png: cannot be read as a picture"):
        images.LoadImage.fn(tmp_path / "x.png")


def test_resizing_is_pillow_s() -> None:
    image = random_image(20, 14)
    found = images.ResizeImage.fn(image, 33, 9)
    wanted = PIL.Image.fromarray(as_array(image)).resize((33, 9), PIL.Image.Resampling.LANCZOS)
    assert np.array_equal(as_array(found), np.asarray(wanted))


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"width": 10}, (10, 7)),
        ({"height": 28}, (40, 28)),
        ({"multiple": 8}, (16, 8)),
        ({"width": 10, "height": 10, "fit": "crop"}, (10, 10)),
        ({"width": 10, "height": 10, "fit": "pad"}, (10, 10)),
        ({"width": 10, "height": 10, "fit": "inside"}, (10, 7)),
        ({}, (20, 14)),
    ],
)
def test_sizes_are_found(options: dict[str, Any], size: tuple[int, int]) -> None:
    found = images.ResizeImage.fn(random_image(20, 14), **options).pixels.shape
    assert (found[3], found[2]) == size


def test_cropping_takes_the_middle() -> None:
    image = random_image(20, 10)
    found = images.ResizeImage.fn(image, 10, 10, fit="crop")
    assert torch.equal(found.pixels, image.pixels[:, :, :, 5:15])


def test_a_rectangle_is_cut_out_and_put_back_by_padding() -> None:
    image = random_image(12, 8)
    cut = images.CropImage.fn(image, 2, 1, 7, 5)
    back = images.PadImage.fn(cut, 2, 3, 1, 2, mode="black")
    assert back.pixels.shape == image.pixels.shape
    assert torch.equal(back.pixels[:, :, 1:6, 2:9], image.pixels[:, :, 1:6, 2:9])
    assert not back.pixels[:, :, 0].any()
    with pytest.raises(ValueError, match="ends at 14x9 pixels, but the picture is 12x8"):
        images.CropImage.fn(image, 10, 5, 4, 4)


def test_pictures_are_mixed_where_a_mask_says() -> None:
    a, b = random_image(), Image(torch.zeros(1, 3, 8, 12))
    mask = Mask((torch.arange(12) >= 6).float().expand(1, 1, 8, 12))
    mixed = images.BlendImages.fn(a, b, 0.5, mask).pixels
    assert torch.equal(mixed[..., :6], a.pixels[..., :6])
    assert torch.allclose(mixed[..., 6:], a.pixels[..., 6:] / 2)
    with pytest.raises(ValueError, match="12x8 and 8x8"):
        images.BlendImages.fn(a, random_image(8, 8))


def test_a_grid_has_a_cell_for_each_picture() -> None:
    found = images.ImageGrid.fn([random_image(4, 4, 2), random_image(4, 4)], 2, gap=1).pixels
    assert found.shape == (1, 3, 9, 9)
    assert found[:, :, 4].eq(1).all()
    assert torch.equal(found[:, :, 5:, :4], random_image(4, 4).pixels)
    assert found[:, :, 5:, 5:].eq(1).all()
    batch = images.BatchImages.fn([random_image(4, 4), random_image(4, 4)])
    assert batch.pixels.shape[0] == 2


def test_masks_are_read_from_any_channel(photo: Path) -> None:
    picture = PIL.Image.open(photo)
    for channel, band in [("alpha", picture.getchannel("A")), ("green", picture.getchannel("G"))]:
        found = masks.LoadMask.fn(photo, channel).values[0, 0]  # type: ignore[arg-type]
        assert np.array_equal((found * 255).round().byte().numpy(), np.asarray(band))
    whole, rest = masks.LoadMask.fn(photo), masks.LoadMask.fn(photo, invert=True)
    assert torch.allclose(whole.values + rest.values, torch.ones(()))


def test_a_mask_grows_shrinks_and_is_inverted() -> None:
    box = masks.MaskFromBox.fn(10, 10, 0.3, 0.3, 0.7, 0.7)
    assert box.values.sum() == 16
    assert masks.GrowMask.fn(box, 1).values.sum() == 36
    assert masks.GrowMask.fn(box, -1).values.sum() == 4
    assert masks.InvertMask.fn(box).values.sum() == 84
    soft = masks.BlurMask.fn(box, 1.0)
    assert 0 < soft.values[0, 0, 2, 5] < soft.values[0, 0, 4, 5]
    assert set(masks.BinarizeMask.fn(soft, 0.5).values.flatten().tolist()) == {0, 1}
    assert masks.ResizeMask.fn(box, 20, 20).values.shape == (1, 1, 20, 20)
    with pytest.raises(ValueError, match="left must be under right"):
        masks.MaskFromBox.fn(10, 10, 0.7, 0.0, 0.3, 1.0)


def test_masks_are_made_of_pictures_colours_and_depths() -> None:
    image = Image(torch.zeros(1, 3, 2, 2))
    image.pixels[0, :, 0, 0] = torch.tensor([1.0, 0.5, 0.0])
    assert masks.MaskFromColor.fn(image, 1.0, 0.45, 0.0).values.sum() == 1
    assert masks.MaskFromImage.fn(image, "green").values[0, 0, 0, 0] == 0.5
    bright = masks.MaskFromImage.fn(image).values[0, 0, 0, 0]
    assert bright == pytest.approx(0.299 + 0.587 / 2)
    depth = DepthMap(torch.tensor([[[[4.0, 3.0], [1.0, 0.0]]]]))
    assert masks.MaskFromDepth.fn(depth, 0.0, 0.5).values.flatten().tolist() == [1, 1, 0, 0]


def test_what_is_masked_is_grey_and_pasted_back() -> None:
    image, painted = random_image(4, 4), Image(torch.ones(1, 3, 4, 4))
    mask = masks.MaskFromBox.fn(4, 4, 0.0, 0.0, 0.5, 1.0)
    blanked = masks.MaskImage.fn(image, mask).pixels
    assert blanked[..., :2].eq(0.5).all()
    assert torch.equal(blanked[..., 2:], image.pixels[..., 2:])
    whole = masks.CompositeImage.fn(image, painted, mask).pixels
    assert whole[..., :2].eq(1).all()
    assert torch.equal(whole[..., 2:], image.pixels[..., 2:])


def test_pictures_go_through_the_vae_and_back(checkpoint: Any) -> None:
    folder, made = checkpoint("stable_diffusion")
    model = LoadModel.fn(str(folder), settings=CPU)
    image = random_image(24, 17)
    mode = latents.VAEEncode.fn(model.vae, image)
    assert mode.latents.samples.shape == (1, 4, 4, 6)  # 17 pixels are cut to 16
    drawn = latents.VAEEncode.fn(model.vae, image, Rng.from_seed([1, 2]))
    assert drawn.latents.samples.shape[0] == 2
    assert drawn.rng.normal((2, 3))[0].shape == (2, 3)
    with torch.no_grad():
        pixels = image.pixels[:, :, :16] * 2 - 1
        wanted = made.vae.encode(pixels).latent_dist.mode() * made.vae.config.scaling_factor
        shown = made.vae.decode(wanted / made.vae.config.scaling_factor).sample / 2 + 0.5
    assert (mode.latents.samples - wanted).abs().max() < 1e-4
    found = latents.VAEDecode.fn(model.vae, mode.latents).pixels
    assert (found - shown.clamp(0, 1)).abs().max() < 1e-4


def test_latents_are_resized_and_repeated() -> None:
    two = Latents(torch.arange(2.0)[:, None, None, None].expand(2, 4, 3, 5))
    assert latents.ResizeLatents.fn(two, 2.0).samples.shape == (2, 4, 6, 10)
    each = latents.RepeatLatents.fn(two, 2).samples[:, 0, 0, 0]
    assert each.tolist() == [0, 0, 1, 1]
    whole = latents.RepeatLatents.fn(two, 2, whole=True).samples[:, 0, 0, 0]
    assert whole.tolist() == [0, 1, 0, 1]


def test_pixels_are_latents_of_models_without_vae(checkpoint: Any) -> None:
    model = LoadModel.fn(str(checkpoint("unconditional")[0]), settings=CPU)
    image = random_image(16, 16)
    pixels = latents.ImageToLatents.fn(image, model.unet)
    assert torch.allclose(latents.LatentsToImage.fn(pixels).pixels, image.pixels, atol=1e-6)


def test_depth_is_stretched_for_each_picture() -> None:
    depth = vision.DepthFromImage.fn(random_image(16, 16, 2))
    found = latents.DepthChannels.fn(depth, Latents(torch.zeros(2, 4, 8, 8))).samples
    assert found.shape == (2, 1, 8, 8)
    assert found.amax((1, 2, 3)).tolist() == pytest.approx([1, 1])
    assert found.amin((1, 2, 3)).tolist() == pytest.approx([-1, -1])


PROVENANCE: Mapping[str, Any] = {"workflow": "graphdiff: 1\n", "inputs": {"seed": 3}}


@pytest.mark.parametrize("name", ["a.png", "b.webp", "c.jpg", "folder/d.png"])
def test_a_saved_picture_knows_where_it_came_from(tmp_path: Path, name: str) -> None:
    outputs = OutputFolder(tmp_path, PROVENANCE)
    image = random_image()
    (file,) = saving.SaveImage.fn(image, name, outputs=outputs)
    data = (tmp_path / name).read_bytes()
    assert file.path == str(tmp_path / name)
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert extract(data) == PROVENANCE
    if name.endswith("png"):
        assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / name)), as_array(image))
    (bare,) = saving.SaveImage.fn(image, f"bare-{Path(name).name}", metadata=False, outputs=outputs)
    assert extract(Path(bare.path)) is None


def test_saving_the_same_again_leaves_one_file_and_other_content_gets_a_number(
    tmp_path: Path,
) -> None:
    outputs = OutputFolder(tmp_path, PROVENANCE)
    for image in (random_image(), random_image(), random_image(14)):
        saving.SaveImage.fn(image, "a.png", outputs=outputs)
    assert len(list(tmp_path.glob("*.png"))) == 2
    saving.SaveImage.fn(random_image(16), "a.png", overwrite=True, outputs=outputs)
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_each_picture_of_a_batch_gets_a_file(tmp_path: Path) -> None:
    outputs = OutputFolder(tmp_path, PROVENANCE)
    files = saving.SaveImage.fn(random_image(batch=2), "a.png", outputs=outputs)
    assert [Path(file.path).name for file in files] == ["a-0.png", "a-1.png"]
    with pytest.raises(ValueError, match=r"cannot write \.gif"):
        saving.SaveImage.fn(random_image(), "a.gif", outputs=outputs)


def test_a_preview_replaces_the_one_before(tmp_path: Path) -> None:
    outputs = OutputFolder(tmp_path, PROVENANCE)
    for width in (8, 12):
        saving.PreviewImage.fn(random_image(width), "p.png", outputs=outputs)
    with PIL.Image.open(tmp_path / "p.png") as shown:
        assert shown.size == (12, 8)
    assert len(list(tmp_path.iterdir())) == 1
