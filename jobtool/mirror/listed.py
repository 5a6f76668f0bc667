"""The list of extra files that a dry run has shown: a file in the joblist, with a digest.

Its first line is a header, each other line one file. A deletion without ``--yes`` needs it: recent,
whole, and with every file that is to be deleted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import blake2b, sha256

import msgspec

from jobtool import typed
from jobtool.errors import JoblistUnavailableError, reason_of
from jobtool.failpoints import reach
from jobtool.jobs.atomic_write import replace_file
from jobtool.jobs.joblist import JobList
from jobtool.jobs.stamps import stamp_of, time_of
from jobtool.names import quote

#: The file's name in the joblist.
LISTED = "extra-files.jsonl"

#: How long a list allows a deletion.
RECENT = timedelta(hours=24)

_SKEW = timedelta(minutes=15)
_FORMAT = 1


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    """``digest`` is the SHA-256 in hex of all other lines. ``at`` is in UTC."""

    at: str
    files: int
    bytes: int
    digest: str
    format: int = _FORMAT


class ListedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that would be deleted. ``size`` in bytes is that at the destination."""

    job: str
    path: str
    source: str
    size: int

    def line(self) -> bytes:
        """Return the file as a line of JSON, with its newline."""
        named = msgspec.structs.replace(
            self, job=quote(self.job), path=quote(self.path), source=quote(self.source)
        )
        return msgspec.json.encode(named) + b"\n"


class Shown:
    """The files of a list."""

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        self._keys = {_key(line) for line in lines}

    def holds_all(self, files: Iterable[ListedFile]) -> bool:
        """Return True if each file is in the list."""
        return all(_key(one.line()) in self._keys for one in files)


def listed_path(joblist: JobList) -> str:
    """Return the path of the list."""
    return os.path.join(joblist.path, LISTED)


def write_list(joblist: JobList, files: Iterable[ListedFile], at: datetime) -> None:
    """Write the list, in place of an earlier one. Raises ``JoblistUnavailableError``."""
    lines: list[bytes] = []
    size = 0
    for one in files:
        lines.append(one.line())
        size += one.size
    body = b"".join(lines)
    header = _Header(at=stamp_of(at), files=len(lines), bytes=size, digest=sha256(body).hexdigest())
    path = listed_path(joblist)
    try:
        replace_file(path, msgspec.json.encode(header) + b"\n" + body)
    except OSError as error:
        raise JoblistUnavailableError(f"can't write {quote(path)}: {reason_of(error)}") from None
    reach("after the list of extra files is written")


def read_list(joblist: JobList, now: datetime) -> Shown:
    """Return the files of the list; none if there is no list that is whole and recent."""
    try:
        with open(listed_path(joblist), "rb") as file:
            first, body = file.readline(), file.read()
        header = typed.decode(first, _Header)
        made = time_of(header.at)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return Shown()
    is_recent = -_SKEW <= now - made <= RECENT
    if header.format != _FORMAT or not is_recent or sha256(body).hexdigest() != header.digest:
        return Shown()
    return Shown(body.splitlines(keepends=True))


def remove_list(joblist: JobList) -> None:
    """Remove the list: it has been followed."""
    with contextlib.suppress(OSError):
        os.unlink(listed_path(joblist))


def _key(line: bytes) -> bytes:
    return blake2b(line, digest_size=16).digest()
