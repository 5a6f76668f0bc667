"""The policies that users may choose."""

from __future__ import annotations

from typing import Literal

import msgspec

from jobtool.jobs.forms import Compression
from jobtool.methods.method import OWN_METHODS
from jobtool.stores.local import LinkPolicy
from jobtool.stores.preserve import KEEP_BY_DEFAULT, Kept

IfExists = Literal["verify", "overwrite", "error"]
Verify = Literal["digest", "read-back"]
IfGone = Literal["error", "ignore"]


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """The policies that users may choose.

    ``if_exists``: a file that is at the destination without a receipt is compared and adopted if it
    is the same (``verify``), sent again (``overwrite``), or an ``error``. ``links`` is what listing
    does with symbolic links. ``verify``: a written file is proven by the store's own digest where
    that is a proof (``digest``), or by reading it again from its medium (``read-back``).
    ``if_gone``: a file that an earlier attempt has listed, that didn't arrive and that is gone from
    the source is an ``error``, or is left out (``ignore``). ``preserve``: the attributes of files
    and folders that are kept, where stores can keep them. ``own_methods``: which of jobtool's own
    methods move files. ``compression``: files are stored compressed by ``zstd`` or ``gzip`` where
    that is worth it, or such files are stored as what they were (``unpack``).
    """

    if_exists: IfExists = "verify"
    links: LinkPolicy = "follow"
    verify: Verify = "digest"
    if_gone: IfGone = "error"
    preserve: frozenset[Kept] = KEEP_BY_DEFAULT
    own_methods: tuple[str, ...] = OWN_METHODS
    compression: Compression = "none"
