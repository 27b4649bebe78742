"""Workflows as pictures of themselves: what is drawn, where, and in which format."""
