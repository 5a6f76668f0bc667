"""The diagnosis: whether this joblist, from these nodes, to this destination, will work."""
