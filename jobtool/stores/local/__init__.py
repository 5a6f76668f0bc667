"""Files of this machine: a path or ``file://``."""

from jobtool.stores.local.links import LinkPolicy
from jobtool.stores.local.store import LocalStore
from jobtool.stores.local.temporaries import TEMPORARY_PREFIX, owner_tag

__all__ = ["TEMPORARY_PREFIX", "LinkPolicy", "LocalStore", "owner_tag"]
