"""A scene -> where everything stands: layers from top to bottom, few crossings, no overlaps.

The method is the layered one of Sugiyama, Tagawa and Toda 1981: nodes take layers by their longest
path, edges that span layers pass through dummy points, each layer is ordered by the barycentre of
its neighbours, and positions are then pulled towards the neighbours' mean.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

from graphdiff.drawing.scene import Box, Edge

TITLE_CHARACTER = 7.4  # mean width of a character, in pixels
CHARACTER = 6.2
LINE = 16.0
PADDING = 10.0
GAP_X = 28.0
GAP_Y = 50.0
FRAME_TITLE = 30.0
_SWEEPS = 8
_MOST_ACROSS = 8  # boxes in a layer; more go into the next

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Placed:
    """A box with its rectangle, in pixels from the top left of the drawing, and what is inside."""

    box: Box
    x: float
    y: float
    width: float
    height: float
    inside: tuple[Placed, ...] = ()
    wires: tuple[Wire, ...] = ()

    def moved(self, dx: float, dy: float) -> Placed:
        """The same, elsewhere."""
        return Placed(
            self.box,
            self.x + dx,
            self.y + dy,
            self.width,
            self.height,
            tuple(p.moved(dx, dy) for p in self.inside),
            tuple(w.moved(dx, dy) for w in self.wires),
        )


@dataclass(frozen=True, slots=True)
class Wire:
    """An edge as points that it goes through."""

    edge: Edge
    points: tuple[Point, ...]

    def moved(self, dx: float, dy: float) -> Wire:
        """The same, elsewhere."""
        return Wire(self.edge, tuple((x + dx, y + dy) for x, y in self.points))


def layout(box: Box) -> Placed:
    """Place a box, and everything inside it, with its top left corner at the origin."""
    if not box.boxes:
        height = LINE * (1 + len(box.lines)) + 2 * PADDING
        return Placed(box, 0, 0, _text_width(box) + 2 * PADDING, height)
    placed = {inner.name: layout(inner) for inner in box.boxes}
    edges = [e for e in box.edges if e.source in placed and e.target in placed]
    layers, chains = _layers(placed, edges)
    _order(layers, chains)
    centres = _centres(layers, chains, placed)
    tops: list[float] = []
    y = FRAME_TITLE + LINE * len(box.lines)
    for layer in layers:
        tops.append(y)
        y += max(_height(name, placed) for name in layer) + GAP_Y
    inside: dict[str, Placed] = {}
    spans: dict[str, tuple[float, float]] = {}
    for top, layer in zip(tops, layers, strict=True):
        tallest = max(_height(name, placed) for name in layer)
        for name in layer:
            drop = (tallest - _height(name, placed)) / 2
            if name in placed:
                half = placed[name].width / 2
                inside[name] = placed[name].moved(centres[name] - half, top + drop)
            spans[name] = (top, top + tallest)
    ends = _ends(chains, inside, centres)
    wires = tuple(
        Wire(edge, _route(chain, end, inside, centres, spans))
        for (edge, chain), end in zip(chains, ends, strict=True)
    )
    # dummy points may stand outside every box
    leftmost = min([min(centres.values()) - PADDING, *(p.x for p in inside.values())])
    right = max([max(centres.values()), *(p.x + p.width for p in inside.values())])
    needed = right - leftmost + 2 * (PADDING + 6)
    width = max(needed, _text_width(box) + 2 * PADDING)
    shift = PADDING + 6 - leftmost + (width - needed) / 2
    return Placed(
        box,
        0,
        0,
        width,
        y - GAP_Y + PADDING + 6,
        tuple(p.moved(shift, 0) for p in inside.values()),
        tuple(w.moved(shift, 0) for w in wires),
    )


Chains = list[tuple[Edge, tuple[str, ...]]]


def _layers(placed: dict[str, Placed], edges: list[Edge]) -> tuple[list[list[str]], Chains]:
    """Names by layer, dummies included, and each edge as the chain of names that it visits."""
    sources: dict[str, set[str]] = {name: set() for name in placed}
    for edge in edges:
        sources[edge.target].add(edge.source)
    rank: dict[str, int] = {}
    across: Counter[int] = Counter()
    waiting = list(placed)
    while waiting:
        ready = [n for n in waiting if all(s in rank for s in sources[n])] or waiting[:1]
        for name in ready:
            lowest = 1 + max((rank[s] for s in sources[name] if s in rank), default=-1)
            while across[lowest] >= _MOST_ACROSS:
                lowest += 1
            rank[name] = lowest
            across[lowest] += 1
        waiting = [n for n in waiting if n not in rank]
    # a node that nothing feeds stands just above its first reader
    readers: dict[str, list[int]] = {}
    for edge in edges:
        readers.setdefault(edge.source, []).append(rank[edge.target])
    for name in placed:
        if not sources[name] and name in readers:
            wanted = max(rank[name], min(readers[name]) - 1)
            if across[wanted] < _MOST_ACROSS:
                across[rank[name]] -= 1
                across[wanted] += 1
                rank[name] = wanted
    lines: list[list[str]] = [[] for _ in range(max(rank.values()) + 1)]
    for name in placed:
        lines[rank[name]].append(name)
    chains: Chains = []
    for number, edge in enumerate(edges):
        between = range(rank[edge.source] + 1, rank[edge.target])
        dummies = [f"\0{number}.{layer}" for layer in between]
        for layer, dummy in zip(between, dummies, strict=True):
            lines[layer].append(dummy)
        chains.append((edge, (edge.source, *dummies, edge.target)))
    kept = [line for line in lines if line]
    return kept, chains


def _order(layers: list[list[str]], chains: Chains) -> None:
    """Order each layer by the mean place of its neighbours above, then below, a few times."""
    above, below = _neighbours(chains)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = above if downwards else below
        places = {name: i for layer in layers for i, name in enumerate(layer)}
        for layer in layers if downwards else reversed(layers):
            means = {
                name: sum(places[n] for n in near) / len(near)
                if (near := neighbours.get(name))
                else float(places[name])
                for name in layer
            }
            layer.sort(key=means.__getitem__)
            places.update({name: i for i, name in enumerate(layer)})


def _centres(
    layers: list[list[str]], chains: Chains, placed: dict[str, Placed]
) -> dict[str, float]:
    """The x of every centre: near the mean of the neighbours, with room between."""
    above, below = _neighbours(chains)
    centres: dict[str, float] = {}
    for layer in layers:
        x = 0.0
        for name in layer:
            width = _width(name, placed)
            centres[name] = x + width / 2
            x += width + GAP_X
    for sweep in range(_SWEEPS * 2):
        neighbours = above if sweep % 2 == 0 else below
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [
                sum(centres[n] for n in near) / len(near)
                if (near := neighbours.get(name))
                else centres[name]
                for name in layer
            ]
            _settle(layer, wanted, centres, placed)
    return centres


def _settle(
    layer: list[str], wanted: list[float], centres: dict[str, float], placed: dict[str, Placed]
) -> None:
    """Move a layer's centres to where they are wanted, as far as neighbours leave room.

    Blocks of touching nodes move as one to the mean of what their members want.
    """
    offsets = [0.0]
    for left, right in itertools.pairwise(layer):
        gap = (_width(left, placed) + _width(right, placed)) / 2 + GAP_X
        offsets.append(offsets[-1] + gap)
    free = [want - offset for want, offset in zip(wanted, offsets, strict=True)]
    blocks: list[tuple[float, int]] = []
    for value in free:
        mean, count = value, 1
        while blocks and blocks[-1][0] > mean:
            other, size = blocks.pop()
            mean = (mean * count + other * size) / (count + size)
            count += size
        blocks.append((mean, count))
    positions = [mean for mean, count in blocks for _ in range(count)]
    for name, position, offset in zip(layer, positions, offsets, strict=True):
        centres[name] = position + offset


def _neighbours(chains: Chains) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for _, chain in chains:
        for upper, lower in itertools.pairwise(chain):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    return above, below


def _ends(
    chains: Chains, inside: dict[str, Placed], centres: dict[str, float]
) -> list[tuple[float, float]]:
    """The x at which each edge leaves its source and meets its target.

    They stand side by side, in the order of the points that come next, so that the edges of one box
    neither coincide nor cross there.
    """

    def spread(at: int, towards: int) -> list[float]:
        groups: dict[str, list[int]] = {}
        for number, (_, chain) in enumerate(chains):
            groups.setdefault(chain[at], []).append(number)
        places = [0.0] * len(chains)
        for name, numbers in groups.items():
            numbers.sort(key=lambda number: centres[chains[number][1][towards]])
            box = inside[name]
            step = min(18.0, box.width / (len(numbers) + 1))
            for place, number in enumerate(numbers):
                offset = (place - (len(numbers) - 1) / 2) * step
                places[number] = box.x + box.width / 2 + offset
        return places

    return list(zip(spread(0, 1), spread(-1, -2), strict=True))


def _route(
    chain: tuple[str, ...],
    end: tuple[float, float],
    inside: dict[str, Placed],
    centres: dict[str, float],
    spans: dict[str, tuple[float, float]],
) -> tuple[Point, ...]:
    """Straight through every layer, curved between layers: so no wire goes behind a box."""
    first, last = inside[chain[0]], inside[chain[-1]]
    between = [(centres[name], y) for name in chain[1:-1] for y in spans[name]]
    points = [
        (end[0], first.y + first.height),
        (end[0], spans[chain[0]][1]),
        *between,
        (end[1], spans[chain[-1]][0]),
        (end[1], last.y),
    ]
    return tuple(point for point, _ in itertools.groupby(points))


def _text_width(box: Box) -> float:
    lines = max(map(len, box.lines), default=0) * CHARACTER
    return max(len(box.title) * TITLE_CHARACTER, lines)


def _width(name: str, placed: dict[str, Placed]) -> float:
    return placed[name].width if name in placed else 6.0


def _height(name: str, placed: dict[str, Placed]) -> float:
    return placed[name].height if name in placed else 0.0
