"""Stores: where the bytes of files are."""
