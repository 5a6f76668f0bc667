"""The transfer of one job, from the plan of its files to the proof of each arrival."""
