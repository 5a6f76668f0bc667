"""Interfaces of other programs, as thin faces of jobtool's engine."""
