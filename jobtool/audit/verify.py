"""The audit: whether the destination holds what the receipts say.

Without ``deep``, receipts are compared with the destination's listing: presence, size, ETag. With
it every file is read again. The source isn't needed.
"""

from __future__ import annotations

import os
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import ClassVar, Literal

from jobtool.audit.retry import put_back
from jobtool.errors import FileError, JobFileError, NotFoundError, UsageError
from jobtool.events import Emit, Event, Level
from jobtool.jobs.claim import Claims
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.jobfile import last_records, number_of
from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import IntentRecord, Receipt
from jobtool.jobs.table import read_table, write_table
from jobtool.names import quote
from jobtool.report.merged import digest_of, last_of_each
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Special, Store, Unlisted
from jobtool.stores.urls import parent_of
from jobtool.transfer.purposes import purposes_of
from jobtool.transfer.resume import is_below

Kind = Literal["missing", "changed", "extra", "unreadable", "unproven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Event):
    """Something that is off at the destination."""

    kind: ClassVar[str] = "finding"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    job: str
    what: Kind
    path: str
    detail: str = ""

    def text(self) -> str:
        """Return the sentence."""
        return f"{self.what}: {quote(self.path)}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Event):
    """The end: how many files were looked at and what was found."""

    kind: ClassVar[str] = "verified"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "💡"
    files: int
    bytes: int
    missing: int
    changed: int
    extra: int
    unreadable: int
    unproven: int
    unfinished_jobs: int

    def text(self) -> str:
        """Return the sentence."""
        more = "".join(
            f", {count} {what}"
            for count, what in ((self.unreadable, "unreadable"), (self.unproven, "unproven"))
            if count
        )
        left = f"; {self.unfinished_jobs} job(s) aren't finished" if self.unfinished_jobs else ""
        return (
            f"Verified {self.files} file(s), {self.bytes} bytes: {self.missing} missing, "
            f"{self.changed} changed, {self.extra} extra{more}{left}."
        )

    @property
    def exit_code(self) -> int:
        """1 if anything is off, 3 if there are jobs that aren't finished, else 0."""
        if self.missing or self.changed or self.extra or self.unreadable or self.unproven:
            return 1
        return 3 if self.unfinished_jobs else 0


@dataclass(slots=True)
class _Tally:
    files: int = 0
    bytes: int = 0
    missing: int = 0
    changed: int = 0
    extra: int = 0
    unreadable: int = 0
    unproven: int = 0
    unfinished_jobs: int = 0

    def event(self) -> Verified:
        return Verified(
            files=self.files,
            bytes=self.bytes,
            missing=self.missing,
            changed=self.changed,
            extra=self.extra,
            unreadable=self.unreadable,
            unproven=self.unproven,
            unfinished_jobs=self.unfinished_jobs,
        )


class _Expected:
    """What receipts say of a tree, in a hundred bytes for each file; the last of each counts.

    ``numbers`` are by the digest of the destination's path; ``hollow`` are the destinations whose
    receipt proves nothing.
    """

    def __init__(self, receipts: Iterable[Receipt]) -> None:
        self.numbers: dict[bytes, int] = {}
        self.sizes, self.etags = array("q"), array("Q")
        self.hollow: set[str] = set()
        for receipt in receipts:
            number = self.numbers.setdefault(digest_of(receipt.dst_path), len(self.sizes))
            if number == len(self.sizes):
                self.sizes.append(0)
                self.etags.append(0)
            self.sizes[number], self.etags[number] = receipt.size, _short(_etag_of(receipt))
            self.hollow.discard(receipt.dst_path)
            if not _is_proof(receipt):
                self.hollow.add(receipt.dst_path)


class Audit:
    """Compares receipts with destinations and tells what is off.

    ``stores`` opens the destinations, ``threads`` read at a time if ``deep``. ``watch`` is called
    with the number of files read so far.
    """

    def __init__(
        self,
        stores: StoreRegistry,
        emit: Emit,
        *,
        deep: bool,
        threads: int = 16,
        watch: Callable[[int], None] | None = None,
    ) -> None:
        self._stores = stores
        self._emit = emit
        self._deep = deep
        self._threads = threads
        self._watch = watch
        self._tally = _Tally()

    def joblist(
        self, joblist: JobList, *, names: frozenset[str] = frozenset(), repair: bool = False
    ) -> Verified:
        """Audit the finished jobs of a joblist; with ``repair`` put those that are off to ``todo``.

        Their receipts of missing and changed files are dropped, so that just these are sent again.
        Raises ``WorldError``, and ``UsageError`` if a named job isn't there.
        """
        left = set(names)
        for stem in joblist.stems():
            try:
                job, log = joblist.load(stem)
            except (JobFileError, FileNotFoundError):
                self._tally.unfinished_jobs += not names
                continue
            if names and job.name not in names:
                continue
            left.discard(job.name)
            if job.status is not JobStatus.SUCCESS:
                self._tally.unfinished_jobs += 1
                continue
            self._stores.reach_job(purposes_of(job))
            before = self._tally.files
            off = self._job(job, partial(joblist.receipts_of, stem))
            detail = _lack_of_receipts(_transferred_files(job, log), self._tally.files - before)
            if detail:
                self._tell(job.name, "unproven", job.target, detail)
            if repair and (off or detail):
                self._emit(_repair(joblist, stem, job.name, off))
        if left:
            raise UsageError(f"there is no job {quote(min(left))} in {quote(joblist.path)}")
        return self._end()

    def table(self, path: str) -> Verified:
        """Audit a merged verification table; what is extra can't be told from that."""
        if not os.path.exists(path):
            raise UsageError(f"expected a verification table at {quote(path)}; found nothing")
        self._files("", _by_folder(read_table(path), None))
        return self._end()

    def _end(self) -> Verified:
        verified = self._tally.event()
        self._emit(verified)
        return verified

    def _job(self, job: Job, receipts: Callable[[], Iterator[Receipt]]) -> set[str]:
        root = job.destination if not job.files else None
        first = next(receipts(), None)
        if root is not None and (first is None or first.dst_path != root):
            return self._tree(job, self._stores.open(root, "destination"), receipts)
        return self._files(job.name, _by_folder(last_of_each(receipts), job.destination))

    def _tree(self, job: Job, store: Store, receipts: Callable[[], Iterator[Receipt]]) -> set[str]:
        """Compare a whole tree by one listing; also tells what is extra."""
        inside = store.url_of("x")[:-1]

        def inner() -> Iterator[Receipt]:
            # A destination changed by hand leaves receipts of the one before.
            return (receipt for receipt in receipts() if receipt.dst_path.startswith(inside))

        expected = _Expected(inner())
        seen = bytearray(len(expected.sizes))
        off = set(expected.hollow)
        for url in sorted(off):
            self._tell_hollow(job.name, url)
        doubtful: set[str] = set()
        links: set[str] = set()
        if store.kind("") == "folder":
            for entry in store.list():
                if isinstance(entry, Special):
                    if entry.what == "link":
                        links.add(entry.path)
                    continue
                if isinstance(entry, Unlisted):
                    self._tell(job.name, "unreadable", store.url_of(entry.path), str(entry.error))
                    continue
                url = inside + entry.path
                known = expected.numbers.get(digest_of(url))
                if known is None:
                    self._tell(job.name, "extra", url)
                    continue
                seen[known] = 1
                size = expected.sizes[known]
                if url in off:
                    continue
                if entry.size != size:
                    off.add(url)
                    self._tell(job.name, "changed", url, f"{size} -> {entry.size} bytes")
                elif not _may_be_same(entry.etag, expected.etags[known]):
                    doubtful.add(url)
        for receipt in inner():
            number = expected.numbers[digest_of(receipt.dst_path)]
            if seen[number] or receipt.dst_path in off:
                continue
            seen[number] = 1
            path = receipt.dst_path[len(inside) :]
            off.add(receipt.dst_path)
            if is_below(path, links):
                self._tell_behind_link(job.name, store, path)
            else:
                self._tell(job.name, "missing", receipt.dst_path)
        self._tally.files += len(expected.sizes)
        self._tally.bytes += sum(expected.sizes)
        # Some servers list another ETag for an object in parts than they gave at first, so one that
        # differs is a reason to read, not yet a finding.
        if self._deep or doubtful:
            rest = (
                receipt
                for receipt in last_of_each(inner)
                if receipt.dst_path not in off and (self._deep or receipt.dst_path in doubtful)
            )
            off |= self._read(job.name, ((store, r.dst_path[len(inside) :], r) for r in rest))
        return off

    def _files(self, job: str, receipts: Iterable[tuple[str, str, Receipt]]) -> set[str]:
        """Compare named files one by one."""
        off: set[str] = set()
        stores: dict[str, Store] = {}

        def good() -> Iterator[tuple[Store, str, Receipt]]:
            for folder, name, receipt in receipts:
                if folder not in stores:
                    if len(stores) > 1000:
                        stores.clear()
                    stores[folder] = self._stores.open(folder, "destination")
                store = stores[folder]
                self._tally.files += 1
                self._tally.bytes += receipt.size
                if not _is_proof(receipt):
                    off.add(receipt.dst_path)
                    self._tell_hollow(job, receipt.dst_path)
                    continue
                try:
                    found = store.head(name)
                except FileError as error:
                    off.add(receipt.dst_path)
                    self._tell_failure(job, receipt.dst_path, error)
                    continue
                if found.size != receipt.size:
                    off.add(receipt.dst_path)
                    detail = f"{receipt.size} -> {found.size} bytes"
                    self._tell(job, "changed", receipt.dst_path, detail)
                elif self._deep or not _may_be_same(found.etag, _short(_etag_of(receipt))):
                    yield store, name, receipt

        return self._read(job, good()) | off

    def _read(self, job: str, files: Iterator[tuple[Store, str, Receipt]]) -> set[str]:
        off: set[str] = set()
        done = 0
        with ThreadPoolExecutor(self._threads) as pool:
            pending: deque[tuple[Future[str], Receipt]] = deque()

            def take() -> None:
                nonlocal done
                future, receipt = pending.popleft()
                done += 1
                if self._watch is not None:
                    self._watch(done)
                try:
                    found = future.result()
                except FileError as error:
                    self._tell_failure(job, receipt.dst_path, error)
                    off.add(receipt.dst_path)
                    return
                if found != receipt.hashsum_dst:
                    detail = f"MD5 {receipt.hashsum_dst} -> {found}"
                    self._tell(job, "changed", receipt.dst_path, detail)
                    off.add(receipt.dst_path)

            for store, path, receipt in files:
                pending.append((pool.submit(store.digest, path), receipt))
                if len(pending) > 4 * self._threads:
                    take()
            while pending:
                take()
        return off

    def _tell_hollow(self, job: str, url: str) -> None:
        detail = "its receipt names two digests, that of the source and another"
        self._tell(job, "unproven", url, detail)

    def _tell_behind_link(self, job: str, store: Store, path: str) -> None:
        """Tell of a file below a folder that is a link: what is there isn't at the destination."""
        try:
            store.head(path)
        except FileError as error:
            self._tell_failure(job, store.url_of(path), error)
        else:  # the link has become a folder meanwhile
            self._tell(job, "missing", store.url_of(path), "it was not there when listed")

    def _tell_failure(self, job: str, path: str, error: FileError) -> None:
        if isinstance(error, NotFoundError):
            self._tell(job, "missing", path)
        else:
            self._tell(job, "unreadable", path, str(error))

    def _tell(self, job: str, what: Kind, path: str, detail: str = "") -> None:
        setattr(self._tally, what, getattr(self._tally, what) + 1)
        self._emit(Finding(job=job, what=what, path=path, detail=detail))


def _repair(joblist: JobList, stem: str, name: str, off: set[str]) -> Event:
    def drop_receipts() -> None:
        journal = joblist.journal_of(stem)
        dropped = [receipt for receipt in joblist.receipts_of(stem) if receipt.dst_path in off]
        kept = (receipt for receipt in joblist.receipts_of(stem) if receipt.dst_path not in off)
        write_table(joblist.table_path_of(stem), kept)
        journal.remove()  # its receipts are in the table now
        for receipt in dropped:
            # What stands at the destination is still ours, and may be replaced.
            journal.append(
                IntentRecord(
                    src_path=receipt.src_path, dst_path=receipt.dst_path, at_ns=time.time_ns()
                )
            )
        journal.close()

    return put_back(joblist, Claims.of(joblist), stem, name, event="repair", then=drop_receipts)


def _transferred_files(job: Job, log: bytes) -> int | None:
    """Return how many files must have receipts, as the job file tells; None if it doesn't."""
    success = last_records(log, ("success",)).get("success")
    files = None if success is None else number_of(success.values.get("files", ""))
    if files is None:
        return len(job.files) or None
    return max(len(job.files), files)


def _lack_of_receipts(expected: int | None, found: int) -> str:
    if expected is None and not found:
        return "it says success, its log doesn't say of how many files, and it has no receipts"
    if expected is not None and expected > found:
        return f"{expected - found} file(s) were transferred and have no receipt"
    return ""


def _by_folder(receipts: Iterable[Receipt], root: str | None) -> Iterator[tuple[str, str, Receipt]]:
    """Yield each receipt with the store that its file is in, ``root`` where that holds it."""
    inside = None if root is None else root.rstrip("/") + "/"
    for receipt in receipts:
        if root is not None and inside is not None and receipt.dst_path.startswith(inside):
            yield root, receipt.dst_path[len(inside) :], receipt
        else:
            folder, name = parent_of(receipt.dst_path)
            yield folder, name, receipt


def _is_proof(receipt: Receipt) -> bool:
    """Tell whether a receipt says that the same arrived as was read; ours always do."""
    return receipt.hashsum_src == receipt.hashsum_dst


def _etag_of(receipt: Receipt) -> str | None:
    """Return the ETag that a receipt vouches for; None for one that doesn't bear itself out."""
    etag = receipt.etag
    if receipt.verified_by == "etag-md5" and (etag or "").lower() != receipt.hashsum_dst:
        return None
    return etag


def _may_be_same(etag: str | None, short: int) -> bool:
    """Tell whether a file has the ETag of its receipt; where the store has none it may."""
    return not etag or _short(etag) == short


def _short(etag: str | None) -> int:
    return int.from_bytes(blake2b((etag or "").encode(), digest_size=8).digest()) if etag else 0
