"""S3 credentials: where they come from, how they are renewed."""
