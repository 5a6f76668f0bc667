"""Making a catalog anew, from the receipts of joblists or wherever else copies are known from."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from tempfile import TemporaryDirectory

from jobtool.catalog.catalog import Catalog
from jobtool.catalog.compaction import write_as_one
from jobtool.catalog.copy import Copy
from jobtool.catalog.folder import CatalogFolder, folder_at
from jobtool.catalog.writer import CatalogWriter
from jobtool.errors import CatalogError
from jobtool.names import quote
from jobtool.stores.registry import StoreRegistry


def rebuild(
    copies: Iterable[Copy],
    place: str | CatalogFolder,
    *,
    writer: str = "rebuild",
    stores: StoreRegistry | None = None,
) -> int:
    """Write a catalog of copies to a place without one, as one file; return their number.

    Copies may come in any order, and several times: the newest record of each counts. A catalog
    that holds the same copies already is left as it is. Takes bounded memory, and room for the
    catalog in the folder for temporary files. Raises ``CatalogError`` for a catalog that holds
    others, ``UsageError`` for a copy that can't be recorded, and the errors of reading and writing.
    A kill leaves no catalog, or the whole one.
    """
    folder = folder_at(place, stores, role="destination")
    with TemporaryDirectory(prefix="jobtool-catalog-") as temporary:
        collecting = CatalogWriter(temporary, writer)
        collecting.add(copies)
        collecting.flush()
        made = Catalog(temporary)
        if not folder.listing():
            return write_as_one(folder, made)
        return _require_same(folder, made)


def _require_same(folder: CatalogFolder, made: Catalog) -> int:
    count = 0
    for known, found in zip_longest(Catalog(folder).copies(), made.copies()):
        if known != found:
            about = known or found
            assert about is not None
            raise CatalogError(
                f"{quote(folder.url)}: expected no catalog here, or one of the same copies; "
                f"{_difference(known, found)} for {quote(about.item)} at {quote(about.url)}. "
                "Rebuild it at another place, compare, and then use that one."
            )
        count += 1
    return count


def _key(copy: Copy) -> tuple[str, str]:
    """Return what copies are sorted by."""
    return quote(copy.item), quote(copy.url)


def _difference(known: Copy | None, found: Copy | None) -> str:
    if known is None or (found is not None and _key(known) > _key(found)):
        return "it lacks a record"
    if found is None or _key(known) < _key(found):
        return "it has a record that isn't among those to be written"
    fields = [
        name for name in Copy.__struct_fields__ if getattr(known, name) != getattr(found, name)
    ]
    return f"it has another {fields[0]}"
