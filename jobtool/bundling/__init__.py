"""Joblists of packages: items of a source are bundled, and each step of a package is a job."""
