"""Maintenance of a joblist: verify what arrived, retry what failed, clean up what was left."""
