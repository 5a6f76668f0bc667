"""Leftovers: unfinished writes of killed attempts that no record names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from jobtool.errors import CredentialsError, FileError
from jobtool.jobs.records import IntentRecord, Receipt, Record, UploadRecord
from jobtool.stores.optional import Multipart, TakesFiles, Temporaries, supports
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.plan import Plan


def open_uploads(records: Iterable[Record]) -> dict[str, str]:
    """Return the destinations, by token, of uploads that were begun and have no later receipt."""
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


def open_intents(records: Iterable[Record]) -> dict[str, int]:
    """Return the times, by destination, of intents that no record of an upload or file follows.

    They may have left uploads that no record names, begun since these times, in nanoseconds since
    1970.
    """
    begun: dict[str, int] = {}
    for record in records:
        if isinstance(record, IntentRecord) and not record.has_file:
            begun.setdefault(record.dst_path, record.at_ns)
        elif isinstance(record, Receipt | UploadRecord):
            begun.pop(record.dst_path, None)
    return begun


def open_streams(records: Iterable[Record]) -> dict[str, int]:
    """Return the times, by destination, of compressed streams that were begun and have no receipt.

    They may have left uploads that no record names, begun since these times, in nanoseconds since
    1970.
    """
    begun: dict[str, int] = {}
    for record in records:
        if isinstance(record, IntentRecord) and record.compression and not record.has_file:
            begun.setdefault(record.dst_path, record.at_ns)
        elif isinstance(record, Receipt):
            begun.pop(record.dst_path, None)
    return begun


def remove_leftovers(
    ledger: Ledger,
    *,
    is_stopping: Callable[[], bool],
    numbers: Iterable[int] | None = None,
) -> int:
    """Remove the unfinished writes of killed attempts that no record names; return their number.

    Looks only at the destinations of the files ``numbers``, by default those that aren't proven. If
    a store can't tell which uploads are the job's, only uploads that began after a recorded intent
    are removed.
    """
    known = ledger.tokens()
    looked: set[tuple[int, str]] = set()
    removed = 0
    for number in ledger.undone() if numbers is None else numbers:
        if is_stopping():
            break
        item = ledger.plan.item(number)
        destination = item.route.destination
        if supports(destination, Temporaries):
            place = (id(destination), os.path.dirname(item.destination_path))
            if place in looked:
                continue
            looked.add(place)
        elif not supports(destination, Multipart) or ledger.intended_ns(number) is None:
            continue
        try:
            since_ns = ledger.intended_ns(number) or 0
            leftovers = destination.leftovers(ledger.forms.intended_path(number), since_ns)
        except (CredentialsError, FileError) as error:
            if error.retryable:
                raise
            continue  # without permission to list, or at a server that can't list them, they stay
        for upload in leftovers:
            if upload.token not in known:
                destination.abort(upload)
                removed += 1
    return removed


def remove_incoming(plan: Plan) -> None:
    """Remove the folders into which programs of killed attempts have put files.

    The methods remove them themselves, but a method need not be used again. A folder that can't be
    removed is left.
    """
    for first, end, store in plan.route_ranges():
        if not supports(store, TakesFiles):
            continue
        folders = {store.incoming_for("file")}
        if store.incoming_for("folder/file") not in folders:  # one beside each file
            paths = (plan.item(number).destination_path for number in range(first, end))
            folders = {store.incoming_for(path) for path in paths}
        for folder in folders:
            with contextlib.suppress(FileError):
                store.remove_incoming(folder)
