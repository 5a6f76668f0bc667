"""Jobs on disk: job files, joblists, claims."""
