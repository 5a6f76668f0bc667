"""The store type of a package's members: ``package+SCHEME://…/NAME.tar``.

The tar is the first part of the path that ends in ``.tar``. What follows is inside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobtool.stores.infiles import file_around
from jobtool.stores.location import Location
from jobtool.stores.storetype import Opening, Setup, StoreType

if TYPE_CHECKING:
    from jobtool.stores.store import Store

_SUFFIX = ".tar"


def members_url(tar: str) -> str:
    """Return the URL of the members of a package whose tar is at an absolute path or URL."""
    return f"package+{tar}" if "://" in tar else f"package+file://{tar}"


def _split(path: str) -> tuple[str, str] | None:
    parts = path.split("/")
    for number, part in enumerate(parts):
        if part.endswith(_SUFFIX) and part != _SUFFIX:
            return "/".join(parts[: number + 1]), "/".join(parts[number + 1 :])
    return None


def _share(setup: Setup) -> object:
    from jobtool.packages.opened import OpenedPackages

    return OpenedPackages()


def _open(location: Location, opening: Opening) -> Store:
    from jobtool.packages.memberstore import MemberStore
    from jobtool.packages.opened import OpenedPackages

    assert opening.other is not None
    assert isinstance(opening.shared, OpenedPackages)
    folder, name = file_around(location)
    return MemberStore(
        location.root,
        opening.other(folder),
        name,
        below=location.path,
        opened=opening.shared,
        keep=opening.setup.keep,
    )


STORE_TYPE = StoreType(
    open=_open, share=_share, split=_split, file_shown="NAME.tar", source_only=True
)
