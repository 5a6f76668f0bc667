"""Read-only folds over a joblist."""
