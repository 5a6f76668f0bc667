"""Test tools for authors of stores and layouts."""
