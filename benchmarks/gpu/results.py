"""What was measured so far, written again after each row, so that nothing is lost with a run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import report
from benchmarks.bars import bars
from benchmarks.rounds import Row


class Results:
    """Rows, in a JSON file and a picture.

    Args:
        folder: Where they lie.
        name: What they are called.
        facts: What else the file says.
    """

    def __init__(self, folder: Path, name: str, facts: Mapping[str, Any]) -> None:
        self.rows: list[Row] = []
        self.data, self.picture = folder / f"{name}.json", folder / f"{name}.png"
        self._facts = facts
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.rows.append(row)
        threads = torch.get_num_threads()
        document = report.document(self.rows, threads=threads, facts=self._facts)
        started = self.data.with_suffix(".part")
        started.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        os.replace(started, self.data)
        bars(self.rows, self.data.stem).save(self.picture)
