"""The method ``server-side``: files that their own service copies, proven by what it says of both.

It is a part of the worker like ``stream``, not a plug-in: it needs the job's journal, so that the
parts of a large file that are copied needn't be copied again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from jobtool.errors import (
    DigestMismatchError,
    FileError,
    JobtoolError,
    NotFoundError,
    NotYetError,
    SourceChangedError,
    SourceError,
    StoreUnavailableError,
    UnreachableError,
)
from jobtool.methods.method import SERVER_SIDE
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.optional import CopiesInside, supports
from jobtool.stores.original import NotCopiedError, Original
from jobtool.stores.store import Part, Store, Upload, composite_md5
from jobtool.transfer.copy import Copied, Copier
from jobtool.transfer.digests import require_going, require_held
from jobtool.transfer.ledger.uploadlog import UploadLog
from jobtool.transfer.methoduse import MethodUse, in_short
from jobtool.transfer.partranges import PartRange, ranges
from jobtool.transfer.partsenders import PartsUnderWay
from jobtool.transfer.partuploads import begin, take_up
from jobtool.transfer.plan import Item, Route

#: After this many files in a row that failed, a service isn't asked any more in this attempt.
MOST_LEFT_IN_A_ROW = 5

NO_SERVICE = "no service has both source and destination"


def service_of(source: Store, destination: Store) -> CopiesInside | None:
    """Return the destination if its service may have the source, too; else None."""
    if supports(destination, CopiesInside) and type(source) is type(destination):
        return destination
    return None


class ServerSide:
    """Has services copy the files of a job, one attempt long. Threads may call it.

    Files that a service can't copy or prove are left to ``stream``. After one that it refused
    before any was copied, or after ``MOST_LEFT_IN_A_ROW`` failures, all files of the same two
    stores are. With ``is_last`` there is no ``stream``: such a file is in error. ``use`` is the
    result, of interest once it ``has_met_a_pair`` of stores of one kind.
    """

    def __init__(self, copier: Copier, *, stop: Stop, is_last: bool = False) -> None:
        self._is_last = is_last
        self.use = MethodUse(name=SERVER_SIDE)
        self.has_met_a_pair = False
        self._copier = copier
        self._stop = stop
        self._lock = threading.Lock()
        self._services: dict[int, CopiesInside | None] = {}  # by the route's identity
        self._left_in_a_row: dict[int, int] = {}  # by the route's identity
        self._copied: set[int] = set()  # the routes for which it has worked
        self._failed: set[int] = set()  # files whose last try failed
        self._began_at: float | None = None

    def copy(
        self,
        number: int,
        item: Item,
        log: UploadLog,
        *,
        on_bytes: Callable[[int], None],
        on_kept: Callable[[int], None],
        may_replace: bool,
    ) -> Copied | None:
        """Try once to have a file copied. Return None if it is left to ``stream``.

        An error after which another try may help is raised once. After the second in a row the
        file is left. See ``Copier.copy`` for the arguments and the other errors.
        """
        service = self._service_of(item.route)
        if service is None:
            if self._is_last:
                raise FileError(
                    f"{quote(item.destination_url)}: no method has moved the file: "
                    f"{self.use.name} ({self.use.reason})"
                )
            return None

        def on_copied(size: int) -> None:
            self._failed.discard(number)
            on_bytes(size)

        try:
            with self._copier.liveness.working(item.source_url):
                copied = self._copy(service, item, log, on_copied, on_kept, may_replace)
        except (SourceChangedError, NotYetError):
            raise
        except (FileError, StoreUnavailableError) as error:
            if self._is_last:
                self.use.reason = in_short(str(error))
                raise
            if error.retryable and number not in self._failed:
                self._failed.add(number)
                raise
            self._leave(item.route, error)
            return None
        with self._lock:
            self._copied.add(id(item.route))
            self._left_in_a_row.pop(id(item.route), None)
            self.use.files += 1
            if self._began_at is not None:
                self.use.seconds = time.monotonic() - self._began_at
        return copied

    def original_of(self, item: Item) -> Original | None:
        """Return what the service says of a file to be compared; None if its MD5 isn't known."""
        service = self._service_of(item.route)
        if service is None:
            return None
        try:
            original = service.original(item.route.source, item.entry, self._copier.part_bytes)
        except (FileError, StoreUnavailableError) as error:
            if isinstance(error, SourceChangedError):
                raise
            return None  # it is read then, and what can't be read is an error
        return original if original.md5 is not None else None

    def adopt(self, item: Item, original: Original) -> Copied | None:
        """Return the proof that the destination holds the same file already; None if it doesn't.

        Nothing of the source is read. See ``original_of``.
        """
        service, md5 = item.route.destination, original.md5
        assert supports(service, CopiesInside), "original_of() returns none without"
        assert md5 is not None, "original_of() returns none without"
        composite = original.composite or ""
        proof = service.prove(item.destination_path, md5, composite, original.attributes)
        if proof is None:
            return None
        part_size = original.part_size if proof.etag == original.composite else None
        return Copied(
            md5=md5,
            proof=proof,
            part_size=part_size,
            source_version=original.version,
            was_there=True,
        )

    def _service_of(self, route: Route) -> CopiesInside | None:
        key = id(route)
        if key not in self._services:
            with self._lock:
                if key not in self._services:
                    self._services[key] = self._find_service(route)
        return self._services[key]

    def _find_service(self, route: Route) -> CopiesInside | None:
        service = service_of(route.source, route.destination)
        if service is None:
            self.use.reason = self.use.reason or NO_SERVICE
            return None
        self.has_met_a_pair = True
        reason = service.why_not_inside(route.source)
        if reason is not None:
            self.use.reason = in_short(f"not available: {reason}")
            return None
        if self._began_at is None:
            self._began_at = time.monotonic()
        return service

    def _leave(self, route: Route, error: JobtoolError) -> None:
        key = id(route)
        with self._lock:
            self.use.reason = in_short(str(error))
            if isinstance(error, NotCopiedError | SourceError | UnreachableError):
                return  # which says nothing about other files
            in_a_row = self._left_in_a_row[key] = self._left_in_a_row.get(key, 0) + 1
            is_refused = not error.retryable and key not in self._copied
            if is_refused or in_a_row >= MOST_LEFT_IN_A_ROW:
                self._services[key] = None

    # One file.

    def _copy(
        self,
        service: CopiesInside,
        item: Item,
        log: UploadLog,
        on_bytes: Callable[[int], None],
        on_kept: Callable[[int], None],
        may_replace: bool,
    ) -> Copied:
        original = service.original(item.route.source, item.entry, self._copier.part_bytes)
        under_way = log.under_way
        if under_way is not None and under_way.record.part_size != original.part_size:
            raise NotCopiedError(f"{quote(item.source_url)}: an upload in other parts is under way")
        if original.part_size is not None:
            copying = _InParts(service, item, log, original, self._copier, self._stop)
            return copying.run(original.part_size, on_bytes, on_kept, may_replace)
        path = item.destination_path
        attributes = replace(original.attributes, may_replace=may_replace)
        original = replace(original, attributes=attributes)

        def require_held_and_going() -> None:
            require_held(self._stop, item)
            require_going(self._stop, item)

        require_held(self._stop, item)
        proof = service.copy_inside(item.route.source, original, path, require_held_and_going)
        if proof is None:
            require_held(self._stop, item)
            with contextlib.suppress(FileError):  # `stream` replaces it
                service.delete(path)
            raise FileError(
                f"{quote(item.destination_url)}: the service's answer doesn't prove the copy"
            )
        on_bytes(original.size)
        return Copied(
            md5=proof.md5,
            proof=proof,
            part_size=None,
            source_version=original.version,
            method=SERVER_SIDE,
        )


class _InParts:
    """One try to have one file copied in parts."""

    def __init__(
        self,
        service: CopiesInside,
        item: Item,
        log: UploadLog,
        original: Original,
        copier: Copier,
        stop: Stop,
    ) -> None:
        self._service = service
        self._item = item
        self._log = log
        self._original = original
        self._copier = copier
        self._stop = stop

    def run(
        self,
        part_size: int,
        on_bytes: Callable[[int], None],
        on_kept: Callable[[int], None],
        may_replace: bool,
    ) -> Copied:
        """Copy the parts that aren't held, and complete the upload."""
        md5 = self._original.md5
        assert md5 is not None, "files of unknown MD5 aren't copied in parts"
        upload, parts = self._upload(part_size)
        held = {part.number for part in parts}
        for part in parts:
            on_kept(part.size)
        under_way = PartsUnderWay(self._copier.capacity)
        try:
            for part_range in ranges(self._original.size, part_size):
                if part_range.number not in held:
                    require_going(self._stop, self._item)
                    self._submit(under_way, partial(self._copy_part, upload, part_range, on_bytes))
                    parts.extend(under_way.collect(self._copier.capacity.threads))
            parts.extend(under_way.collect())
        finally:
            under_way.abandon()
        parts.sort(key=lambda part: part.number)
        if composite_md5(parts) != self._original.composite:
            self._drop()
            raise FileError(
                f"{quote(self._item.destination_url)}: the copied parts have other MD5s than "
                f"those of {quote(self._item.source_url)}"
            )
        attributes = replace(self._original.attributes, may_replace=may_replace)
        require_held(self._stop, self._item)
        try:
            proof = self._service.complete(upload, parts, attributes)
        except (DigestMismatchError, NotFoundError):
            self._log.dropped()
            raise
        return Copied(
            md5=md5,
            proof=proof,
            part_size=part_size,
            source_version=self._original.version,
            method=SERVER_SIDE,
        )

    def _upload(self, part_size: int) -> tuple[Upload, list[Part]]:
        under_way = self._log.under_way
        if under_way is not None and under_way.record.md5 not in (None, self._original.md5):
            self._drop()  # its metadata has an MD5 that isn't the file's
        taken = take_up(self._service, self._item, self._log)
        if taken is not None:
            return taken
        attributes = self._original.attributes
        return begin(self._service, self._item, self._log, attributes, part_size, self._stop), []

    def _submit(self, under_way: PartsUnderWay, copy: Callable[[], Part]) -> None:
        under_way.add(0, lambda: copy)  # no bytes pass, so no memory is needed

    def _copy_part(
        self, upload: Upload, part_range: PartRange, on_bytes: Callable[[int], None]
    ) -> Part:
        require_held(self._stop, self._item)
        number, offset, size = part_range
        source = self._item.route.source
        part = self._service.copy_part_inside(source, self._original, upload, number, offset, size)
        self._log.sent(part)
        on_bytes(size)
        return part

    def _drop(self) -> None:
        under_way = self._log.under_way
        if under_way is not None:
            under_way.abort(self._item)
        self._log.dropped()
