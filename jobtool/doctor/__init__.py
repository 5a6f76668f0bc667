"""The diagnosis: checks that transfers of this joblist will work from these nodes."""
