"""S3 credentials: their providers and their renewal."""
