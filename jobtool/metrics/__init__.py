"""Metrics: what a worker does, for Prometheus, InfluxDB and StatsD."""
