"""Measure the bundled model: does a classifier trained apart name what the prompts asked for?"""

from __future__ import annotations

import colorsys
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphdiff.models import AutoencoderKL, CLIPTextModel, CLIPTokenizer, UNet2DConditionModel
from training import networks
from training.captions import article, paints_of
from training.concepts import BACKGROUNDS, HELD_OUT, MUST, PAINTS, STYLES, concepts
from training.data import Pictures
from training.loop import Run, Weights, device, layout
from training.pictures import grid, over, paint, place, premultiplied
from training.sampling import draw


@dataclass(frozen=True, slots=True)
class ClassifierRun(Run):
    """How the classifier is trained.

    Attributes:
        data: The data set.
        size: Height and width of the pictures, in pixels.
    """

    data: Path = Path("data/emoji.npz")
    size: int = 64


class Classifier(nn.Module):
    """Four halvings, a mean and a maximum over the picture, one linear layer."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for i in range(4):
            wider = width * 2**i
            layers += [
                nn.Conv2d(channels, wider, 3, stride=2, padding=1),
                nn.GroupNorm(8, wider),
                nn.SiLU(),
                nn.Conv2d(wider, wider, 3, padding=1),
                nn.GroupNorm(8, wider),
                nn.SiLU(),
            ]
            channels = wider
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * channels, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 3, 64, 64) in -1..1 -> (n, classes)."""
        features = self.features(pictures)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        scores: Tensor = self.head(pooled)
        return scores


class ClassifierTask:
    """Name pictures of the data: moved, painted, on any background, blurred and noisy."""

    def __init__(self, run: ClassifierRun) -> None:
        self._run = run
        data = Pictures.load(run.data)
        names = concepts()
        labels = list(names)
        rgba: list[Any] = []
        classes: list[int] = []
        chance = random.Random(0)
        for picture, label in zip(data.rgba, data.labels, strict=True):
            colours = paints_of(names[label])
            chosen = chance.sample(colours, min(3, len(colours)))
            versions = [picture, *(paint(picture, PAINTS[colour]) for colour in chosen)]
            rgba += versions
            classes += [labels.index(label)] * len(versions)
        self._pictures = premultiplied(np.stack(rgba), run.size)
        self._classes = torch.tensor(classes)
        self._net = Classifier(len(labels))
        self.modules = [self._net]

    def batch(self, n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augmented pictures (n, 3, h, w) in -1..1 and their classes (n,)."""
        chosen = torch.from_numpy(rng.integers(0, len(self._pictures), n))
        moved = place(
            self._pictures[chosen], rng, turn=0.2, shift=0.1, zoom=(0.9, 1.25), mirror=0.5
        )
        grounds = ["white" if rng.random() < 0.5 else str(rng.choice(list(BACKGROUNDS)))
                   for _ in range(n)]  # fmt: skip
        x = over(moved, grounds)
        if rng.random() < 0.5:  # as soft as what an autoencoder gives
            x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
        return x + 0.1 * float(rng.random()) * torch.randn_like(x), self._classes[chosen]

    def loss(self, rng: np.random.Generator) -> Tensor:
        """Cross-entropy on a batch, with smoothed labels."""
        x, classes = self.batch(self._run.batch, rng)
        x = x.to(device(), torch.bfloat16, memory_format=layout())
        return F.cross_entropy(self._net(x).float(), classes.to(device()), label_smoothing=0.05)

    @torch.no_grad()
    def save(self, weights: Weights, folder: Path) -> None:
        """Write the weights, and how many of 1,000 fresh augmented pictures are named right."""
        net = Classifier(self._net.head.out_features)
        net.load_state_dict(weights[0])
        x, classes = self.batch(1000, np.random.default_rng(12345))
        found = torch.cat([net(part).argmax(1) for part in torch.split(x, 100)])
        right = float((found == classes).float().mean())
        torch.save(weights[0], folder / "classifier.pt")
        networks.write_json(folder / "classifier.json", {"accuracy": right})


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of the evaluation, and what its picture should show.

    Attributes:
        text: The prompt.
        label: The Unicode label of the thing.
        colour: The colour that it should have, None for its own.
    """

    text: str
    label: str
    colour: str | None = None


def seen_prompts(count: int = 100) -> list[Prompt]:
    """Prompts of the kinds that were trained: each another thing, in any style and place."""
    chance = random.Random(2024)
    names = concepts()
    others = chance.sample([label for label in names if label not in MUST], count - len(MUST))
    prompts = [Prompt(article(names[label][0]), label) for label in MUST]
    for i, label in enumerate(others):
        style = chance.choice(list(STYLES)) if i % 3 else None
        text = article(f"{style} {names[label][0]}" if style else names[label][0])
        if i % 4 == 3:
            ground = chance.choice([b for b in BACKGROUNDS if b != "white"])
            text += f" on a {ground} background"
        prompts.append(Prompt(text, label))
    return prompts


def seeds_prompts(seeds: int = 8) -> list[Prompt]:
    """What everyone tries first, several times: each should be right, and another picture."""
    names = concepts()
    return [Prompt(article(names[label][0]), label) for label in MUST for _ in range(seeds)]


def held_out_prompts() -> list[Prompt]:
    """A colour and a noun that never met in training."""
    names = concepts()
    by_name = {name: label for label, all_names in names.items() for name in all_names}
    return [Prompt(article(f"{c} {noun}"), by_name[noun], c) for c, noun in HELD_OUT]


def painted_prompts(count: int = 20) -> list[Prompt]:
    """A colour and a noun that met in training."""
    chance = random.Random(7)
    pairs = [(label, colour) for label, n in concepts().items() for colour in paints_of(n)]
    names = concepts()
    return [
        Prompt(article(f"{c} {names[label][-1 if label == 'red apple' else 0]}"), label, c)
        for label, c in chance.sample(pairs, count)
    ]


def colour_of(picture: Tensor) -> str | None:
    """Which of `PAINTS` most of a thing on white has; None for a thing without colour.

    Args:
        picture: (3, h, w) in -1..1.
    """
    rgb = (picture.clamp(-1, 1) + 1) / 2
    pixels = rgb.flatten(1).T.tolist()
    votes = dict.fromkeys(PAINTS, 0.0)
    for r, g, b in pixels:
        hue, saturation, value = colorsys.rgb_to_hsv(r, g, b)
        if saturation < 0.25 or value < 0.2:
            continue
        # Pink is a pale or purplish red.
        nearest = min(PAINTS, key=lambda name: abs((hue - PAINTS[name].hue + 0.5) % 1 - 0.5))
        votes[nearest] += saturation
    best = max(votes, key=lambda name: votes[name])
    return best if votes[best] > 0.02 * len(pixels) else None


@torch.no_grad()
def evaluate(
    checkpoint: Path, classifier: Path, out: Path, *, steps: int = 25, guidance: float = 3.0
) -> dict[str, Any]:
    """Draw all prompts, name the pictures, write grids and `evaluation.json` into `out`.

    Args:
        checkpoint: The model, a folder in Stable Diffusion's layout.
        classifier: Folder of the classifier's run.
        out: Where results go.
        steps: Sampling steps.
        guidance: Guidance scale.
    """
    labels = list(concepts())
    net = Classifier(len(labels))
    net.load_state_dict(torch.load(classifier / "classifier.pt", weights_only=True))
    net.eval()
    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet")
    text = CLIPTextModel.from_pretrained(checkpoint / "text_encoder")
    vae = AutoencoderKL.from_pretrained(checkpoint / "vae")
    tokenizer = CLIPTokenizer.from_pretrained(checkpoint / "tokenizer")

    def pictures_of(prompts: Sequence[Prompt]) -> Tensor:
        parts = [prompts[i : i + 20] for i in range(0, len(prompts), 20)]
        return torch.cat(
            [
                draw(
                    unet,
                    text,
                    vae,
                    lambda texts: torch.tensor(tokenizer(list(texts))),
                    [prompt.text for prompt in part],
                    seeds=[1000 + 20 * i + j for j in range(len(part))],
                    steps=steps,
                    guidance=guidance,
                )
                for i, part in enumerate(parts)
            ]
        )

    out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "steps": steps,
        "guidance": guidance,
        "classifier": json.loads((classifier / "classifier.json").read_text())["accuracy"],
    }
    sets = {
        "seen": seen_prompts(),
        "painted": painted_prompts(),
        "held_out": held_out_prompts(),
        "seeds": seeds_prompts(),
    }
    for name, prompts in sets.items():
        pictures = pictures_of(prompts)
        found = [labels[i] for i in net(pictures.clamp(-1, 1)).argmax(1).tolist()]
        colours = [colour_of(picture) for picture in pictures]
        rows = [
            {"prompt": p.text, "named": f, "noun": f == p.label}
            | ({"colour": c, "colour_right": c == p.colour} if p.colour else {})
            for p, f, c in zip(prompts, found, colours, strict=True)
        ]
        result[name] = {
            "prompts": len(rows),
            "nouns_right": sum(row["noun"] for row in rows),
            "wrong": [f"{row['prompt']}: {row['named']}" for row in rows if not row["noun"]],
        }
        if prompts[0].colour:
            result[name] |= {
                "colours_right": sum(row["colour_right"] for row in rows),
                "both_right": sum(row["noun"] and row["colour_right"] for row in rows),
                "rows": rows,
            }
        grid(pictures, 8 if name == "seeds" else 10, out / f"{name}.png")
    networks.write_json(out / "evaluation.json", result)
    return result
