"""Work sharing: a job's holder gives batches of its work to workers without a job."""
