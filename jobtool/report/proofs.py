"""How the files of a joblist were proven, counted from their receipts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from jobtool.errors import JobtoolError
from jobtool.jobs.joblist import JobList
from jobtool.jobs.lastreceipts import last_of_each
from jobtool.jobs.table import read_columns

#: What the words of ``verified_by`` mean.
MEANINGS = {
    "etag-md5": "the store's own MD5 of the file",
    "multipart-etag": "the store's MD5s of all parts",
    "read-back": "the file was read again at the destination",
}

_NONE = "none: it was there already"
_COLUMNS = ("verified_by", "method", "size")
_MOST_KINDS = 50
_OTHER = ("others", "")


class ProofLine(msgspec.Struct, frozen=True, kw_only=True):
    """Files that were proven in one way and moved by one method; sizes in bytes."""

    verified_by: str
    method: str
    files: int
    bytes: int

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Proofs:
    """Counts of receipts. ``sizes`` counts files by the number of bits of their size in bytes."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.unreadable: list[str] = []  # the messages about tables that can't be read
        self._counts: dict[tuple[str, str], list[int]] = {}

    def add_job(self, joblist: JobList, job_id: str) -> None:
        """Count the last receipt of each file of a job; remember why, if they can't be read."""
        try:
            for verified_by, method, size in _proven(joblist, job_id):
                key = (verified_by, method or _NONE)
                if key not in self._counts and len(self._counts) >= _MOST_KINDS:
                    key = _OTHER
                count = self._counts.setdefault(key, [0, 0])
                count[0] += 1
                count[1] += size
                bits = size.bit_length()
                self.sizes[bits] = self.sizes.get(bits, 0) + 1
        except (JobtoolError, OSError) as error:
            self.unreadable.append(str(error))

    def lines(self) -> list[ProofLine]:
        """Return the counts, the most frequent first."""
        lines = [
            ProofLine(verified_by=verified_by, method=method, files=files, bytes=size)
            for (verified_by, method), (files, size) in self._counts.items()
        ]
        return sorted(lines, key=lambda line: (-line.files, line.verified_by, line.method))


def _proven(joblist: JobList, job_id: str) -> Iterable[tuple[str, str | None, int]]:
    journals = (joblist.journal_of(job_id).path, joblist.blocks_path_of(job_id))
    if any(map(os.path.exists, journals)):  # a file may have receipts in several of them
        return (
            (receipt.verified_by, receipt.method, receipt.size)
            for receipt in last_of_each(partial(joblist.receipts_of, job_id))
        )
    return _of_table(joblist.table_path_of(job_id))


def _of_table(path: str) -> Iterator[tuple[str, str | None, int]]:
    for columns in read_columns(path, _COLUMNS):
        words = columns["verified_by"].to_pylist()
        methods = columns["method"].to_pylist() if "method" in columns else [None] * len(words)
        yield from zip(words, methods, columns["size"].to_pylist(), strict=True)
