"""Formats of the files that an export writes."""
