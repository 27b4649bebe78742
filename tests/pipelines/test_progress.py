"""A call shows a bar where somebody looks, and nothing elsewhere."""

from __future__ import annotations

import io
from typing import Any

import pytest

import graphdiff
from tests.pipelines.compare import generator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def pipeline(checkpoint: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    folder, _ = checkpoint("stable_diffusion")
    return graphdiff.StableDiffusionPipeline.from_pretrained(folder, cache=False)


def shown(pipeline: Any, file: io.StringIO, **options: Any) -> str:
    pipeline.set_progress_bar_config(file=file, ncols=100, **options)
    pipeline("a cat", num_inference_steps=3, generator=generator(), output_type="latent")
    return file.getvalue()


def test_a_terminal_shows_a_bar(pipeline: Any) -> None:
    # The oracle's scheduler is PNDM, whose second step is taken twice.
    assert "4/4" in shown(pipeline, Terminal())


def test_a_call_with_a_callback_shows_one_too(pipeline: Any) -> None:
    file = Terminal()
    pipeline.set_progress_bar_config(file=file, ncols=100)
    pipeline("a cat", num_inference_steps=3, callback_on_step_end=lambda *arguments: arguments[3])
    assert "4/4" in file.getvalue()


def test_it_has_a_name_if_asked_for(pipeline: Any) -> None:
    assert "drawing" in shown(pipeline, Terminal(), desc="drawing")


@pytest.mark.parametrize("options", [{}, {"disable": False}, {"desc": "drawing"}])
def test_what_is_no_terminal_stays_quiet(pipeline: Any, options: dict[str, Any]) -> None:
    assert shown(pipeline, io.StringIO(), **options) == ""


def test_it_can_be_turned_off(pipeline: Any) -> None:
    assert shown(pipeline, Terminal(), disable=True) == ""


def test_nothing_is_written_by_default_without_a_terminal(
    pipeline: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline("a cat", num_inference_steps=2, output_type="latent")
    assert capfd.readouterr() == ("", "")


def test_a_cached_picture_shows_no_bar(checkpoint: Any) -> None:
    folder, _ = checkpoint("stable_diffusion")
    cached = graphdiff.StableDiffusionPipeline.from_pretrained(folder)
    shown(cached, Terminal())
    assert shown(cached, Terminal()) == ""


def test_the_bar_ends_when_the_run_fails(pipeline: Any) -> None:
    def fail(pipeline: Any, i: int, timestep: Any, tensors: Any) -> Any:
        if i == 1:
            raise ValueError("no")
        return tensors

    file = Terminal()
    pipeline.set_progress_bar_config(file=file, ncols=100)
    with pytest.raises(graphdiff.RunError):
        pipeline("a cat", num_inference_steps=3, callback_on_step_end=fail)
    assert file.getvalue().endswith("\x1b[?25h")  # the cursor is shown again


def test_an_unknown_option_is_refused(pipeline: Any) -> None:
    with pytest.raises(TypeError, match="the progress bar has no colour; it takes disable, desc"):
        pipeline.set_progress_bar_config(colour="red")
