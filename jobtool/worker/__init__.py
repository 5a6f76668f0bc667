"""The worker: claims one job after another, transfers it, records the result."""
