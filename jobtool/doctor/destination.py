"""The destination: everything that a worker does there, tried under a separate name.

All of it happens below one folder or prefix, ``.jobtool-doctor-TOKEN``, which is removed at the
end.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from jobtool.doctor.checkresult import CheckResult, Subject, in_bytes, in_seconds
from jobtool.doctor.existing import missing_folders
from jobtool.doctor.folder import judge_clock, space_result
from jobtool.doctor.proofs import PROVEN_BY
from jobtool.errors import (
    CredentialsError,
    FileError,
    JobtoolError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
    reason_of,
)
from jobtool.names import quote
from jobtool.stores.local.room import existing_folder
from jobtool.stores.location import Location, is_local, join, type_of
from jobtool.stores.optional import Multipart, Temporaries, supports
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import (
    Attributes,
    Part,
    Proof,
    Store,
    Upload,
    entry_of,
    kind_of,
)

STAGING = "staging"

_PART_BYTES = 5 * 1024 * 1024  # the least that S3 takes for a part that isn't the last
_SMALL = b"Written by jobtool doctor, and to be removed by it.\n"
_LITTLE_BYTES = 1024 * 1024 * 1024

#: Names below the probe's folder.
_WHOLE, _ONCE, _PARTS, _ABORTED = "whole", "once", "parts", "aborted"

_ACTIONS = (
    "jobtool needs to list, get, put and delete objects, and to list and abort multipart uploads."
)


class DestinationProbe(msgspec.Struct):
    """Tries one destination. ``is_strict`` says that workers rely on create-only writes.

    ``about`` is ``destination``, or ``staging`` for the place where chunks of an export wait.

    ``made_folders`` are local folders that weren't there before, the uppermost first.

    Use it in a ``with`` statement. Entering it looks which folders aren't there yet; leaving it
    removes what the checks have made, however they ended. If several nodes probe one destination,
    the first to enter should be the last to leave.
    """

    url: str
    stores: StoreRegistry
    token: str
    is_strict: bool = False
    about: str = "destination"
    made_folders: list[str] = msgspec.field(default_factory=list)
    _store: Store | None = None
    _is_empty: bool = False

    @property
    def subject(self) -> Subject:
        """The subject of the results."""
        return Subject(self.about, self.url)

    @property
    def _is_local(self) -> bool:
        return is_local(self.url)

    @property
    def _probe_url(self) -> str:
        return join(self.url, f".jobtool-doctor-{self.token}")

    def __enter__(self) -> DestinationProbe:
        if self._is_local:
            with contextlib.suppress(JobtoolError):  # an invalid URL, which a check reports
                self.made_folders = missing_folders(Location.parse(self._probe_url).url)
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def remove_for_another(self, made_folders: list[str]) -> None:
        """Remove what a killed probe of this name has made."""
        self.made_folders = made_folders
        with contextlib.suppress(JobtoolError):
            self._opened()
        self._remove()

    def briefly(self) -> Iterator[CheckResult]:
        """Yield whether it can be reached, written and read; for all nodes except the first.

        For a staging folder, which may be one of each node, also how much room there is.
        """
        if self.about == STAGING and self._is_local:
            yield self._space()
        yield from self._checks(self._whole)

    def thoroughly(self) -> Iterator[CheckResult]:
        """Yield whether everything that a worker does works, and whether anything is left."""
        if self._is_local:
            yield self._space()
        is_written = False
        for result in self._checks(self._whole):
            is_written = result.check != "reach and write" or result.verdict != "fail"
            yield result
        if is_written:
            yield from self._checks(self._create_only, self._parts, self._abort, self._delete)

    def _checks(self, *checks: Callable[[Store], Iterator[CheckResult]]) -> Iterator[CheckResult]:
        for check in checks:
            try:
                yield from check(self._opened())
            except JobtoolError as error:
                yield self.subject.failed(_name_of(check), str(error), _advice(error))

    def _opened(self) -> Store:
        if self._store is None:
            owner = f"doctor {self.token}"
            self._store = self.stores.open(self._probe_url, "destination", owner=owner)
        return self._store

    def _space(self) -> CheckResult:
        try:
            folder = existing_folder(Location.parse(self.url).url)
            return space_result(self.subject, folder, little_bytes=_LITTLE_BYTES)
        except UsageError as error:
            return self.subject.failed("space", str(error), "Correct the destination.")
        except OSError as error:
            return self.subject.failed("space", reason_of(error), "Is its filesystem mounted?")

    def _whole(self, store: Store) -> Iterator[CheckResult]:
        start, before = time.monotonic(), time.time()
        proof = store.write(_WHOLE, [_SMALL], _attributes(_SMALL))
        seconds, after = time.monotonic() - start, time.time()
        how = f"a file was written and proven in {in_seconds(seconds)}"
        if len(self.made_folders) > 1:
            how += "; the folder isn't there yet, and could be made"
        yield self.subject.passed("reach and write", how)
        entry = entry_of(store, _WHOLE)
        try:
            is_same = bytes(store.read(entry, 0, entry.size).data) == _SMALL
        except JobtoolError as error:
            yield self.subject.warned(
                "read back", str(error), f"What isn't proven by its ETag must be read. {_ACTIONS}"
            )
        else:
            if not is_same:
                yield self.subject.failed(
                    "read back", "a file holds other bytes than were written", "Don't use it."
                )
        if proof is None or _is_read_back_cheaply(proof, store):
            yield self.subject.passed("digest", "files are proven by reading them back")
        elif proof.verified_by in PROVEN_BY:
            how = f"files are proven by {PROVEN_BY[proof.verified_by]}: nothing is read back"
            yield self.subject.passed("digest", how)
        else:
            yield self.subject.warned(
                "digest",
                "the server shows no digest of a file, as some do with SSE-KMS",
                "Nothing is wrong, but every file is read back to be proven: twice the traffic.",
            )
        kind = type_of(self.url)
        is_compared = kind is not None and kind.clock_tolerance_seconds is not None
        if kind is not None and is_compared and not kind.lists_own_times:
            stamped = entry.mtime_ns / 1e9  # the server's time, in whole seconds
            difference = max(before - stamped - 1, stamped - after, 0.0)
            yield judge_clock(
                self.subject,
                "clock",
                difference,
                between="this node and the server",
                strictest=kind,
            )

    def _create_only(self, store: Store) -> Iterator[CheckResult]:
        check = _name_of(self._create_only)
        advice = (
            "Don't rely on --if-exists error here: a file that another program writes at the same "
            "time may be replaced."
        )
        judge = self.subject.failed if self.is_strict else self.subject.warned
        other = _SMALL.upper()
        try:
            store.write(_ONCE, [_SMALL], _attributes(_SMALL, may_replace=False))
        except (CredentialsError, UnreachableError):
            raise
        except JobtoolError as error:
            yield judge(check, f"not known here: {error}", advice)
            return
        try:
            store.write(_ONCE, [other], _attributes(other, may_replace=False))
        except FileError:
            yield self.subject.passed(check, "an existing file isn't replaced if that is forbidden")
        else:
            yield judge(check, "a file was replaced although that was forbidden", advice)

    def _parts(self, store: Store) -> Iterator[CheckResult]:
        if not supports(store, Multipart):
            yield self.subject.passed("parts", "large files are sent whole: each try starts anew")
            return
        pieces = (bytes(_PART_BYTES), _SMALL)
        whole = b"".join(pieces)
        attributes = _attributes(whole)
        start = time.monotonic()
        upload = store.begin(_PARTS, attributes)
        parts = [
            _put_part(store, upload, number, number * _PART_BYTES, piece)
            for number, piece in enumerate(pieces)
        ]
        proof = store.complete(upload, parts, attributes)
        size = entry_of(store, _PARTS).size
        if size != len(whole):
            yield self.subject.failed(
                "parts", f"a file of {len(whole)} bytes has {size} at the end", "Don't use it."
            )
            return
        rate = f"{in_bytes(len(whole))} in {in_seconds(time.monotonic() - start)}"
        is_read_back = proof.verified_by == "read-back"
        if not is_read_back or _is_read_back_cheaply(proof, store):
            how = "read back"
            if not is_read_back:
                how = f"proven by {PROVEN_BY[proof.verified_by]}"
            yield self.subject.passed("parts", f"a file in two parts was {how}: {rate}")
        else:
            yield self.subject.warned(
                "parts",
                f"the server shows no digest of a file in two parts: {rate}",
                "Nothing is wrong, but large files are read back to be proven.",
            )

    def _abort(self, store: Store) -> Iterator[CheckResult]:
        if not supports(store, Multipart):
            return
        upload = store.begin(_ABORTED, _attributes(_SMALL))
        part = _put_part(store, upload, 0, 0, _SMALL)
        store.abort(upload)
        with contextlib.suppress(NotFoundError):
            if store.held_parts(upload, [part]):
                yield self.subject.warned(
                    "abort",
                    "an upload that was aborted still holds its parts",
                    "Give the bucket a lifecycle rule that drops unfinished uploads.",
                )
                return
        yield self.subject.passed("abort", "an unfinished upload can be dropped")

    def _delete(self, store: Store) -> Iterator[CheckResult]:
        for name in (_WHOLE, _ONCE, _PARTS):
            store.delete(name)
        self._remove()
        left = [entry.path for entry in store.list()] if kind_of(store, "") != "missing" else []
        try:
            unfinished = len(_uploads(store, _PARTS)) + len(_uploads(store, _ABORTED))
        except JobtoolError as error:
            yield self.subject.warned(
                "delete", f"can't tell whether uploads are left: {error}", _ACTIONS
            )
            return
        if left or unfinished:
            yield self.subject.failed(
                "delete",
                f"{len(left)} file(s) and {unfinished} upload(s) of the probe are left",
                f"Remove {quote(store.url)} by hand.",
            )
        else:
            self._is_empty = True
            yield self.subject.passed("delete", "no file and no upload of the probe is left")

    def _remove(self) -> None:
        """Remove everything that may be left; a check has reported what can't be removed."""
        if self._store is not None and not self._is_empty:
            with contextlib.suppress(UnreachableError):  # another try would take as long again
                for name in (_WHOLE, _ONCE, _PARTS, _ABORTED):
                    _remove_file(self._store, name)
        for folder in reversed(self.made_folders):
            with contextlib.suppress(OSError):  # another program may have begun to use it
                os.rmdir(folder)


def _remove_file(store: Store, name: str) -> None:
    def drop_uploads() -> None:
        if supports(store, Multipart) or supports(store, Temporaries):
            for upload in store.leftovers(name, 0):
                store.abort(upload)

    for remove in (drop_uploads, lambda: store.delete(name)):
        try:
            remove()
        except UnreachableError:
            raise
        except JobtoolError:
            continue


def _is_read_back_cheaply(proof: Proof, store: Store) -> bool:
    return proof.verified_by == "read-back" and store.capabilities.cheap_reads


def _uploads(store: Store, name: str) -> Sequence[Upload]:
    return store.leftovers(name, 0) if supports(store, Multipart) else ()


def _name_of(check: object) -> str:
    name = getattr(check, "__name__", "").strip("_").replace("_", "-")
    return "reach and write" if name == "whole" else name


def _advice(error: JobtoolError) -> str:
    if isinstance(error, CredentialsError | RefusedError):
        return f"Log in, or name the right profile. {_ACTIONS}"
    if isinstance(error, UnreachableError):
        return "Correct endpoint_url, or open a route to it: compute nodes often have none."
    return "Fix this: workers would hand their jobs back, or end them in error."


def _attributes(data: bytes, *, may_replace: bool = True) -> Attributes:
    return Attributes(mtime_ns=time.time_ns(), md5=_md5(data), may_replace=may_replace)


def _put_part(store: Multipart, upload: Upload, number: int, offset: int, data: bytes) -> Part:
    return store.put_part(upload, number + 1, offset, data, _md5(data))


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
