"""The diagnosis: whether transfers of this joblist will work from these nodes."""
