"""Steps: what a job does besides copying, provided by packages."""
