"""Reading a catalog: the copies of items, of packages, at sites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jobtool.catalog.copy import Copy
from jobtool.catalog.folder import CatalogFolder, folder_at
from jobtool.catalog.reading import records_of
from jobtool.catalog.recordfile import copies_of
from jobtool.errors import CatalogError, NotFoundError, SourceChangedError
from jobtool.names import quote
from jobtool.stores.registry import StoreRegistry

if TYPE_CHECKING:
    import pyarrow as pa

#: How often reading goes on after a compaction has removed files under it.
_MOST_COMPACTIONS = 100


class Catalog:
    """Reads the catalog at a URL or path. Contacts nothing yet; see ``CatalogFolder`` for errors.

    Records that are written while it is read may or may not be seen. Those that were complete
    before are, also while compactions replace their files.
    """

    def __init__(self, place: str | CatalogFolder, *, stores: StoreRegistry | None = None) -> None:
        self.folder = folder_at(place, stores)

    @property
    def url(self) -> str:
        """The absolute path or URL of the catalog."""
        return self.folder.url

    def is_empty(self) -> bool:
        """Return True if there is no file of records, so perhaps no catalog at all."""
        return not self.folder.listing()

    def copies(
        self,
        item: str | Sequence[str] | None = None,
        *,
        package: str | None = None,
        site: str | None = None,
    ) -> Iterator[Copy]:
        """Yield the copies as the newest record of each says, in any state, sorted by item.

        ``item`` is the only one wanted, or several; ``package`` and ``site`` select by what the
        newest record says. Nothing that fits yields nothing. The order is that of the bytes of the
        quoted item, then of the quoted URL. Bounded memory; for one item a file of a compaction is
        read in one place only. Raises ``CatalogError`` for a file that isn't one of a catalog, and
        the errors of listing and reading.
        """
        import pyarrow.compute as pc

        items = [item] if isinstance(item, str) else item
        for table in self.tables(items):
            found = table
            for name, value in (("package", package), ("site", site)):
                if value is not None:
                    found = found.filter(pc.equal(found[name], quote(value)))
            yield from copies_of(found)

    def tables(self, items: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the same as tables with the columns of the files, all copies of an item in one."""
        wanted = None if items is None else [quote(item) for item in items]
        last: str | None = None
        for _ in range(_MOST_COMPACTIONS):
            entries = self.folder.listing()
            try:
                for table in records_of(self.folder, entries, items=wanted, above=last):
                    if table.num_rows:
                        last = table["item"][table.num_rows - 1].as_py()
                        yield table
                return
            except (NotFoundError, SourceChangedError) as error:
                # A compaction has removed a file. Its own file has what is missing: what was
                # yielded is of whole items, so reading goes on after the last one.
                gone = error
                if {entry.path for entry in self.folder.listing()} == {e.path for e in entries}:
                    raise
        raise CatalogError(
            f"{quote(self.url)}: expected to read it between compactions; {_MOST_COMPACTIONS} "
            f"have removed files under it: {gone}. Try again later."
        )
