"""Joblists of packages that have arrived from elsewhere."""
