"""Measurements against diffusers, made side by side: `python -m benchmarks`."""
