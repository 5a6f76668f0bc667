"""Packing the names of a tree's files into listing records."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator

from jobtool.jobs.records import ListingRecord
from jobtool.transfer.plan import Plan

#: How many bytes of names a listing record holds, before compression.
_RECORD_BYTES = 96 * 1024

_SEPARATOR = b"\0"

#: The most bytes that are unpacked from a record. A forged record that holds more is skipped.
_MOST_BYTES = 2 * _RECORD_BYTES


def listing_records(plan: Plan, numbers: Iterable[int]) -> Iterator[ListingRecord]:
    """Yield the records that name some files of a tree."""
    route = plan.routes[0]
    names: list[bytes] = []
    size = 0
    for number in numbers:
        name = os.fsencode(plan.item(number).entry.path)
        names.append(name)
        size += len(name) + 1
        if size >= _RECORD_BYTES:
            yield _record(route.source.url, route.destination.url, names)
            names, size = [], 0
    if names:
        yield _record(route.source.url, route.destination.url, names)


def _record(source: str, destination: str, names: list[bytes]) -> ListingRecord:
    packed = zlib.compress(_SEPARATOR.join(names), level=1)
    return ListingRecord(src_path=source, dst_path=destination, names=packed)


def paths_in(record: ListingRecord, plan: Plan) -> Iterator[str]:
    """Yield the paths that a record names; none if the record is of another tree."""
    route = plan.routes[0]
    if (record.src_path, record.dst_path) != (route.source.url, route.destination.url):
        return  # the job's source or destination was changed
    decompressor = zlib.decompressobj()
    try:
        names = decompressor.decompress(record.names, _MOST_BYTES).split(_SEPARATOR)
    except zlib.error:
        return
    if decompressor.eof:
        yield from (os.fsdecode(name) for name in names if name)
