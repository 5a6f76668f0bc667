"""Methods: ways to move a job's files, provided by packages."""
