"""Where S3 credentials come from, and how they are kept fresh."""
