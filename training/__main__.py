"""The command line: `python -m training COMMAND`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

ROOT = Path("runs")
"""Where runs lie unless told otherwise."""

F = TypeVar("F", bound=Callable[..., Any])


def _recipe(minutes: float, lr: float, batch: int) -> Callable[[F], F]:
    """The options that every training command has, with its own defaults."""

    def add(command: F) -> F:
        for option in (
            click.option("--minutes", default=minutes, show_default=True, help="Length in all."),
            click.option("--lr", default=lr, show_default=True, help="Highest learning rate."),
            click.option(
                "--batch", default=batch, show_default=True, help="Pictures a step and process."
            ),
            click.option(
                "--processes", default=2, show_default=True, help="On a CPU: how many side by side."
            ),
            click.option("--compile/--no-compile", default=False, help="torch.compile networks."),
            click.option("--save-minutes", default=5.0, show_default=True, help="Between saves."),
        ):
            command = option(command)
        return command

    return add


_DATA = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=ROOT / "emoji.npz",
    show_default=True,
    help="The data set.",
)


def _out(name: str) -> Callable[[F], F]:
    return click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=ROOT / name,
        show_default=True,
        help="Folder of the run; a state in it is taken up.",
    )


def _folder(name: str, help_text: str, default: Path | None = None) -> Callable[[F], F]:
    return click.option(
        name, type=click.Path(path_type=Path), default=default, show_default=True, help=help_text
    )


@click.group()
def main() -> None:
    """Rebuild graphdiff's bundled models, or fine-tune them on your own pictures."""


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "emoji.npz")
@_folder("--packages", "Where packages are unpacked.", ROOT / "packages")
def data(out: Path, packages: Path) -> None:
    """Download the picture packages with npm and draw the data set."""
    from training.data import build, fetch

    pictures = build(fetch(packages))
    pictures.save(out)
    click.echo(f"{out}: {len(pictures.labels)} pictures of {len(set(pictures.labels))} things")


@main.command()
@_DATA
@_out("autoencoder")
@_folder("--init", "An autoencoder to start from.")
@click.option("--decoder-only", is_flag=True, help="Leave the latent space as it is.")
@_recipe(minutes=25, lr=1e-3, batch=16)
def vae(data: Path, out: Path, init: Path | None, decoder_only: bool, **recipe: Any) -> None:  # noqa: ANN401
    """Train the autoencoder."""
    from training.autoencoder import AutoencoderRun, AutoencoderTask
    from training.loop import train

    run = AutoencoderRun(
        out=out,
        data=data,
        init=init,
        decoder_only=decoder_only,
        decay=1e-4,
        sync=4,
        **recipe,
    )
    train(run, AutoencoderTask)


@main.command()
@_DATA
@_out("text_to_image")
@_folder("--vae", "The trained autoencoder.", ROOT / "autoencoder" / "vae")
@_folder("--init", "A checkpoint to go on from, such as the bundled one.")
@_recipe(minutes=120, lr=8e-4, batch=32)
def unet(data: Path, out: Path, vae: Path, init: Path | None, **recipe: Any) -> None:  # noqa: ANN401
    """Train the text-to-image U-Net and its text encoder."""
    from training.loop import train
    from training.text_to_image import TextToImageRun, TextToImageTask, prepare

    run = TextToImageRun(out=out, data=data, vae=vae, init=init, **recipe)
    prepare(run)
    train(run, TextToImageTask)


@main.command()
@_DATA
@_out("unconditional")
@_folder("--init", "A model to go on from.")
@_recipe(minutes=20, lr=1e-3, batch=32)
def unconditional(data: Path, out: Path, init: Path | None, **recipe: Any) -> None:  # noqa: ANN401
    """Train the unconditional pixel model."""
    from training.loop import train
    from training.unconditional import UnconditionalRun, UnconditionalTask

    train(UnconditionalRun(out=out, data=data, init=init, **recipe), UnconditionalTask)


@main.command()
@click.argument("pictures", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), default=Path("lora.safetensors"))
@_folder(
    "--checkpoint",
    "What to fine-tune, in Stable Diffusion's layout; the bundled model if not given.",
)
@click.option("--rank", default=8, show_default=True, help="Width of the added weights.")
@click.option("--steps", default=300, show_default=True, help="How many steps.")
@click.option("--lr", default=1e-3, show_default=True, help="Learning rate.")
@click.option("--batch", default=4, show_default=True, help="Pictures a step.")
def lora(
    pictures: Path, out: Path, checkpoint: Path | None, rank: int, steps: int, lr: float, batch: int
) -> None:
    """Fine-tune a LoRA on a folder of pictures (NAME.png, with NAME.txt as its caption)."""
    from training.lora import BUNDLED, LoraRun, train_lora

    run = LoraRun(
        pictures=pictures,
        out=out,
        checkpoint=checkpoint or BUNDLED,
        rank=rank,
        steps=steps,
        lr=lr,
        batch=batch,
    )
    losses = train_lora(run)
    click.echo(f"{out}: loss {losses[0]:.4f} -> {losses[-1]:.4f}")


@main.command()
@_DATA
@_out("classifier")
@_recipe(minutes=5, lr=2e-3, batch=64)
def classifier(data: Path, out: Path, **recipe: Any) -> None:  # noqa: ANN401
    """Train the classifier that the evaluation asks; on the data, never on drawn pictures."""
    from training.evaluate import ClassifierRun, ClassifierTask
    from training.loop import train

    train(ClassifierRun(out=out, data=data, **recipe), ClassifierTask)


@main.command()
@_folder("--checkpoint", "The model to measure.", ROOT / "text_to_image" / "checkpoint")
@_folder("--classifier", "Folder of the classifier's run.", ROOT / "classifier")
@_folder("--out", "Where grids and evaluation.json go.", ROOT / "evaluation")
@click.option("--guidance", default=3.0, show_default=True)
@click.option("--steps", default=25, show_default=True)
def evaluate(checkpoint: Path, classifier: Path, out: Path, guidance: float, steps: int) -> None:
    """Draw 100 prompts and more, and count how many pictures are named right."""
    from training.evaluate import evaluate as measure

    result = measure(checkpoint, classifier, out, steps=steps, guidance=guidance)
    brief = {k: {n: v for n, v in s.items() if n != "rows"} if isinstance(s, dict) else s
             for k, s in result.items()}  # fmt: skip
    click.echo(json.dumps(brief, indent=2))


@main.command()
@_folder("--run", "Folder of the U-Net's run.", ROOT / "text_to_image")
@_folder("--evaluation", "What `evaluate` wrote.", ROOT / "evaluation")
@_folder("--out", "The bundled checkpoint's folder.", Path("graphdiff/checkpoints/bundled/emoji"))
def card(run: Path, evaluation: Path, out: Path) -> None:
    """Draw the loss curve and copy grids and results beside the weights for the model card."""
    from training.card import loss_curve

    loss_curve(run / "log.jsonl", out / "loss.png")
    shutil.copyfile(run / "samples.png", out / "samples.png")
    for name in ("evaluation.json", "seen.png", "held_out.png", "seeds.png"):
        shutil.copyfile(evaluation / name, out / name)


if __name__ == "__main__":
    main()
