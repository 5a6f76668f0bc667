"""A catalog of millions of copies: finding an item, counting copies, compaction, and what it takes.

    python -m tests.benchmarks.catalog FOLDER [--copies N] [--flushes N] [--flush-records N]

One file as a compaction leaves it holds the copies, two of each item; writers then flush a part of
them again. Each case runs in a process of its own, whose memory is its peak.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobtool.catalog import compaction
from jobtool.catalog.catalog import Catalog
from jobtool.catalog.copy import Copy
from jobtool.catalog.counting import count_copies
from jobtool.catalog.folder import CatalogFolder
from jobtool.catalog.recordfile import schema
from jobtool.catalog.writer import CatalogWriter

SITES = ("chile", "cologne")
_START = datetime(2026, 1, 1, tzinfo=UTC)
_PIECE = 100_000  # items


def main() -> int:
    """Run it; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=10_000_000)
    parser.add_argument("--flushes", type=int, default=1000)
    parser.add_argument("--flush-records", type=int, default=1000)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    place = arguments.folder / "jobtool-catalog"
    if arguments.case:
        print(json.dumps(CASES[arguments.case](str(place), arguments)))
        return 0
    shutil.rmtree(place, ignore_errors=True)
    try:
        for case in ("make", "flush", "where", "count", "compact", "where", "count", "read"):
            run(case)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return 0


def run(case: str) -> None:
    """Run a case in a process of its own, and print what it took."""
    command = [sys.executable, "-m", "tests.benchmarks.catalog", *sys.argv[1:], "--case", case]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, case
    _show(case, time.monotonic() - started, usage, json.loads(said))


def _show(case: str, seconds: float, usage: resource.struct_rusage, said: Any) -> None:
    cpu, mebibytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(
        f"{case:8} {seconds:8.2f} s  {cpu:8.2f} s of CPU  {mebibytes:6.0f} MiB  {said}", flush=True
    )


def item(number: int) -> str:
    """Return the name of an item; names sort as numbers do."""
    return f"2026/night-{number // 1000:06}/scan_{number % 1000:03}"


def copies(numbers: Iterable[int], *, seconds: int) -> Iterator[Copy]:
    """Yield two copies of each item."""
    for number in numbers:
        for site in SITES:
            package = f"night-{number // 1000:06}"
            yield Copy(
                item=item(number),
                package=package,
                site=site,
                location="archive",
                url=f"s3://{site}-archive/packages/{package}.tar",
                form="package",
                size=20_000_000 + number,
                files=number % 97,
                digest=f"md5:{number // 1000:032x}",
                verified_at=_START + timedelta(seconds=seconds + number),
                state="present" if number % 1000 or site != "chile" else "missing",
            )


def make(place: str, arguments: argparse.Namespace) -> object:
    """Write all copies as one file."""
    from tempfile import TemporaryDirectory

    folder = CatalogFolder(place, role="destination")
    count = arguments.copies // len(SITES)
    with TemporaryDirectory() as temporary:
        whole = compaction._write(temporary, _tables(count))
        compaction.publish_whole(folder, whole)
    return {"records": whole.rows, "MiB": round(whole.size / 2**20)}


def _tables(count: int) -> Iterator[pa.Table]:
    from jobtool.catalog.copy import Record
    from jobtool.catalog.recordfile import row_of

    for start in range(0, count, _PIECE):
        rows = [
            row_of(Record(copy=copy, recorded_at=copy.verified_at, writer="host1.1"))
            for copy in copies(range(start, min(start + _PIECE, count)), seconds=0)
        ]
        columns = zip(*rows, strict=True)
        yield pa.Table.from_arrays(
            [pa.array(c, f.type) for c, f in zip(columns, schema(), strict=True)], schema=schema()
        )


def flush(place: str, arguments: argparse.Namespace) -> object:
    """Record some copies again, many times."""
    count = arguments.copies // len(SITES)
    each = arguments.flush_records // len(SITES)
    writer = CatalogWriter(place, "host2.1")
    for number in range(arguments.flushes):
        start = number * 7919 * each % max(count - each, 1)
        writer.add(copies(range(start, start + each), seconds=10**7 + number))
        writer.flush()
    return {"flushes": arguments.flushes, "records": each * len(SITES)}


def where(place: str, arguments: argparse.Namespace) -> object:
    """Find one item."""
    started = time.monotonic()
    found = list(Catalog(place).copies(item(arguments.copies // len(SITES) // 2)))
    return {"copies": len(found), "seconds": round(time.monotonic() - started, 3)}


def count(place: str, arguments: argparse.Namespace) -> object:
    """Count the items with fewer than two copies."""
    return {"items": sum(1 for _ in count_copies(Catalog(place), less_than=2))}


def read(place: str, arguments: argparse.Namespace) -> object:
    """Read all copies into Python."""
    return {"copies": sum(1 for _ in Catalog(place).copies())}


def compact(place: str, arguments: argparse.Namespace) -> object:
    """Make one file of all."""
    done = compaction.compact(place)
    return {"inputs": done.inputs, "records": done.records}


CASES = {
    "make": make,
    "flush": flush,
    "where": where,
    "count": count,
    "compact": compact,
    "read": read,
}

if __name__ == "__main__":
    raise SystemExit(main())
