"""Batch scripts for schedulers: pure functions from a request to the text of a script."""
