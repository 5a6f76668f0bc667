"""Lists that are text: names on lines or ended by NUL, and what find and ``aws s3 ls`` print.

Names on lines follow rclone's rules for ``--files-from`` (https://rclone.org/filtering/): spaces
around a name don't count, and neither do empty lines and those that begin with ``#`` or ``;``.
Names ended by NUL are taken as they are.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import BinaryIO

from jobtool.errors import LayoutError
from jobtool.filters.namelist import MOST_BYTES
from jobtool.layouts.lists.listed import ListCounts, ListedFile, malformed
from jobtool.names import quote

#: What ``find`` must be told to print for the format ``find``: size, time, path.
FIND_FORMAT = r"%s %T@ %p\0"

_READ_BYTES = 1024 * 1024
_MOST_RECORD_BYTES = MOST_BYTES + 4096

# aws-cli, awscli/customizations/s3/subcommands.py: local time, size to the right, key. Sizes with
# units are those of --human-readable.
_AWS_LINE = re.compile(
    rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) +(\d+|[\d.]+ (?:Bytes?|[KMGTPE]iB)) (.+)", re.DOTALL
)
_AWS_SUMMARY = re.compile(rb" *Total (?:Objects|Size): .*")
_FIND_RECORD = re.compile(rb"(\d+) +(-?\d+(?:\.\d*)?) +(.+)", re.DOTALL)


def is_aws_listing(start: bytes) -> bool:
    """Return True if a text begins as the output of ``aws s3 ls --recursive`` does."""
    return _AWS_LINE.fullmatch(start.partition(b"\n")[0].rstrip(b"\r")) is not None


def read_lines(file: BinaryIO, shown: str, counts: ListCounts) -> Iterator[ListedFile]:
    """Yield the names on lines. Raises ``LayoutError``."""
    for number, line in enumerate(_records(file, b"\n", shown), start=1):
        name = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        name = name.strip()
        if name and name[:1] not in (b"#", b";"):
            yield ListedFile(name)


def read_null(file: BinaryIO, shown: str, counts: ListCounts) -> Iterator[ListedFile]:
    """Yield the names ended by NUL, as ``find -print0`` writes them. Raises ``LayoutError``."""
    return (ListedFile(name) for name in _records(file, b"\0", shown) if name)


def read_find(file: BinaryIO, shown: str, counts: ListCounts) -> Iterator[ListedFile]:
    """Yield what ``find -printf '%s %T@ %p\\0'`` has printed. Raises ``LayoutError``."""
    for number, record in enumerate(_records(file, b"\0", shown), start=1):
        if not record:
            continue
        match = _FIND_RECORD.fullmatch(record)
        if match is None:
            found = quote(_shown(record))
            expected = f"what find -printf '{FIND_FORMAT}' prints"
            raise malformed(shown, f", record {number}", expected, found)
        seconds, _, rest = match[2].partition(b".")
        nanoseconds = int((rest + b"000000000")[:9])
        yield ListedFile(match[3], size=int(match[1]), mtime_ns=int(seconds) * 10**9 + nanoseconds)


def read_aws(file: BinaryIO, shown: str, counts: ListCounts) -> Iterator[ListedFile]:
    """Yield the objects that ``aws s3 ls --recursive`` has printed. Raises ``LayoutError``.

    A key with a line end can't be told from two lines, so a line that isn't an object's is refused.
    """
    for number, raw in enumerate(_records(file, b"\n", shown), start=1):
        line = raw.removesuffix(b"\r")
        if not line.strip() or _AWS_SUMMARY.fullmatch(line):
            continue
        match = _AWS_LINE.fullmatch(line)
        if match is None:
            raise malformed(
                shown,
                f", line {number}",
                "a line of 'aws s3 ls --recursive'",
                f"{quote(_shown(line))}. Keys with line ends need an S3 Inventory; for a list of "
                "names give --list-format lines",
            )
        if match[3].endswith(b"/"):
            counts.folders += 1
            continue
        size = int(match[2]) if match[2].isdigit() else None
        yield ListedFile(match[3], size=size, mtime_ns=_local_time(match[1], shown, number))


TEXT_READERS: dict[str, Callable[[BinaryIO, str, ListCounts], Iterator[ListedFile]]] = {
    "lines": read_lines,
    "null": read_null,
    "find": read_find,
    "aws-ls": read_aws,
}


def _local_time(text: bytes, shown: str, number: int) -> int:
    try:
        return int(datetime.strptime(text.decode(), "%Y-%m-%d %H:%M:%S").timestamp()) * 10**9
    except (ValueError, OverflowError, OSError):
        raise malformed(shown, f", line {number}", "a time", text.decode()) from None


def _records(file: BinaryIO, end: bytes, shown: str) -> Iterator[bytes]:
    rest = b""
    try:
        while piece := file.read(_READ_BYTES):
            *records, rest = (rest + piece).split(end)
            if len(rest) > _MOST_RECORD_BYTES:
                raise malformed(
                    shown,
                    "",
                    f"names of up to {MOST_BYTES} bytes",
                    f"{len(rest)} bytes without an end, such as {quote(_shown(rest))}",
                )
            yield from records
    except (OSError, EOFError) as error:
        raise LayoutError(f"can't read {quote(shown)}: {error}") from None
    if rest:
        yield rest


def _shown(record: bytes) -> str:
    return record[:80].decode("utf-8", "surrogateescape")
