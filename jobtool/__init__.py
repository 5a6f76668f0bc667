"""Resumable, job-file driven transfers of large scientific data sets, verified file by file."""

__version__ = "0.1.0"
