"""Reading packages: listing, reading and unpacking members, references to them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobtool.api.places import Place, beside, destination_url, local_path, text_of
from jobtool.errors import NotFoundError
from jobtool.events import Emit
from jobtool.names import quote
from jobtool.packages.bags import DATA, require_bag, write_bag
from jobtool.packages.index import IndexRow
from jobtool.packages.package import Package, Placed, open_package
from jobtool.packages.readevents import LinkLeftOut, Unpacked
from jobtool.packages.references import write_references
from jobtool.packages.reindex import reindex
from jobtool.packages.runs import read_proven
from jobtool.packages.selection import Selection
from jobtool.packages.tarreading import TarItem
from jobtool.packages.unpacking import DEFAULT_THREADS, Unpacking
from jobtool.stores.location import Location, parent_of
from jobtool.stores.registry import StoreRegistry

#: The settings of stores by their schemes, as in joblist.toml.
Tables = Mapping[str, Mapping[str, Any]]

_SHOWN = "--set"


def package_at(place: Place, *, stores: Tables | None = None, has_index: bool = True) -> Package:
    """Open the package whose tar is at a path or URL; see ``open_package``.

    ``stores`` are settings such as ``{"s3": {"endpoint_url": …}}``. Without ``has_index`` the index
    isn't looked at.
    """
    location = Location.resolve(text_of(place))
    if location.is_local and not os.path.exists(location.url):
        raise NotFoundError(
            f"expected the tar of a package at {quote(location.url)}; found nothing."
            f"{beside(location.url)} Correct the path."
        )
    registry = StoreRegistry(stores, shown=_SHOWN)
    return open_package(text_of(place), registry, has_index=has_index)


def list_members(
    package: Package, members: Sequence[str] = (), *, on_event: Emit | None = None
) -> Iterator[IndexRow]:
    """Yield the selected members of a package in the order of its tar.

    ``members`` are paths and patterns, see ``Selection``. A tar without an index is read for its
    headers; its members have an empty ``md5``. Raises the errors of ``Package.members``, and
    ``NotFoundError``, after the last one, for a path or pattern without a member.
    """
    selection = Selection(members)
    for placed in package.members(on_left_out=_teller(on_event)):
        if selection.matches(placed.row.path):
            yield placed.row
    selection.require_used(package.url)


def read_members(package: Package, members: Sequence[str]) -> Iterator[memoryview]:
    """Yield the bytes of members, those of one after the other, in the order of ``members``.

    A pattern's members are in the order of the tar. Each member is compared with the index after
    its last bytes. Raises ``PackageError`` if it has other ones, and the errors of
    ``list_members`` before any byte is read.
    """
    selection = Selection(members)
    found: list[list[Placed]] = [[] for _ in members]
    for placed in package.members():
        for number in selection.numbers(placed.row.path):
            found[number].append(placed)
    selection.require_used(package.url)
    for group in found:
        for placed in group:
            yield from read_proven(package, placed)


def get_members(
    package: Package,
    destination: Place,
    members: Sequence[str] = (),
    *,
    stores: Tables | None = None,
    threads: int = DEFAULT_THREADS,
    may_replace: bool = True,
    as_bag: bool = False,
    on_event: Emit | None = None,
) -> Unpacked:
    """Unpack members into a folder or a URL; none of them named means all.

    Each is proven against the index before it has its name. Members that are there are compared by
    digest. With ``as_bag`` the members are below ``data`` of a BagIt bag. See ``Unpacking`` for the
    other arguments and the errors. Members that failed are events and counted.
    """
    if as_bag:
        require_bag(package)
    registry = StoreRegistry(stores, links="error", shown=_SHOWN)
    owner = f"get {package.url}"
    target = registry.open(destination_url(destination), "destination", owner=owner)
    selection = Selection(members)
    done = Unpacking(
        package,
        target,
        selection=selection,
        folder=DATA if as_bag else "",
        threads=threads,
        may_replace=may_replace,
        on_event=on_event,
    ).run()
    if as_bag and not done.failed:
        write_bag(package, target, selection)
    return done


def reindex_package(
    package: Package, *, stores: Tables | None = None, on_event: Emit | None = None
) -> int:
    """Write the index of a package beside its tar; see ``reindex``. Return its members."""
    registry = StoreRegistry(stores, shown=_SHOWN)
    folder, _ = parent_of(package.url)
    return reindex(package, registry.open(folder, "destination"), on_left_out=_teller(on_event))


def refer_to(packages: Sequence[Package], output: Place, *, below: str = "") -> int:
    """Write an fsspec reference file of packages; see ``write_references``. Return its entries."""
    for package in packages:
        package.require_index_digest()
    return write_references(packages, local_path(output), below=below)


def _teller(on_event: Emit | None) -> Any:
    if on_event is None:
        return None

    def tell(item: TarItem) -> None:
        on_event(LinkLeftOut(link=item.path, target=item.target))

    return tell
