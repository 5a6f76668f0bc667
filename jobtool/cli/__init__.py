"""The commands: thin, and the only part that prints."""
