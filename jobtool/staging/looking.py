"""Looking at a copy before it is relied on: whether it is there, and where its files are read."""

from __future__ import annotations

from functools import partial

from jobtool.catalog.copy import Copy
from jobtool.errors import JobtoolError
from jobtool.names import quote
from jobtool.packages.memberkind import members_url
from jobtool.stores.location import is_local, join, parent_of, unfit_reason
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, kind_of
from jobtool.transfer.retry import Retry


def source_of(copy: Copy) -> str:
    """Return the path or URL from which the files of a copy are read."""
    return copy.url if copy.form == "files" else join(members_url(copy.url), copy.item)


class Looks:
    """Looks once at each place. Opens stores by ``stores``."""

    def __init__(self, stores: StoreRegistry, retry: Retry | None = None) -> None:
        self._stores = stores
        self._retry = retry or Retry()
        self._found: dict[tuple[str, str], str | None] = {}

    def why_not(self, copy: Copy, site: str) -> str | None:
        """Return why a present copy can't be staged at a site after all; None if it can.

        The package's tar, or the folder of open files, must be there now.
        """
        if unfit_reason(copy.item) is not None:
            return f"its name can't be a path: it has {unfit_reason(copy.item)}"
        key = (copy.url, copy.form)
        if key not in self._found:
            self._found[key] = self._look(copy)
        reason = self._found[key]
        if reason is not None and is_local(copy.url) and copy.site != site:
            return f"{quote(copy.url)} is a path of {copy.site}, which isn't seen here"
        return reason

    def _look(self, copy: Copy) -> str | None:
        try:
            if copy.form == "files":
                store, name = self._stores.open(copy.url, "source"), ""
                kind = self._retry.call(partial(kind_of, store, name))
                if kind == "missing":
                    folder, name = parent_of(copy.url)
                    kind = self._retry.call(
                        partial(kind_of, self._stores.open(folder, "source"), name)
                    )
                return f"nothing is at {quote(copy.url)} now" if kind == "missing" else None
            folder, name = parent_of(copy.url)
            store = self._stores.open(folder, "source")
            found = self._retry.call(partial(store.stat, name, file_only=True))
            return None if isinstance(found, Entry) else f"no tar is at {quote(copy.url)} now"
        except JobtoolError as error:
            return str(error)
