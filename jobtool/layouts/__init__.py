"""From a source tree to jobs."""
