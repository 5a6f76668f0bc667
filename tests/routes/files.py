"""Files of sites and routes for tests."""

from __future__ import annotations

from datetime import UTC, datetime

from jobtool.routes.sites import Sites
from jobtool.routes.sitesfile import read_sites

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)

#: Three sites, each with a buffer; ``c`` has all locations.
SITES = """
time_zone = "UTC"
[sites.a.buffer]
url = "/a"
[sites.a.archive]
url = "/a-archive"
[sites.b.buffer]
url = "/b"
[sites.b.processing]
url = "/b-work"
[sites.c.buffer]
url = "s3://cc/buffer"
[sites.c.archive]
url = "s3://cc/archive"
[sites.c.processing]
url = "s3://cc/work"
[sites.d.buffer]
url = "/d"
"""


def read(*routes: str, sites: str = SITES) -> Sites:
    """Read a file with these routes, each the lines of one table."""
    text = sites + "".join(f"\n[[routes]]\n{route}\n" for route in routes)
    return read_sites(text, path="sites.toml")
