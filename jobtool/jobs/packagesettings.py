"""The ``[packages]`` table of joblist.toml: how items are bundled, and what becomes of packages."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from jobtool.jobs.receivesettings import ReceiveSettings

#: What may follow once a package has arrived at a site, in this order.
SiteStep = Literal["unpack", "verify", "archive"]

#: What is freed once a package is done at all its destinations.
Release = Literal["nothing", "buffers", "source"]

#: The size from which a package is full, by default.
DEFAULT_PACKAGE_BYTES = 100 * 10**9

#: How long what was released from the source stays in the trash folder.
DEFAULT_KEEP_DAYS = 30

#: How long a failed step waits before its second try. The wait doubles with each failure.
DEFAULT_BACKOFF_SECONDS = 60.0


class PackageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[packages]`` table.

    ``sites`` is the path of the file of sites and routes, None for packages that go to the
    joblist's destination. ``origin`` is the place where packages begin, ``to`` are the sites they
    go to. ``pack`` says whether a package is written to the origin first (``buffer``), or composed
    while it is sent (``stream``). ``steps`` are done at each destination. ``release`` says what is
    freed in the end, ``keep_days`` how long the source's files stay in the trash. ``catalog`` is
    the place of the catalog of copies, None for none.

    A package is closed once its items have ``package_bytes`` bytes, or ``max_wait_seconds`` after
    its first item was seen; without that at once. Items are taken in ``order``, and those that
    differ in a field of ``group_by`` never share a package. ``item`` is the pattern of the items
    below the source, None for all entries of its root. ``name`` is what the packages' names begin
    with, None for that of the joblist's folder. ``backoff_seconds`` is how long a failed
    step waits before it is tried again, twice as long after each further failure. ``receive`` says
    what is done with packages that have arrived from elsewhere; None for a joblist that makes
    packages.
    """

    sites: str | None = None
    origin: str | None = None
    to: tuple[str, ...] = ()
    pack: Literal["stream", "buffer"] = "stream"
    steps: tuple[SiteStep, ...] = ()
    release: Release = "nothing"
    keep_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = DEFAULT_KEEP_DAYS
    catalog: str | None = None
    item: str | None = None
    name: str | None = None
    package_bytes: Annotated[int, msgspec.Meta(ge=1, le=2**60)] = DEFAULT_PACKAGE_BYTES
    group_by: tuple[str, ...] = ()
    order: Literal["name", "time"] = "name"
    max_wait_seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None
    backoff_seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = DEFAULT_BACKOFF_SECONDS
    receive: ReceiveSettings | None = None


def backoff_seconds_of(packages: PackageSettings | None) -> float:
    """Return how long a job that failed waits for its second try; 0 for jobs without packages."""
    return 0.0 if packages is None else packages.backoff_seconds
