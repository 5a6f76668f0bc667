"""The worker: claims jobs, transfers them and records the result, until its time is up."""
