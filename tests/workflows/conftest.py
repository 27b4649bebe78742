"""The small checkpoints that the pipelines' tests build."""

from tests.pipelines.conftest import _cache, checkpoint

__all__ = ["_cache", "checkpoint"]
