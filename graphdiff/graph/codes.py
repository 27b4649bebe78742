"""The kinds of mistakes: a stable name for each, one line that says what it is, and their page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "The file itself": {
        "unreadable-file": "There is no such file, it is a directory, or it may not be read.",
        "file-too-large": "The file is larger than any workflow.",
        "not-text": "The file is not UTF-8 text.",
        "yaml-syntax": "The text is not YAML.",
        "unquoted-braces": "Text with `${...}` inside `{...}` or `[...]` has no quotes around it.",
        "unquoted-comma": "Text with a comma inside `{...}` has no quotes around it.",
        "duplicate-key": "A map has the same key twice.",
        "wrong-key": "A key of a map is no text, or a merge key.",
        "too-deep": "Lists and maps are nested deeper than any workflow needs.",
        "too-many-aliases": "Aliases make the file many times larger than it is written.",
        "not-a-workflow": "The file is YAML, but no workflow.",
        "missing-version": "The line `graphdiff: 1` is missing.",
        "newer-version": "The file needs a newer version of graphdiff.",
    },
    "How it is written": {
        "unknown-key": "A key that means nothing here.",
        "missing-key": "A key that must be here is not.",
        "wrong-shape": "A map, list or text stands where something else is needed.",
        "wrong-name": "A name that is no name, or is taken by the format.",
        "dollar-misuse": "A `$` that starts no reference; `$$` is a `$`.",
    },
    "Inputs": {
        "unknown-type": "A declared input has a type that does not exist.",
        "wrong-input": "The declaration of an input contradicts itself.",
    },
    "Nodes and what they are given": {
        "unknown-node-type": "No node and no part has this name.",
        "unknown-argument": "The node has no such input.",
        "renamed-argument": "The input has a new name; `graphdiff validate --fix` rewrites it.",
        "missing-argument": "An input without a default is not given.",
        "wrong-literal": "A value is of the wrong type.",
        "lossy-literal": "A value would change when converted to the declared type.",
        "out-of-bounds": "A value is outside of what is allowed.",
        "type-mismatch": "What is wired in is of the wrong type.",
    },
    "References": {
        "unknown-node": "A reference to a node that does not exist.",
        "unknown-input": "A reference to an input that is not declared.",
        "unknown-output": "A reference to an output that the node does not have.",
        "ambiguous-output": "A reference to a node with several outputs that names none of them.",
        "out-of-loop": "A reference to something that exists only inside of a loop.",
        "not-known-in-time": "Text is made of a value that is not known before the run.",
        "cycle": "Nodes that need each other's results.",
    },
    "Loops": {
        "shadowed-name": "A name inside of a loop that is already the name of an outer node.",
        "carry-mismatch": "`carry` and `next` do not have the same names.",
        "unequal-lengths": "Lists that a loop goes over together have different lengths.",
        "duplicate-output": "A loop gives two outputs of one name.",
    },
    "Parts": {
        "recursive-part": "A workflow that includes itself.",
    },
    "Running": {
        "nothing-to-run": "The workflow has no nodes.",
        "no-targets": "The list of targets is empty.",
        "unknown-target": "A target that is neither a node nor an output.",
        "not-writable": "A value in a graph built in Python that no file can hold.",
    },
    "When a run is planned": {
        "missing-input": "An input without a default is not given.",
        "missing-file": "A file that a node reads is not there, or may not be read.",
        "no-content": "A value given in Python has no content that could be hashed.",
        "plan-failed": "A node that runs while planning, such as LoadModel, failed.",
        "wire-mismatch": "A value does not fit here, though its type does: of another model, say.",
        "output-path": "A path to write to leaves the output folder, or is no portable name.",
        "path-clash": "Two runs of a sweep would write the same file.",
    },
}
"""The codes of diagnostics by what they are about."""

CODES: Final[Mapping[str, str]] = {
    code: meaning for group in GROUPS.values() for code, meaning in group.items()
}
"""Every code of a `Diagnostic`."""


def page() -> str:
    """The page of the documentation that lists the codes, docs/errors.md."""
    blocks = [_INTRODUCTION]
    for title, codes in GROUPS.items():
        rows = [f"| `{code}` | {meaning} |" for code, meaning in codes.items()]
        blocks.append(
            "\n".join([f"## {title}", "", "| code | what it means |", "| --- | --- |", *rows])
        )
    return "\n\n".join(blocks) + "\n"


_INTRODUCTION: Final = """\
# What the checker says

Every mistake of a workflow is told in one report, before any weights are loaded: where it \
stands, a code, what is wrong and, where that can be told, what to write instead.

```text
workflow.yaml:18:16: type-mismatch: image.latents: wants Latents, but $positive is Conditioning
   18 |       latents: $positive
      |                ^
        help: $denoise.sample would fit
```

The codes are stable: a script may rely on them. In Python they are in \
`WorkflowError.diagnostics`, each with its `code`, `message`, `place` and `help`."""
