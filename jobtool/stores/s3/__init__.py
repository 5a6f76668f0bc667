"""The stores on servers that speak the S3 protocol."""
