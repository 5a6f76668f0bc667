"""Archived items staged on demand: who needs what where until when, and freeing the space."""
