"""Lists of files that other programs wrote: names, find, ``aws s3 ls``, S3 Inventory."""
