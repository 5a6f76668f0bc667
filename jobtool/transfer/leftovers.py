"""What killed attempts at a job left unfinished, and no record names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from jobtool.errors import CredentialsError, FileError
from jobtool.jobs.records import Receipt, Record, UploadRecord
from jobtool.stores.optional import Multipart, Temporaries, supports
from jobtool.transfer.ledger import Ledger


def open_uploads(records: Iterable[Record]) -> dict[str, str]:
    """Return the uploads that were begun and that no receipt followed: token to destination."""
    begun: dict[str, str] = {}
    tokens: dict[str, list[str]] = {}
    for record in records:
        if isinstance(record, UploadRecord):
            begun[record.token] = record.dst_path
            tokens.setdefault(record.dst_path, []).append(record.token)
        elif isinstance(record, Receipt):
            for token in tokens.pop(record.dst_path, ())[-1:]:
                begun.pop(token, None)
    return begun


def remove_leftovers(
    ledger: Ledger,
    *,
    is_stopping: Callable[[], bool],
    numbers: Iterable[int] | None = None,
) -> int:
    """Remove what killed attempts at this job left unfinished and no record names; return how many.

    Looks only where a file isn't proven yet, or where ``numbers`` say, and at a store that can't
    tell whose an upload is only where one was intended, for what was begun since then.
    """
    known = ledger.tokens()
    looked: set[tuple[int, str]] = set()
    removed = 0
    for number in ledger.undone() if numbers is None else numbers:
        if is_stopping():
            break
        item = ledger.plan.item(number)
        destination = item.route.destination
        if not supports(destination, Multipart):
            continue
        if supports(destination, Temporaries):
            place = (id(destination), os.path.dirname(item.destination_path))
            if place in looked:
                continue
            looked.add(place)
        elif ledger.intended_ns(number) is None:
            continue
        try:
            since_ns = ledger.intended_ns(number) or 0
            leftovers = destination.leftovers(item.destination_path, since_ns)
        except (CredentialsError, FileError) as error:
            if error.retryable:
                raise
            continue  # who may only write, or at a server that can't tell, leaves them
        for upload in leftovers:
            if upload.token not in known:
                destination.abort(upload)
                removed += 1
    return removed
