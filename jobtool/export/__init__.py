"""Exports: the rows of a query become files, in order, and each file arrives."""
