"""Evidence, found without reading a file, that it may differ from its receipt."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from hashlib import blake2b

from jobtool.audit.events import TimesIgnored
from jobtool.events import Emit
from jobtool.jobs.job import Job
from jobtool.jobs.joblog import last_records, number_of
from jobtool.jobs.lastreceipts import digest_of
from jobtool.jobs.records import IntentRecord, Receipt, Record
from jobtool.stores.location import type_of
from jobtool.stores.store import Entry

_NO_TIME = -(2**63)

#: The resolution of times on filesystems, in nanoseconds: 1, 100 (NTFS), a microsecond, a
#: millisecond, a second (HFS+, older NFS), two seconds (FAT).
_GRAINS_NS = (1, 100, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000)

#: The event in a job's log that says how many of its files have receipts after some were deleted
#: at the destination since their sources are gone.
DELETED = "deleted-extra"

#: Times are ignored after this many files whose times differ and whose bytes don't.
_UNFOUNDED_DOUBTS = 100


class Expected:
    """What receipts say about a tree, in about 100 bytes per file. A file's last receipt counts.

    ``numbers`` maps the digest of a destination's path to the file's number. ``hollow`` holds the
    destinations whose receipt proves nothing.
    """

    def __init__(self, receipts: Iterable[Receipt]) -> None:
        self.numbers: dict[bytes, int] = {}
        self.sizes, self._etags, self._times_ns = array("q"), array("Q"), array("q")
        self.hollow: set[str] = set()
        for receipt in receipts:
            number = self.numbers.setdefault(digest_of(receipt.dst_path), len(self.sizes))
            if number == len(self.sizes):
                self.sizes.append(0)
                self._etags.append(0)
                self._times_ns.append(0)
            self.sizes[number] = receipt.stored_size
            self._etags[number] = _short(_etag_of(receipt))
            self._times_ns[number] = _time_of(receipt)
            self.hollow.discard(receipt.dst_path)
            if not receipt.is_proof:
                self.hollow.add(receipt.dst_path)

    def has_other_etag(self, number: int, entry: Entry) -> bool:
        """Return True if a file of the right size has another ETag than its receipt says."""
        return bool(entry.etag) and _short(entry.etag) != self._etags[number]

    def has_other_time(self, number: int, entry: Entry) -> bool:
        """Return True if a file of the right size has another time than its receipt says."""
        return is_other_time(self._times_ns[number], entry.mtime_ns)


class Times:
    """Whether modification times are reliable. They aren't if a destination never got any.

    A file whose time differs is read. After many such files with the right bytes, times are
    ignored, and ``emit`` is called once.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._unfounded = 0

    @property
    def are_reliable(self) -> bool:
        """Whether a different time is a reason to read a file."""
        return self._unfounded < _UNFOUNDED_DOUBTS

    def count_unfounded(self) -> None:
        """Count a file whose time differs and whose bytes don't."""
        self._unfounded += 1
        if self._unfounded == _UNFOUNDED_DOUBTS:
            self._emit(TimesIgnored(files=self._unfounded))


def has_other_etag(receipt: Receipt, entry: Entry) -> bool:
    """Return True if a file of the right size has another ETag than its receipt says.

    Some servers later return a different ETag for an object in parts than they did at first. So
    this is a reason to read the file, not yet a finding.
    """
    return bool(entry.etag) and _short(entry.etag) != _short(_etag_of(receipt))


def has_other_time(receipt: Receipt, entry: Entry) -> bool:
    """Return True if a file has another time than its receipt says.

    Only if both sides list the files' own times: see ``StoreType.lists_own_times``.
    """
    return is_other_time(_time_of(receipt), entry.mtime_ns)


def without_receipt(records: Iterable[Record]) -> set[str]:
    """Return the destinations that were to be written and have no receipt since.

    A finished job has none, unless a repair dropped receipts and didn't finish.
    """
    found: set[str] = set()
    for record in records:
        if isinstance(record, IntentRecord):
            found.add(record.dst_path)
        elif isinstance(record, Receipt):
            found.discard(record.dst_path)
    return found


def lack_of_receipts(job: Job, log: bytes, found: int) -> str:
    """Return why a finished job can't have all that it needs; empty if it may have everything."""
    if job.undone_steps:
        return f"it says success, but its step {job.undone_steps[0]} isn't done"
    expected = _transferred_files(job, log)
    if expected is None and not found:
        return "it says success, but has no receipts, and its log names no number of files"
    if expected is not None and expected > found:
        return f"{expected - found} file(s) were transferred and have no receipt"
    return ""


def _transferred_files(job: Job, log: bytes) -> int | None:
    """Return how many files must have receipts according to the job file; None if unknown."""
    last = next(iter(last_records(log, ("success", DELETED)).values()), None)
    files = None if last is None else number_of(last.values.get("files", ""))
    if files is None:
        return len(job.files) or None
    return max(len(job.files), files)


def _etag_of(receipt: Receipt) -> str | None:
    """Return the ETag of a receipt; None if the receipt contradicts itself."""
    etag = receipt.etag
    if receipt.verified_by == "etag-md5" and (etag or "").lower() != receipt.stored_md5:
        return None
    return etag


def _short(etag: str | None) -> int:
    return int.from_bytes(blake2b((etag or "").encode(), digest_size=8).digest()) if etag else 0


def _time_of(receipt: Receipt) -> int:
    # Elsewhere a file's time is the time of its writing, or the one in the source's metadata.
    for url in (receipt.dst_path, receipt.src_path):
        kind = type_of(url)
        if kind is None or not kind.lists_own_times:
            return _NO_TIME
    return receipt.mtime_ns


def is_other_time(expected_ns: int, found_ns: int) -> bool:
    """Return True if a time isn't the expected one, as filesystems with coarser times keep it."""
    if expected_ns in (found_ns, _NO_TIME):
        return False
    return not any(
        found_ns % grain_ns == 0 and abs(found_ns - expected_ns) < grain_ns
        for grain_ns in _GRAINS_NS
    )
