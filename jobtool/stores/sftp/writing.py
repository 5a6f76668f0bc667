"""What the store writes: under temporary names, proven, then renamed to their targets."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import stat
from collections.abc import Iterable, Iterator, Sequence

import asyncssh

from jobtool.errors import DigestMismatchError, JobtoolError, NotFoundError, StoreError
from jobtool.names import quote
from jobtool.stores.beneath import LinkInTheWayError
from jobtool.stores.local.temporaries import Temporaries
from jobtool.stores.sftp.attributes import refused, set_on_path, wanted_of
from jobtool.stores.sftp.connection import Link, Session
from jobtool.stores.sftp.durability import Durability
from jobtool.stores.sftp.errors import LOST, NoCommandsError
from jobtool.stores.sftp.failures import writing
from jobtool.stores.sftp.files import RemoteFile, open_remote
from jobtool.stores.sftp.folders import make_special, set_folder_attributes
from jobtool.stores.sftp.publish import ExistsError, publish
from jobtool.stores.sftp.reading import md5_by_reading, names_in, reading
from jobtool.stores.sftp.tree import MISSING, Tree, mode_of, split
from jobtool.stores.sftp.unfinished import check_writable, create, removed_on_failure
from jobtool.stores.store import (
    Attributes,
    Note,
    Part,
    Proof,
    Special,
    Upload,
    VerifiedBy,
    check_path,
    require_same,
)

#: Files up to this size are written by one task and read back on the same handle. For them that
#: takes less than a command.
SMALL_BYTES = 1024 * 1024

_Chunk = bytes | memoryview


class Writer:
    """Writes below a tree's root. Its methods are those of stores."""

    def __init__(
        self, link: Link, tree: Tree, temporaries: Temporaries, *, by_command: bool
    ) -> None:
        self._link = link
        self._tree = tree
        self._temporaries = temporaries
        self._by_command = by_command
        self._durability = Durability(link, tree.url)
        self.sync = self._durability.sync

    def write(self, path: str, chunks: Iterable[_Chunk], attributes: Attributes) -> Proof:
        """Write a whole file: a small one by a few requests, others chunk by chunk."""
        check_path(path)
        first, rest = _beginning(iter(chunks))
        if rest is None:
            data = b"".join(first)
            proof = self._write_small(path, data, attributes)
        else:
            proof = self._write_large(path, itertools.chain(first, rest), attributes)
        self._durability.note(self._tree.full(path))
        return proof

    def _write_small(self, path: str, data: bytes, attributes: Attributes) -> Proof:
        temporary = _join(split(path)[0], self._temporaries.new())
        try:
            return self._link.run(
                lambda session: self._write_at_once(session, path, temporary, data, attributes)
            )
        except StoreError:  # a lost connection can't be used to remove what it has left
            with contextlib.suppress(JobtoolError):
                self._remove(temporary)
            raise

    async def _write_at_once(
        self, session: Session, path: str, temporary: str, data: bytes, attributes: Attributes
    ) -> Proof:
        url, full = self._tree.url_of(path), self._tree.full(temporary)
        mode = attributes.mode
        file = await create(session, self._tree, temporary, target_url=url, mode=mode)
        async with removed_on_failure(session, full, file), self._writing(session, path):
            await file.write(data, 0)
            held = await file.read(len(data), 0)
            found = hashlib.md5(held, usedforsecurity=False).hexdigest()
            size = (await file.stat()).size
            if size != len(data):
                found = f"{found} in its first {len(data)} bytes of {size}"
            sent = attributes.md5 or hashlib.md5(data, usedforsecurity=False).hexdigest()
            require_same(url, sent=sent, found=found)
            notes = await self._set_on_file(file, attributes)
            await file.close()
            notes += await self._publish(session, full, path, attributes)
        return Proof(md5=found, verified_by="read-back", notes=notes)

    async def _set_on_file(self, file: RemoteFile, attributes: Attributes) -> tuple[Note, ...]:
        wanted, notes = wanted_of(attributes, self._tree.keep)
        try:
            await file.setstat(wanted)
        except LOST:
            raise
        except asyncssh.SFTPError as error:
            return notes + refused(wanted, error)
        return notes

    def _write_large(self, path: str, chunks: Iterable[_Chunk], attributes: Attributes) -> Proof:
        upload = self.begin(path, attributes)
        digest, offset = hashlib.md5(usedforsecurity=False), 0
        try:
            for chunk in chunks:
                digest.update(chunk)
                self.put_part(upload, offset, chunk)
                offset += len(chunk)
            known = attributes.md5 or digest.hexdigest()
            return self._complete(upload, known, attributes)
        except BaseException:
            with contextlib.suppress(JobtoolError):
                self.abort(upload)
            raise

    def begin(self, path: str, attributes: Attributes) -> Upload:
        """Start a file in parts: an empty temporary file beside the target."""
        folder, _ = split(path)
        temporary = _join(folder, self._temporaries.new())

        async def made(session: Session) -> None:
            url, mode = self._tree.url_of(path), attributes.mode
            file = await create(session, self._tree, temporary, target_url=url, mode=mode)
            await file.close()

        self._link.run(made)
        return Upload(path=path, token=self._tree.url_of(temporary), attributes=attributes)

    def put_part(self, upload: Upload, offset: int, data: _Chunk) -> None:
        """Write one part at its offset in the temporary file."""

        async def put(session: Session) -> None:
            async with self._writing(session, upload.path):
                file = await self._open_upload(session, upload, asyncssh.FXF_WRITE)
                try:
                    await file.write(data, offset)
                except BaseException:
                    with contextlib.suppress(asyncssh.Error, OSError):
                        await file.close()
                    raise
                await file.close()

        self._link.run(put)

    def complete(self, upload: Upload, attributes: Attributes) -> Proof:
        """Prove the temporary file, which was closed after each part, and publish it."""
        try:
            proof = self._complete(upload, attributes.md5 or "", attributes)
        except (DigestMismatchError, ExistsError):  # keep the parts after errors that may pass
            with contextlib.suppress(JobtoolError):
                self.abort(upload)
            raise
        self._durability.note(self._tree.full(upload.path))
        return proof

    def _complete(self, upload: Upload, md5: str, attributes: Attributes) -> Proof:
        found, how = self._md5_of(upload)
        require_same(self._tree.url_of(upload.path), sent=md5, found=found)

        async def published(session: Session) -> tuple[Note, ...]:
            full = self._temporary(upload)
            async with self._writing(session, upload.path):
                notes = await set_on_path(session, full, attributes, self._tree.keep)
                try:
                    return notes + await self._publish(session, full, upload.path, attributes)
                except asyncssh.SFTPError:  # make it readable again, for another try
                    with contextlib.suppress(asyncssh.SFTPError):
                        await session.sftp.setstat(full, asyncssh.SFTPAttrs(permissions=0o600))
                    raise

        return Proof(md5=found, verified_by=how, notes=self._link.run(published))

    def _md5_of(self, upload: Upload) -> tuple[str, VerifiedBy]:
        """Return the MD5 of a temporary file, by the server's ``md5sum`` or by reading it."""

        async def by_command(session: Session) -> str | None:
            await self._require_upload(session, upload)
            shell = await session.shell() if self._by_command else None
            with contextlib.suppress(NoCommandsError):
                return await shell.md5(self._temporary(upload)) if shell is not None else None
            return None

        found = self._link.run(by_command, again=True)
        if found is not None:
            return found, "remote-md5sum"
        temporary = _join(split(upload.path)[0], upload.token.rpartition("/")[2])
        return md5_by_reading(self._link, self._tree, temporary), "read-back"

    def held_parts(self, upload: Upload, parts: Sequence[Part]) -> Sequence[Part]:
        """Return the parts that the temporary file holds, by the MD5s of their ranges.

        Ranges at whole multiples of their size are hashed by the server, if it runs commands.
        """
        found: dict[int, str] = {}

        async def by_command(session: Session) -> None:
            await self._require_upload(session, upload)
            shell = await session.shell() if self._by_command else None
            with contextlib.suppress(NoCommandsError):
                if shell is not None:
                    found.update(await shell.md5s_of_parts(self._temporary(upload), parts))

        async def by_reading(session: Session, part: Part) -> str:
            with reading(upload.token):
                file = await self._open_upload(session, upload, asyncssh.FXF_READ)
                try:
                    data = await file.read(part.size, part.offset)
                finally:
                    await file.close()
            return hashlib.md5(data, usedforsecurity=False).hexdigest()

        self._link.run(by_command, again=True)
        for part in parts:
            if part.number not in found:
                found[part.number] = self._link.run(
                    lambda session, part=part: by_reading(session, part),  # type: ignore[misc]
                    again=True,
                )
        return [part for part in parts if found[part.number] == part.md5]

    def abort(self, upload: Upload) -> None:
        """Remove the temporary file. Do nothing for a token that isn't this owner's."""
        if self._is_temporary_of(upload):
            with contextlib.suppress(LinkInTheWayError):
                self._remove(_join(split(upload.path)[0], upload.token.rpartition("/")[2]))

    def delete(self, path: str) -> None:
        """Remove a file. Do nothing if it doesn't exist."""
        self._remove(check_path(path))

    def note_proven(self, path: str) -> None:
        """Record a proven file of an earlier attempt: it may not have reached its medium yet."""
        self._durability.note(self._tree.full(path))

    def _remove(self, path: str) -> None:
        async def removed(session: Session) -> None:
            async with self._writing(session, path):
                with contextlib.suppress(*MISSING):
                    await self._tree.require_inside(session, split(path)[0])
                    await session.sftp.remove(self._tree.full(path))

        self._link.run(removed, again=True)

    def leftovers(self, path: str) -> Sequence[Upload]:
        """Return the owner's temporary files in the folder of ``path``, for any target."""
        folder, _ = split(path)

        async def found(session: Session) -> list[bytes]:
            with (
                reading(self._tree.url_of(folder)),
                contextlib.suppress(*MISSING, LinkInTheWayError),
            ):
                await self._tree.require_inside(session, folder)
                return await names_in(session, self._tree.full(folder))
            return []

        nothing = Attributes(mtime_ns=0)
        names = [name.decode("ascii", "replace") for name in self._link.run(found, again=True)]
        return [
            Upload(path=path, token=self._tree.url_of(_join(folder, name)), attributes=nothing)
            for name in names
            if self._temporaries.owns(name)
        ]

    def make_special(self, special: Special) -> None:
        """Make an empty folder or a link."""
        make_special(self._link, self._tree, special)

    def set_folder_attributes(self, path: str, attributes: Attributes) -> tuple[Note, ...]:
        """Set the attributes of a folder. Return what it lacks."""
        return set_folder_attributes(self._link, self._tree, path, attributes)

    def check_access(self) -> None:
        """Make and remove a file in the root, or in the next existing folder above it."""

        name = self._temporaries.new()
        self._link.run(lambda session: check_writable(session, self._tree, name))

    # Temporary files.

    async def _require_upload(self, session: Session, upload: Upload) -> None:
        with reading(upload.token):
            file = await self._open_upload(session, upload, asyncssh.FXF_READ)
            await file.close()

    async def _open_upload(self, session: Session, upload: Upload, flags: int) -> RemoteFile:
        """Open an upload's temporary file. Raise ``NotFoundError`` if it isn't this owner's."""
        if not self._is_temporary_of(upload):
            raise _not_ours(upload.token)
        full = self._temporary(upload)
        try:
            await self._tree.require_inside(session, split(upload.path)[0])
            mode = await mode_of(session, full)
            if mode is None or not stat.S_ISREG(mode):
                raise _not_ours(upload.token)
            return await open_remote(session, full, flags)
        except MISSING:
            raise _not_ours(upload.token) from None

    def _is_temporary_of(self, upload: Upload) -> bool:
        # A user may have edited the journal: touch only files that can be this owner's.
        above, _, name = upload.token.rpartition("/")
        folder = split(upload.path)[0]
        return above == self._tree.url_of(folder).rstrip("/") and self._temporaries.owns(name)

    def _temporary(self, upload: Upload) -> bytes:
        return self._tree.full(_join(split(upload.path)[0], upload.token.rpartition("/")[2]))

    async def _publish(
        self, session: Session, temporary: bytes, path: str, attributes: Attributes
    ) -> tuple[Note, ...]:
        target, url = self._tree.full(path), self._tree.url_of(path)
        return await publish(session, temporary, target, url, may_replace=attributes.may_replace)

    def _writing(self, session: Session, path: str) -> contextlib.AbstractAsyncContextManager[None]:
        return writing(session, self._tree.full(path), self._tree.url_of(path))


def _beginning(chunks: Iterator[_Chunk]) -> tuple[list[_Chunk], Iterator[_Chunk] | None]:
    """Return the first chunks of a file, and the rest unless these are a small file's only ones."""
    first, size = [], 0
    for chunk in chunks:
        first.append(chunk)
        size += len(chunk)
        if size > SMALL_BYTES:
            return first, chunks
    return first, None


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _not_ours(token: str) -> NotFoundError:
    return NotFoundError(f"{quote(token)} isn't an unfinished upload of this job")
