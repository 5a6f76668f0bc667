"""Notices: who is told when a joblist is done, fails, stands still, or once a day."""
