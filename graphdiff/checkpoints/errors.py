"""What is wrong with a checkpoint: the file, the tensor, what was expected and what was found."""

from __future__ import annotations

from pathlib import Path


class CheckpointError(ValueError):
    """A checkpoint cannot be used as it is.

    The message reads on its own; the attributes hold its parts for programs.

    Args:
        message: What is wrong, where, and what to do instead.
        file: The file that is at fault.
        tensor: The tensor in it.
        expected: What should have been there.
        found: What is there.
    """

    def __init__(
        self,
        message: str,
        *,
        file: Path | None = None,
        tensor: str | None = None,
        expected: object = None,
        found: object = None,
    ) -> None:
        super().__init__(message)
        self.file = file
        self.tensor = tensor
        self.expected = expected
        self.found = found
