"""Exports: the rows of a query as chunks, each a file of its own, with a digest of its rows."""
