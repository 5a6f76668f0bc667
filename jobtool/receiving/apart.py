"""Places that must be apart: where packages have arrived, where they go, and the joblist.

A package comes from somebody else. Its items must never replace job files or other packages.
"""

from __future__ import annotations

import os

from jobtool.errors import UsageError
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.receivesettings import ReceiveSettings
from jobtool.names import quote
from jobtool.stores.location import inside, is_local, join


def require_apart(urls: tuple[str, ...], joblist_path: str, packages: PackageSettings) -> None:
    """Raise ``UsageError`` if packages would go to where they lie, or into the joblist."""
    here = packages.receive or ReceiveSettings()
    for url in urls:
        if here.archive == url:
            raise UsageError(
                f"--archive: {quote(url)} is where the packages have arrived. Name another folder."
            )
        if here.unpack == url:
            raise UsageError(
                f"--unpack: {quote(url)} is where the packages have arrived. Name another folder."
            )
    for option, place in (("--unpack", here.unpack), ("--archive", here.archive)):
        if place is not None and inside(_real(joblist_path), _real(place)) is not None:
            raise UsageError(
                f"{option}: {quote(place)} lies in the joblist {quote(joblist_path)}. Name another "
                "folder."
            )


class KeptPlaces:
    """Places that no item may be written to: the joblist, and the folders of packages."""

    def __init__(self, urls: tuple[str, ...], joblist_path: str, packages: PackageSettings) -> None:
        here = packages.receive or ReceiveSettings()
        self._unpack = None if here.unpack is None else _real(here.unpack)
        places = [joblist_path, *urls, *([] if here.archive is None else [here.archive])]
        self._places = {_real(place): place for place in places}

    def hit_by(self, item: str) -> str | None:
        """Return the place that an item would be unpacked in or around; None for none."""
        if self._unpack is None:
            return None
        target = join(self._unpack, item)
        for real, place in self._places.items():
            is_around = inside(target, real) is not None
            is_in = inside(real, target) is not None and inside(real, self._unpack) is None
            if is_around or is_in:
                return place
        return None


def _real(place: str) -> str:
    return os.path.realpath(place) if is_local(place) else place
