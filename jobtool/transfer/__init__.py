"""One job's bytes: what to copy, in which order, and the proof that it arrived."""
