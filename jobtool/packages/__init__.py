"""Packages: many files as one tar, its index and its manifest."""
