"""Test tools for authors of stores."""
