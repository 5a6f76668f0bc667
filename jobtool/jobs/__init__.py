"""What a job is and how it lies on disk."""
