"""Measurements on a GPU, against diffusers: `python -m benchmarks.gpu TABLE`; see the README."""
