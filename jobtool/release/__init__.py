"""The safe freeing of what has been moved: proof, trash, and a record of each deletion."""
