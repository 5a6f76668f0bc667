"""Layouts: how a source tree becomes jobs."""
