"""Steps: what a job does besides copying, and the packages that provide it."""
