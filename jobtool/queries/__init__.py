"""Databases that queries are exported from: connections, dialects of SQL, rows as Arrow batches."""
