"""Claim, transfer, record, until the time is up."""
