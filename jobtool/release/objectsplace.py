"""A place in a bucket: an object goes to the trash by a copy that its service makes and proves."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from msgspec.structs import replace

from jobtool.errors import FileError, NotFoundError, UsageError
from jobtool.failpoints import reach
from jobtool.md5 import md5_of
from jobtool.names import quote
from jobtool.release.context import ReleaseContext
from jobtool.release.destinations import UnprovenError
from jobtool.release.place import RECORD, TRASH, Fingerprint
from jobtool.stores.location import Location, inside, join, parent_of
from jobtool.stores.optional import CopiesInside, DeletesSame, supports
from jobtool.stores.original import NotCopiedError
from jobtool.stores.store import READ_BYTES, Attributes, Entry, Store, composite_md5
from jobtool.stores.storetype import Role
from jobtool.transfer.partranges import ranges

#: Larger objects are copied in parts.
_PART_BYTES = 64 * 1024 * 1024
_MAX_RECORD_BYTES = 64 * 1024


class ObjectsPlace:
    """A bucket or a prefix of one, whose service copies objects itself, or another store.

    ``beside`` and ``trash`` are as in ``FilesPlace``, ``role`` is that of the store. Of a
    destination whose service doesn't copy, files are read and written by this process. Raises
    ``UnprovenError`` for a source whose service doesn't copy, and the errors of opening.
    """

    def __init__(
        self,
        root: str,
        context: ReleaseContext,
        *,
        beside: str | None = None,
        trash: str | None = None,
        role: Role = "source",
    ) -> None:
        self.url = root
        folder, name = parent_of(beside or root)
        self.trash_url = trash or join(folder, TRASH)
        if trash is not None and Location.parse(trash).root != Location.parse(root).root:
            raise UsageError(
                f"{quote(trash)}: expected a trash in the bucket of {quote(root)}; found another"
            )
        if not name and inside(root, self.trash_url) is None:
            raise UnprovenError(f"expected a place that a trash can be beside; found {quote(root)}")
        self._context = context
        self._role: Role = role  # that of its server and its credentials
        self.store: Store = context.stores.open(root, role, owner=context.owner)
        self.trash_store: Store = context.stores.open(self.trash_url, role, owner=context.owner)
        if role == "source" and not supports(self.store, CopiesInside):
            raise UnprovenError(
                f"expected a folder of this machine, or a bucket whose service copies objects; "
                f"found {quote(root)}. Run jobtool release on the machine that has the files."
            )

    def fingerprint(self, path: str) -> Fingerprint:
        """Return an object's identity."""
        return _fingerprint(self._entry(self.store, path))

    def _entry(self, store: Store, path: str) -> Entry:
        found = self._context.retry.call(lambda: store.stat(path, file_only=True))
        if isinstance(found, Entry):
            return found
        raise NotFoundError(f"expected an object at {quote(store.url_of(path))}; found nothing")

    def fingerprint_in_trash(self, trashed: str) -> Fingerprint | None:
        """Return the identity of an object in the trash; None if there is none."""
        try:
            return _fingerprint(self._entry(self.trash_store, trashed))
        except NotFoundError:
            return None

    def check_trash(self) -> None:
        """Do nothing: only a request that writes could tell."""

    def make_trash(self, folder: str, record: bytes) -> None:
        """Write the record."""
        attributes = Attributes(mtime_ns=0, md5=md5_of(record), may_replace=False)
        try:
            self.trash_store.write(f"{folder}/{RECORD}", [record], attributes)
        except FileError as error:
            raise UnprovenError(
                f"the trash {quote(self.trash_url)} can't be used: {error}. Nothing was removed."
            ) from None

    def read_record(self, folder: str) -> bytes | None:
        """Return the record of a folder in the trash."""
        try:
            entry = self._entry(self.trash_store, f"{folder}/{RECORD}")
        except NotFoundError:
            return None
        if entry.size > _MAX_RECORD_BYTES:
            return None
        return bytes(self.trash_store.read(entry, 0, entry.size).data)

    def to_trash(self, path: str, fingerprint: Fingerprint, trashed: str, md5: str) -> None:
        """Copy an object, prove the copy, then delete the object if it is still the same.

        The service compares its ETag once more as it deletes. Servers other than those of Amazon,
        Google and Microsoft may not know that condition: there an object that is replaced between
        the last look and the deletion goes with it.
        """
        self._copy(self.store, fingerprint.entry(path), self.trash_store, trashed, md5)
        try:
            if self.fingerprint(path) != fingerprint:
                raise _changed()
            self._context.require_going()
            reach("before an object is deleted")
            _delete_same(self.store, path, fingerprint)
        except UnprovenError:  # another object is there: the copy of the former one isn't needed
            self.trash_store.delete(trashed)
            raise

    def _copy(self, source: Store, entry: Entry, target: Store, path: str, md5: str) -> None:
        """Have the service copy a file; of a destination, copy it here if the service can't."""
        try:
            if self._role == "source" or supports(target, CopiesInside):
                _copy(source, entry, target, path, md5, self._context)
                return
        except UnprovenError:
            if self._role == "source":
                raise
        _copy_through(source, entry, target, path, md5, self._context)

    def is_at_both(self, path: str, trashed: str) -> bool:
        """Compare the objects' sizes, then read both."""
        here, there = self._found(self.store, path), self._found(self.trash_store, trashed)
        if here is None or there is None or here.size != there.size:
            return False
        retry = self._context.retry
        md5 = retry.call(lambda: self.store.digest(path))
        return md5 == retry.call(lambda: self.trash_store.digest(trashed))

    def _found(self, store: Store, path: str) -> Entry | None:
        try:
            return self._entry(store, path)
        except NotFoundError:
            return None

    def put_back(self, trashed: str, path: str) -> None:
        """Copy an object back, prove the copy, delete the one in the trash."""
        entry = self._entry(self.trash_store, trashed)
        if self.is_at_both(path, trashed):
            _delete_same(self.trash_store, trashed, _fingerprint(entry))
            return
        if self._found(self.store, path) is not None:
            raise UnprovenError(
                f"{quote(self.store.url_of(path))} can't be put back: something is there. It is in "
                "the trash still."
            )
        md5 = self.trash_store.digest(trashed)
        self._copy(self.trash_store, entry, self.store, path, md5)
        reach("before an object that was put back is deleted from the trash")
        _delete_same(self.trash_store, trashed, _fingerprint(entry))

    def remove(self, trashed: str, fingerprint: Fingerprint) -> None:
        """Delete an object of the trash."""
        if self.fingerprint_in_trash(trashed) != fingerprint:
            raise UnprovenError("it has changed in the trash since it was read in this pass")
        _delete_same(self.trash_store, trashed, fingerprint)

    def remove_folder(self, folder: str) -> None:
        """Delete the record, unless any other object is left."""
        store = self._context.stores.open(join(self.trash_url, folder), self._role)
        left = [found.path for found, _ in zip(store.list(), range(2), strict=False)]
        if left == [RECORD]:
            store.delete(RECORD)

    def clock_ns(self, folder: str) -> int | None:
        """Return the time that the service gives to a new object."""
        path = f"{folder}/.clock.{secrets.token_hex(4)}"
        try:
            self.trash_store.write(path, [b""], Attributes(mtime_ns=0, md5=md5_of(b"")))
            try:
                return self._entry(self.trash_store, path).mtime_ns
            finally:
                self.trash_store.delete(path)
        except FileError:
            return None


def _fingerprint(entry: Entry) -> Fingerprint:
    return Fingerprint(size=entry.size, mtime_ns=entry.mtime_ns, etag=entry.etag)


def _delete_same(store: Store, path: str, fingerprint: Fingerprint) -> None:
    """Delete an object. Raises ``UnprovenError`` if its service finds another one there now."""
    if fingerprint.etag is None or not supports(store, DeletesSame):
        store.delete(path)
    elif not store.delete_same(path, fingerprint.etag):
        raise _changed()


def _changed() -> UnprovenError:
    return UnprovenError("it has changed since it was read in this pass")


def _copy(
    source: Store, entry: Entry, target: Store, path: str, md5: str, context: ReleaseContext
) -> None:
    """Copy an object inside its service. Raises ``UnprovenError`` unless the copy is proven."""
    assert supports(target, CopiesInside)
    where = quote(target.url_of(path))
    reason = target.why_not_inside(source)
    try:
        if reason is not None:
            raise NotCopiedError(reason)
        original = target.original(source, entry, _PART_BYTES)
        if original.part_size is None:
            target.copy_inside(source, original, path, context.require_going)
        else:
            upload = target.begin(path, original.attributes)
            try:
                parts = []
                for number, offset, size in ranges(original.size, original.part_size):
                    context.require_going()
                    parts.append(
                        target.copy_part_inside(source, original, upload, number, offset, size)
                    )
                if composite_md5(parts) != original.composite:
                    raise NotCopiedError("the copied parts have other MD5s")
                target.complete(upload, parts, original.attributes)
            except BaseException:
                target.abort(upload)
                raise
        proof = target.prove(path, md5, original.composite or "")
    except NotCopiedError as error:
        raise UnprovenError(f"its service can't copy it to {where}: {error}") from None
    if proof is None:
        target.delete(path)
        raise UnprovenError(f"expected MD5 {md5} at {where}; its service made another copy")


def _copy_through(
    source: Store, entry: Entry, target: Store, path: str, md5: str, context: ReleaseContext
) -> None:
    """Copy a file by reading and writing it. Raises ``UnprovenError`` unless the copy is proven."""
    first = source.read(entry, 0, min(READ_BYTES, entry.size))

    def chunks() -> Iterator[bytes | memoryview]:
        if entry.size:
            yield first.data
        for offset in range(READ_BYTES, entry.size, READ_BYTES):
            context.require_going()
            yield source.read(entry, offset, min(READ_BYTES, entry.size - offset)).data

    attributes = replace(first.attributes, md5=md5, may_replace=False)
    proof = target.write(path, chunks(), attributes)
    if proof is None and context.retry.call(lambda: target.digest(path)) != md5:
        target.delete(path)
        raise UnprovenError(
            f"expected MD5 {md5} at {quote(target.url_of(path))}; the copy that was written there "
            "has another"
        )
