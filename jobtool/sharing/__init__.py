"""Work sharing: the holder of a job gives batches of its work to workers without a job."""
