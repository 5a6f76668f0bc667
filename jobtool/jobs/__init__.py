"""Jobs on disk: job files, joblists and claims."""
