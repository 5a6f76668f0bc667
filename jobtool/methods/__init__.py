"""How a job's bytes move: what a method is, and where packages' methods are found."""
