"""Many small files to and from S3, packed and as they are: see ``__main__``."""
