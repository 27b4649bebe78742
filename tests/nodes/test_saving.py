"""Pictures that cannot be shown are refused before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from graphdiff_nodes import LoadImage, PreviewImage, SaveImage
from graphdiff_nodes.values import Image

from graphdiff import Graph, Input, Session, text
from graphdiff.engine.outputs import OutputFolder
from graphdiff.graph.spec import WorkflowError


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_picture_with_values_that_are_no_numbers_is_refused(value: float, tmp_path: Path) -> None:
    pixels = torch.zeros(1, 3, 4, 4)
    pixels[0, 1, 2, 3] = value
    with pytest.raises(ValueError, match="no numbers"):
        SaveImage.fn(Image(pixels), "a.png", outputs=OutputFolder(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("save", [SaveImage, PreviewImage])
def test_a_format_that_cannot_be_written_is_told_before_anything_runs(
    save: Any, tmp_path: Path
) -> None:
    grey = tmp_path / "grey.png"
    PIL.Image.new("RGB", (8, 8), "grey").save(grey)
    with Graph("gif") as graph:
        kind = Input("kind", str, "gif")
        save(LoadImage(grey), text("a.{}", kind))
    with Session(output_dir=tmp_path, cache=False) as session:
        with pytest.raises(WorkflowError, match=r"a\.gif: cannot write \.gif: use \.png") as caught:
            session.run(graph)
        assert caught.value.diagnostics[0].path[-1] == "path"
        assert session.run(graph, {"kind": "png"}).files
