"""Receipts as lines that md5sum and sha256sum check.

Source: GNU coreutils, "md5sum invocation". A line is the digest in hex, two spaces and the name. A
name with a backslash or a newline is escaped, and the line begins with a backslash then.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec

from jobtool.errors import FileError, JobtoolError, UsageError, reason_of
from jobtool.jobs.atomic_write import sync_folder
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.lastreceipts import last_of_each
from jobtool.jobs.records import Receipt
from jobtool.names import quote
from jobtool.report.show import job_id_of
from jobtool.stores.location import inside, is_local, parent_of
from jobtool.stores.store import READ_BYTES, Entry, Store, entry_of
from jobtool.transfer.parallel import in_parallel
from jobtool.transfer.retry import Retry

SumFormat = Literal["md5sum", "sha256sum"]

#: How many files are read at a time.
_READERS = 8

_ESCAPED = re.compile(rb"[\\\n]|\r\Z")
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt with the digest of the file at the destination, and its path below the base."""

    receipt: Receipt
    path: str
    digest: str


class Sums:
    """The digests of the files of a joblist's receipts, or of some jobs of it, by their ``names``.

    Paths are relative to ``base``, a folder or URL: by default the destination of the joblist, or
    that of the only job. A digest is that of a receipt. If ``open_store`` is given, files whose
    receipts lack it are read at the destination, and compared with the receipt.
    """

    def __init__(
        self,
        joblist: JobList,
        kind: SumFormat,
        *,
        names: Sequence[str] = (),
        base: str | None = None,
        open_store: Callable[[str], Store] | None = None,
    ) -> None:
        self._joblist = joblist
        self._kind = kind
        self._job_ids = _job_ids(joblist, names)
        self.base = base or _base_of(joblist, self._job_ids if names else None)
        self._open_store = open_store
        self._base_store: Store | None = None
        self._retry = Retry()

    def receipts(self) -> Iterator[Receipt]:
        """Yield the last receipt of each file."""
        for job_id in self._job_ids:
            yield from last_of_each(lambda job_id=job_id: self._joblist.receipts_of(job_id))  # type: ignore[misc]

    def require_known(self) -> None:
        """Raise ``JobtoolError`` if receipts lack digests and files aren't to be read."""
        if self._open_store is not None:
            return
        count = lacking = 0
        first = ""
        for receipt in self.receipts():
            count += 1
            if digest_in(receipt, self._kind) is None:
                lacking += 1
                first = first or receipt.dst_path
        if lacking:
            name = "SHA-256" if self._kind == "sha256sum" else "MD5"
            other = " jobtool proves files by MD5: use --format md5sum." * (name == "SHA-256")
            raise JobtoolError(
                f"{lacking} of {count} file(s), such as {quote(first)}: expected a {name} in the "
                f"receipt; found none.{other} With --read each such file is read at the "
                "destination for it, and compared with its receipt."
            )

    def __iter__(self) -> Iterator[Sum]:
        """Yield the digests, in the order of the jobs.

        Raises ``UsageError`` for a file that isn't below the base, the errors of stores, and
        ``FileError`` for a file that isn't what its receipt says.
        """
        if self._open_store is None:
            yield from map(self._sum_of, self.receipts())
        else:
            yield from in_parallel(self._sum_of, self.receipts(), threads=_READERS)

    def _sum_of(self, receipt: Receipt) -> Sum:
        digest = digest_in(receipt, self._kind)
        path = self._path_of(receipt)
        if digest is None:
            digest = self._retry.call(lambda: self._read(receipt))
        return Sum(receipt=receipt, path=path, digest=digest)

    def _path_of(self, receipt: Receipt) -> str:
        path = None if self.base is None else inside(self.base, receipt.dst_path)
        if path:
            return path
        if is_local(receipt.dst_path):
            return receipt.dst_path
        where = "no base is known" if self.base is None else f"it isn't below {quote(self.base)}"
        raise UsageError(
            f"{quote(receipt.dst_path)}: expected a file below the base; {where}. Name the folder "
            "that paths are relative to: --relative-to URL"
        )

    def _read(self, receipt: Receipt) -> str:
        """Read a file at the destination; return its digest. Its MD5 must be the receipt's."""
        assert self._open_store is not None, "require_known() was called"
        below = None if self.base is None else inside(self.base, receipt.dst_path)
        folder, name = (self.base, below) if self.base and below else parent_of(receipt.dst_path)
        if folder == self.base:
            self._base_store = store = self._base_store or self._open_store(folder)
        else:
            store = self._open_store(folder)
        entry = entry_of(store, name)
        md5 = hashlib.md5(usedforsecurity=False)
        sha256 = hashlib.sha256()
        for data in _pieces(store, entry):
            md5.update(data)
            sha256.update(data)
        expected = receipt.stored_md5
        if entry.size != receipt.stored_size or expected not in (None, md5.hexdigest()):
            raise FileError(
                f"{quote(receipt.dst_path)}: expected {receipt.stored_size} bytes with MD5 "
                f"{expected or 'not known'}, by its receipt; found {entry.size} with "
                f"{md5.hexdigest()}. No digest is written for it: see jobtool verify."
            )
        return (sha256 if self._kind == "sha256sum" else md5).hexdigest()


def _pieces(store: Store, entry: Entry) -> Iterator[bytes | memoryview]:
    for offset in range(0, entry.size, READ_BYTES):
        content = store.read(entry, offset, min(READ_BYTES, entry.size - offset))
        yield content.data


def digest_in(receipt: Receipt, kind: SumFormat) -> str | None:
    """Return the digest of the bytes at the destination that a receipt proves; None without one.

    No receipt has a SHA-256 of a whole file: what S3 answers is often one of its parts' SHA-256s.
    """
    return receipt.stored_md5 if kind == "md5sum" and receipt.is_proof else None


def sum_line(digest: str, path: str) -> bytes:
    """Return the line of a file as md5sum writes it, with its newline."""
    name = os.fsencode(path) if path != "-" else b"./-"  # a dash alone is the standard input
    escaped = b""
    if _ESCAPED.search(name):
        escaped = b"\\"
        name = b"".join(
            _ESCAPES.get(name[at : at + 1], name[at : at + 1]) for at in range(len(name))
        )
    return escaped + digest.encode() + b"  " + name + b"\n"


def write_sums(sums: Sums, output: str) -> int:
    """Write the lines to a file, atomically; return their number.

    Raises what ``Sums`` raises, and ``UsageError`` if the file can't be written.
    """
    sums.require_known()
    folder, name = os.path.split(output)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
    count = 0
    try:
        with open(temporary, "xb") as file:
            for one in sums:
                file.write(sum_line(one.digest, one.path))
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, output)
        sync_folder(folder)
    except OSError as error:
        raise UsageError(f"can't write {quote(output)}: {reason_of(error)}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    return count


def _job_ids(joblist: JobList, names: Sequence[str]) -> list[str]:
    known = joblist.job_ids()
    wanted = [job_id_of(joblist, name) for name in names]
    return wanted or known


def _base_of(joblist: JobList, job_ids: list[str] | None) -> str | None:
    if job_ids is not None and len(job_ids) == 1:
        with contextlib.suppress(FileNotFoundError):
            job: Job = joblist.load(job_ids[0])[0]
            if job.destination is not None:
                return job.destination
    return joblist.settings.destination
