"""Plain data: text, numbers and lists, worked out when the run is planned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge

from graphdiff.graph.node import node


@node(at="plan")
def FormatText(template: str, values: dict[str, str | int | float | bool]) -> str:
    """Put values into a text.

    Args:
        template: The text, with `{name}` where a value goes; numbers may be shaped as in
            `{seed:04d}`.
        values: The values by name.
    """
    try:
        return template.format_map(values)
    except KeyError as error:
        known = ", ".join(values) or "none"
        raise ValueError(f"the template wants {error.args[0]!r}; the values are {known}") from None
    except (ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"the template {template!r} cannot be filled: {error}") from None


@node(at="plan")
def JoinText(parts: list[str], separator: str = ", ") -> str:
    """Put texts behind each other; empty ones are left out.

    Args:
        parts: The texts.
        separator: What goes in between.
    """
    return separator.join(part for part in parts if part)


@node(at="plan")
def SplitText(text: str, separator: str = "\n") -> list[str]:
    """Take a text apart; empty pieces are left out.

    Args:
        text: The text.
        separator: What stands in between.
    """
    return [piece.strip() for piece in text.split(separator) if piece.strip()]


@node(at="plan")
def ListItem(items: list[Any], index: int = 0) -> Any:  # noqa: ANN401 - of whatever list
    """Take one item out of a list.

    Args:
        items: The list.
        index: Which, from 0; negative ones count from the end.
    """
    if not -len(items) <= index < len(items):
        raise ValueError(f"there is no item {index} in a list of {len(items)}")
    return items[index]


@node(at="plan")
def Length(items: list[Any]) -> int:
    """Count the items of a list.

    Args:
        items: The list.
    """
    return len(items)


@node(at="plan")
def Seeds(seed: int, count: Annotated[int, Ge(0)]) -> list[int]:
    """List the seeds that follow one, itself first.

    Args:
        seed: The first.
        count: How many.
    """
    return [seed + i for i in range(count)]


@node(at="plan")
def Ramp(
    start: float,
    end: float,
    steps: Annotated[int, Ge(1)],
    *,
    shape: Literal["linear", "cosine", "step"] = "linear",
) -> list[float]:
    """List numbers that go from one to another, such as a guidance scale for each step.

    Args:
        start: The first.
        end: The last.
        steps: How many.
        shape: `linear` goes evenly, `cosine` slowly at both ends, `step` jumps in the middle.
    """
    import math

    shares = [i / (steps - 1) if steps > 1 else 0.0 for i in range(steps)]
    match shape:
        case "linear":
            pass
        case "cosine":
            shares = [(1 - math.cos(math.pi * share)) / 2 for share in shares]
        case "step":
            shares = [float(share >= 0.5) for share in shares]
    return [start + (end - start) * share for share in shares]


@node(at="plan")
def Calculate(a: float, operation: Literal["+", "-", "*", "/", "min", "max"], b: float) -> float:
    """Work out one number from two.

    Args:
        a: The first.
        operation: What to do.
        b: The second.
    """
    match operation:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            if b == 0:
                raise ValueError("b is 0: nothing can be divided by it")
            return a / b
        case "min":
            return min(a, b)
        case "max":
            return max(a, b)


@node(at="plan")
def Round(value: float) -> int:
    """Round a number to a whole one; halves go to the even one.

    Args:
        value: The number.
    """
    return round(value)
