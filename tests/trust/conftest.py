"""Finished joblists, as the audit's tests make them."""

from __future__ import annotations

from tests.audit.conftest import joblist, local, place, s3

__all__ = ["joblist", "local", "place", "s3"]
