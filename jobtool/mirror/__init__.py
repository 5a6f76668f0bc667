"""A second look at a source: what is new, changed or gone, and what of that follows."""
