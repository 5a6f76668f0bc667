"""Jobs as they lie on disk."""
