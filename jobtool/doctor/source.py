"""The source: checks that it can be read."""

from __future__ import annotations

from itertools import islice

from jobtool.doctor.checkresult import CheckResult, Subject
from jobtool.errors import JobtoolError, NotFoundError
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.stores.location import parent_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, Store, entry_of, kind_of
from jobtool.transfer.selecting import is_left_out, list_selected, selection_in

_FIRST_BYTES = 64 * 1024
_FIRST_ENTRIES = 1000


def source_result(url: str, stores: StoreRegistry, joblist: JobList) -> CheckResult:
    """List the beginning of a source, a tree or a file, and read its first bytes.

    What the joblist's filters leave out isn't read.
    """
    source = Subject("source", url)
    check = "read"
    try:
        found = _first_entry(url, stores, joblist)
        if found is None:
            return source.passed(check, "it is there, and its first entries hold no file")
        store, entry = found
        content = store.read(entry, 0, min(entry.size, _FIRST_BYTES))
    except NotFoundError as error:
        return source.failed(
            check,
            str(error),
            "Was it moved or removed, or isn't it mounted on this node? Its jobs would be errors.",
        )
    except JobtoolError as error:
        return source.failed(check, str(error), "Make it readable for you on this node.")
    name = quote(entry.path)
    return source.passed(check, f"listed, and {len(content.data)} bytes of {name} were read")


def _first_entry(url: str, stores: StoreRegistry, joblist: JobList) -> tuple[Store, Entry] | None:
    """Return the first file of a source; raises ``NotFoundError`` and the store's errors."""
    store = stores.open(url, "source")
    kind = kind_of(store, "")
    if kind == "folder":
        selection = selection_in(joblist, url)
        for entry in islice(list_selected(store, selection), _FIRST_ENTRIES):
            if isinstance(entry, Entry) and not is_left_out(selection, entry):
                return store, entry
        return None
    folder, name = parent_of(url)
    if not name:  # a bucket, which isn't a file
        raise NotFoundError(f"expected a folder or file at {quote(url)}; found nothing")
    store = stores.open(folder, "source")
    return store, entry_of(store, name)
