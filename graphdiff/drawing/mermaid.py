"""A scene -> a Mermaid flowchart, which code hosts draw in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from graphdiff.drawing.scene import Box

_CLASSES = {
    "run": "fill:#fff1d6,stroke:#c77d0a",
    "mixed": "fill:#fff8ea,stroke:#c77d0a",
    "cached": "fill:#e3f2e5,stroke:#3f8f4f",
    "skip": "fill:#f2f2f2,stroke:#b5b5b5,stroke-dasharray:5 3",
    "changed": "fill:#fde0dc,stroke:#c0392b",
}


def mermaid(box: Box) -> str:
    """The drawing as Mermaid text, loops and parts as subgraphs."""
    used: set[str] = set()
    lines = ["flowchart TD", *_lines(box, "", "  ", used)]
    lines += [f"  classDef {name} {style}" for name, style in _CLASSES.items() if name in used]
    return "\n".join(lines) + "\n"


def _lines(frame: Box, prefix: str, indent: str, used: set[str]) -> Iterator[str]:
    for box in frame.boxes:
        name = _identifier(prefix, box.name)
        if box.boxes:
            title = "<br/>".join(map(_quoted, (box.title, *box.lines)))
            yield f'{indent}subgraph {name}["{title}"]'
            yield from _lines(box, f"{name}_", indent + "  ", used)
            yield f"{indent}end"
        else:
            text = "<br/>".join(map(_quoted, (box.title, *box.lines)))
            opening, closing = ("([", "])") if box.kind == "port" else ("[", "]")
            yield f'{indent}{name}{opening}"{text}"{closing}'
        if box.status:
            used.add(box.status)
            yield f"{indent}class {name} {box.status}"
    for edge in frame.edges:
        arrow = f'-- "{_quoted(edge.label)}" -->' if edge.label else "-->"
        source, target = _identifier(prefix, edge.source), _identifier(prefix, edge.target)
        yield f"{indent}{source} {arrow} {target}"


def _identifier(prefix: str, name: str) -> str:
    return prefix + "".join(c if c.isalnum() else "_" for c in name) + "_n"


def _quoted(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;")
