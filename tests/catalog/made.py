"""Copies for tests of the catalog, and what a catalog must answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from jobtool.catalog.copy import Copy, Record, order_of

START = datetime(2026, 2, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_copy(item: str = "2026-02-01/scan_07", seconds: float = 0, **changes: Any) -> Copy:
    values: dict[str, Any] = {
        "item": item,
        "package": "night-0001",
        "site": "cologne",
        "location": "archive",
        "url": "s3://archive/night-0001.tar",
        "form": "package",
        "size": 4096,
        "files": 12,
        "digest": "md5:9e107d9d372bb6826bd81d3542a419d6",
        "verified_at": at(seconds),
        "state": "present",
        **changes,
    }
    return Copy(**values)


def answer(records: Iterable[Record]) -> set[Copy]:
    """The copies that a catalog with these records must yield."""
    newest: dict[tuple[str, str], Record] = {}
    for record in records:
        known = newest.get(record.copy.identity)
        if known is None or order_of(record) > order_of(known):
            newest[record.copy.identity] = record
    return {record.copy for record in newest.values()}
