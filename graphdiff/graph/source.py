"""The text of a file as a tree of scalars, lists and maps that know where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from graphdiff.graph.spec import Diagnostic, Place, WorkflowError

MAX_BYTES: Final = 8 * 2**20
MAX_DEPTH: Final = 100
MAX_ALIASED: Final = 10_000
MAX_REPAIRS: Final = 20

# What stands for { and } in text that should have been quoted, so that reading can go on.
OPEN, CLOSE = "\ue000", "\ue001"

_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
# libyaml's parser where it is built in; its events, since its trees are built by recursion in C.
_EVENTS: Final[type[Any]] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(slots=True)
class Scalar:
    """Text in a file. `style` is empty where it has no quotes."""

    text: str
    style: str
    start: yaml.Mark
    end: yaml.Mark
    tag: str | None = None


@dataclass(slots=True)
class Sequence:
    """A list in a file."""

    items: list[Tree]
    start: yaml.Mark
    flow: bool
    tag: str | None = None


@dataclass(slots=True)
class Mapping:
    """A map in a file, with its keys as they stand, also those that stand twice."""

    pairs: list[tuple[Tree, Tree]]
    start: yaml.Mark
    flow: bool
    tag: str | None = None


Tree = Scalar | Sequence | Mapping


class Source:
    """A text and the name it goes by in messages."""

    __slots__ = ("_lines", "file", "text")

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._lines: list[str] | None = None

    def place(self, mark: yaml.Mark) -> Place:
        """The place of a mark, with its line."""
        return self.at(mark.line, mark.column)

    def at(self, line: int, column: int) -> Place:
        """The place at a line and a column, both from 0."""
        if self._lines is None:
            self._lines = _LINE_BREAK.split(self.text)
        source = self._lines[line] if line < len(self._lines) else ""
        # Very long lines are shown around the place by whoever prints; here they are cut.
        return Place(self.file, line + 1, column + 1, source if len(source) <= 300 else None)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        WorkflowError: it does not exist, is too large, or is no UTF-8 text.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        files = sorted(p.name for p in path.glob("*.yaml"))
        hint = f"name a file in it, such as {path / files[0]}" if files else None
        raise _refusal("unreadable-file", f"{name} is a directory", hint) from None
    except FileNotFoundError:
        raise _refusal("unreadable-file", f"there is no file {name}", _near(path)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _refusal("unreadable-file", f"{name} cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        limit = f"more than {MAX_BYTES // 2**20} MiB, which is no workflow"
        raise _refusal("file-too-large", f"{name} has {limit}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start)
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1)
        message = f"byte 0x{data[error.start]:02x} is no UTF-8 text"
        place = Place(name, line + 1, column + 1)
        hint = "save the file as UTF-8"
        raise WorkflowError((Diagnostic("not-text", message, place=place, help=hint),)) from None


def compose(source: Source) -> tuple[Tree | None, list[Diagnostic]]:
    """The tree of a text, and what was repaired to read it; no tree where it cannot be read.

    Text in `{...}` that has `${...}` in it and no quotes is repaired, so that the rest of the file
    is checked too; its braces are `OPEN` and `CLOSE` in the tree.
    """
    text = source.text
    if (bad := _CONTROL.search(text)) is not None:
        before = _LINE_BREAK.split(text[: bad.start()])
        message = f"the character U+{ord(bad[0]):04X} cannot stand in a text file"
        place = source.at(len(before) - 1, len(before[-1]))
        return None, [Diagnostic("not-text", message, place=Place(place.file, place.line))]
    repairs: list[Diagnostic] = []
    while True:
        try:
            return _compose(text, source), repairs
        except WorkflowError as error:
            return None, [*repairs, *error.diagnostics]
        except yaml.MarkedYAMLError as error:
            repaired = _repaired(text, error)
            if repaired is None or len(repairs) >= MAX_REPAIRS:
                return None, [*repairs, _syntax(error, source)]
            text, mark = repaired
            message = "the braces of ${...} end text that has no quotes here"
            repairs.append(
                Diagnostic(
                    "unquoted-braces",
                    message,
                    place=source.place(mark),
                    help='put quotes around the whole text: "...${name}..."',
                )
            )
        except (yaml.YAMLError, UnicodeError) as error:
            return None, [*repairs, Diagnostic("not-text", str(error), place=Place(source.file, 1))]


def _compose(text: str, source: Source) -> Tree | None:
    """The tree made from the parser's events, without recursion and no deeper than `MAX_DEPTH`."""
    parser = _EVENTS(text)
    root: Tree | None = None
    stack: list[Sequence | Mapping] = []
    keys: list[Tree | None] = []  # the key that waits for its value, for each map in the stack
    anchors: dict[str, Tree] = {}
    documents = 0
    new: Tree
    while parser.check_event():
        event: Any = parser.get_event()
        kind: object = type(event)  # pyright: ignore[reportUnknownVariableType]
        if kind is yaml.ScalarEvent:
            # A plain scalar has no style; `style` of the C parser may be None or "".
            new = Scalar(
                event.value, event.style or "", event.start_mark, event.end_mark, event.tag
            )
        elif kind is yaml.MappingStartEvent:
            new = Mapping([], event.start_mark, event.flow_style, event.tag)
        elif kind is yaml.SequenceStartEvent:
            new = Sequence([], event.start_mark, event.flow_style, event.tag)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            stack.pop()
            keys.pop()
            continue
        elif kind is yaml.AliasEvent:
            if event.anchor not in anchors:
                raise yaml.MarkedYAMLError(
                    problem="found undefined alias", problem_mark=event.start_mark
                )
            new = anchors[event.anchor]
        else:
            documents += kind is yaml.DocumentStartEvent
            if documents > 1:
                message = "a file holds one workflow; `---` starts a second document"
                place = source.place(event.start_mark)
                raise WorkflowError((Diagnostic("yaml-syntax", message, place=place),))
            continue
        if not stack:
            root = new
        else:
            top = stack[-1]
            if type(top) is Sequence:
                top.items.append(new)
            elif keys[-1] is None:
                keys[-1] = new
            else:
                top.pairs.append((keys[-1], new))  # type: ignore[union-attr]
                keys[-1] = None
        if kind is not yaml.AliasEvent and event.anchor is not None:
            anchors[event.anchor] = new
        if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            if len(stack) >= MAX_DEPTH:
                message = f"lists and maps are nested more than {MAX_DEPTH} deep"
                place = source.place(event.start_mark)
                raise WorkflowError((Diagnostic("too-deep", message, place=place),))
            stack.append(new)  # type: ignore[arg-type]
            keys.append(None)
    return root


def _repaired(text: str, error: yaml.MarkedYAMLError) -> tuple[str, yaml.Mark] | None:
    """The text with the braces of an unquoted `${...}` before the error replaced."""
    mark = error.problem_mark
    if mark is None:
        return None
    starts = [m.end() for m in _LINE_BREAK.finditer(text)]
    begin = starts[mark.line - 1] if 0 < mark.line <= len(starts) else 0
    at = begin + mark.column
    end = starts[mark.line] if mark.line < len(starts) else len(text)
    for found in re.finditer(r"\$\{([^{}\n]*)\}", text[begin:end]):
        opening, closing = begin + found.start() + 1, begin + found.end() - 1
        if at in (opening, closing, closing + 1) or found.start(1) + begin == at:
            fixed = (
                text[:opening] + OPEN + text[opening + 1 : closing] + CLOSE + text[closing + 1 :]
            )
            # Other insertions in the same text: braces of one text are one mistake.
            tail_end = end
            for sign in ",]\n\"'":
                position = fixed.find(sign, closing + 1, tail_end)
                tail_end = position if position >= 0 else tail_end
            tail = re.sub(r"\$\{([^{}\n]*)\}", rf"${OPEN}\1{CLOSE}", fixed[closing + 1 : tail_end])
            column = opening - begin - 1
            start = yaml.Mark(mark.name, 0, mark.line, column, None, 0)
            return fixed[: closing + 1] + tail + fixed[tail_end:], start
    return None


_HINTS: Final = (
    (r"\t", "indent with spaces: YAML allows no tabs"),
    (r"@|`", 'text that starts with @ or ` needs quotes: "..."'),
    (r"%", 'text that starts with % needs quotes: "..."'),
)


def _syntax(error: yaml.MarkedYAMLError, source: Source) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    problem = (error.problem or str(error)).replace("could not find expected", "expected")
    hint: str | None = None
    if "mapping values are not allowed" in problem:
        problem = "a second `: ` in one line"
        hint = (
            'text with a colon and a space in it needs quotes: "a cat: sitting"; '
            "or is a colon missing in the line above?"
        )
    elif "undefined alias" in problem:
        problem = "text that starts with * has no quotes"
        hint = 'write "*..." in quotes'
    elif "expected ',' or" in problem:
        hint = "is a comma, a closing bracket or a quote missing before this?"
    elif "expected <block end>" in problem or "block" in (error.context or ""):
        problem = "this line is indented otherwise than those it belongs to"
        hint = "the names of one map are indented equally: look at the line above too"
    if mark is None:
        return Diagnostic("yaml-syntax", problem, place=Place(source.file, 1), help=hint)
    began = error.context_mark
    if began is not None and began.line < mark.line:
        scanning = error.context or ""
        if "quoted scalar" in scanning:
            message = "the text that begins here has no closing quote"
            return Diagnostic("yaml-syntax", message, place=source.place(began))
        if "simple key" in scanning:
            hint = "write a name, a colon and a value"
            return Diagnostic(
                "yaml-syntax", "a colon is missing", place=source.place(began), help=hint
            )
        if "flow" in scanning:
            closing = "}" if "mapping" in scanning else "]"
            message = f"the `{'{' if closing == '}' else '['}` that begins here is not closed"
            hint = f"is a comma or a {closing} missing at the end of line {mark.line}?"
            return Diagnostic("yaml-syntax", message, place=source.place(began), help=hint)
    place = source.place(mark)
    character = (place.source or "")[mark.column : mark.column + 1]
    for pattern, text in _HINTS:
        if character and re.match(pattern, character) and "token" in problem:
            hint = text
    if character == "-" and "block mapping" in (error.context or ""):
        hint = "a list item (- ...) stands among the names of a map: write name: ..."
    if error.context and error.context_mark and error.context_mark.line != mark.line:
        problem += f" ({error.context} that began in line {error.context_mark.line + 1})"
    return Diagnostic("yaml-syntax", problem, place=place, help=hint)


def _refusal(code: str, message: str, help: str | None = None) -> WorkflowError:
    return WorkflowError((Diagnostic(code, message, place=None, help=help),))


def _near(path: Path) -> str | None:
    from difflib import get_close_matches

    try:
        beside = [p.name for p in path.parent.glob("*.y*ml")]
    except (OSError, ValueError):
        return None
    near = get_close_matches(path.name, beside, 1)
    return f"did you mean {path.parent / near[0]}?" if near else None
