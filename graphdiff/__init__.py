"""Diffusion workflows as code: typed graphs that are checked, planned, cached and run."""
