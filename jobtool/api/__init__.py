"""What the commands do, as functions: they take paths, return typed results, print nothing."""
