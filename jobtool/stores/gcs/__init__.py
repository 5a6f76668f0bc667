"""Google Cloud Storage: its JSON API, and its XML API for reading."""
