"""The ``[packages.receive]`` table of joblist.toml: what is done with packages that arrive."""

from __future__ import annotations

import msgspec


class ReceiveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[packages.receive]`` table of a joblist that ``jobtool receive`` made.

    ``site`` is the site at which the packages have arrived, None without sites. ``unpack`` is the
    place that items are unpacked to, ``archive`` the one that packages are archived at; None if
    that isn't done here.
    """

    site: str | None = None
    unpack: str | None = None
    archive: str | None = None
