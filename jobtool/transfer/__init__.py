"""The transfer of one job: which files to copy, in which order, and the proof of each arrival."""
