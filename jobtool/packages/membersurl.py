"""The URL of a package's members, by which they are a source like any other."""

from __future__ import annotations

from jobtool.stores.location import join


def members_url(folder: str, tar: str) -> str:
    """Return the URL of the members of the package whose tar is in a folder, a path or URL."""
    url = join(folder, tar)
    return f"package+{url}" if "://" in url else f"package+file://{url}"
