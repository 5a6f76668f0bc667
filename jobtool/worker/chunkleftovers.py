"""Leftovers of an export: what earlier tries began to send, and nobody will finish.

A chunk that hasn't arrived is made anew, as another file. So no upload of it is ever resumed.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobtool.errors import CredentialsError, FileError
from jobtool.failpoints import reach
from jobtool.jobs.records import Record
from jobtool.stores.location import parent_of
from jobtool.stores.optional import Multipart, Temporaries, supports
from jobtool.stores.store import Attributes, Store, Upload
from jobtool.transfer.leftovers import open_intents, open_uploads


def remove_unfinished(destination: Store, records: Sequence[Record]) -> int:
    """Remove a job's unfinished writes in ``destination``; return their number.

    ``records`` are all records of the job. Raises the errors of stores after which another try may
    help. Without permission to list uploads those that no record names stay.
    """
    reach("before leftovers of chunks are removed")
    found: dict[str, Upload] = {}
    if supports(destination, Temporaries):
        found = {one.token: one for one in _leftovers(destination, "file", 0)}
    elif supports(destination, Multipart):
        for url, since_ns in open_intents(records).items():
            unnamed = _leftovers(destination, parent_of(url)[1], since_ns)
            found |= {one.token: one for one in unnamed}
        for token, url in open_uploads(records).items():
            path = parent_of(url)[1]
            found[token] = Upload(path=path, token=token, attributes=Attributes(mtime_ns=0))
    if supports(destination, Multipart) or supports(destination, Temporaries):
        for upload in found.values():
            destination.abort(upload)
    return len(found)


def _leftovers(store: Multipart | Temporaries, path: str, since_ns: int) -> Sequence[Upload]:
    try:
        return store.leftovers(path, since_ns)
    except (CredentialsError, FileError) as error:
        if error.retryable:
            raise
        return ()
