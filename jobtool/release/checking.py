"""The last pass before a deletion: a file is read again, and each of its copies is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import msgspec

from jobtool.errors import FileError, NotFoundError, UsageError
from jobtool.names import quote
from jobtool.release.context import ReleaseContext
from jobtool.release.destinations import (
    Copy,
    Destinations,
    UnprovenError,
    needed_part_sizes,
    read_digests,
    require_apart,
)
from jobtool.release.place import Fingerprint, Place
from jobtool.release.plan import Checked, Stay
from jobtool.stores.location import join
from jobtool.transfer.parallel import in_parallel

#: How many files, and bytes, are checked before they go: their evidence is that fresh.
BATCH_FILES = 128
BATCH_BYTES = 64 * 1024**3

GONE = "it isn't there any more"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is to go, as it was proven before.

    ``path`` is relative to the place, ``size`` in bytes, ``mtime_ns`` in nanoseconds since 1970;
    None if it isn't known. ``md5`` is in hex; None for a file that was never read. ``copies`` are
    at the required destinations. ``lack`` says what is missing to release the file, else it is
    None.
    """

    path: str
    size: int
    mtime_ns: int | None
    md5: str | None
    copies: tuple[Copy, ...] = ()
    lack: str | None = None


def require_unchanged(found: Fingerprint, candidate: Candidate) -> None:
    """Raise ``UnprovenError`` unless a file has the size and time with which it was proven."""
    if found.size != candidate.size:
        raise UnprovenError(
            f"expected {candidate.size} bytes, as when it was proven; found {found.size} now. It "
            "has changed since."
        )
    if candidate.mtime_ns is not None and found.mtime_ns != candidate.mtime_ns:
        raise UnprovenError(
            "expected the modification time with which it was proven; found another one now. It "
            "has changed since."
        )


def check_file(
    place: Place, destinations: Destinations, candidate: Candidate, context: ReleaseContext
) -> Checked | Stay:
    """Check one file. Raises ``InfrastructureError``, ``StoppedError``, ``ClaimLostError``.

    In this order: the file's size and time, whether its copies are other files, the size of each
    copy, all bytes of the file, the bytes of each copy. Then the file's identity must be the same
    as before.
    """
    try:
        return _check(place, destinations, candidate, context)
    except (FileError, UsageError) as error:
        return Stay(path=candidate.path, reason=str(error))


def _check(
    place: Place, destinations: Destinations, candidate: Candidate, context: ReleaseContext
) -> Checked:
    context.require_going()
    path, url = candidate.path, join(place.url, candidate.path)
    if candidate.lack is not None:
        raise UnprovenError(candidate.lack)
    if not candidate.copies:
        raise UnprovenError("no destination is required to have it, so nothing proves it")
    try:
        before = place.fingerprint(path)
    except NotFoundError:
        raise UnprovenError(GONE) from None
    require_unchanged(before, candidate)
    found = []
    for copy in candidate.copies:
        require_apart(copy, url, before.file)
        found.append((copy, destinations.entry(copy)))
    digests = read_digests(place.store, before.entry(path), needed_part_sizes(found), context)
    if candidate.md5 not in (None, digests.md5):
        raise UnprovenError(
            f"expected MD5 {candidate.md5}, as when it was proven; read {digests.md5} now. Its "
            "content has changed since, though size and time are the same, or its receipt is false."
        )
    evidence = tuple(destinations.look(copy, digests) for copy in candidate.copies)
    if place.fingerprint(path) != before:
        raise UnprovenError("it has changed while it was read")
    return Checked(
        path=path,
        md5=digests.md5,
        fingerprint=before,
        evidence=evidence,
        copies=candidate.copies,
    )


def check_files(
    place: Place, candidates: Iterable[Candidate], context: ReleaseContext
) -> Iterator[list[Checked | Stay]]:
    """Check files in batches, several at a time. Files that are gone already are left out.

    The files of a batch are taken from ``candidates`` only when the batch before it has been used.
    """
    destinations = Destinations(context)
    check = partial(_check_one, place, destinations, context)
    for batch in _batches(candidates):
        outcomes = in_parallel(check, batch, threads=context.threads)
        yield [one for one in outcomes if not (isinstance(one, Stay) and one.reason == GONE)]


def _batches(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    batch: list[Candidate] = []
    size = 0
    for candidate in candidates:
        batch.append(candidate)
        size += candidate.size
        if len(batch) == BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _check_one(
    place: Place, destinations: Destinations, context: ReleaseContext, candidate: Candidate
) -> Checked | Stay:
    return check_file(place, destinations, candidate, context)


def foreign(path: str, root: str) -> str:
    """Return why a receipt's file isn't released that isn't the job's."""
    return (
        f"expected a file of the job, below {quote(root)}; its receipt names {quote(path)}. It "
        "isn't the job's to remove"
    )
