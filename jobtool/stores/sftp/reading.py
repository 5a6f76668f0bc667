"""What the store reads of files: entries, bytes, digests."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import stat as modes
from collections.abc import Iterator

import asyncssh

from jobtool.errors import NotFoundError, SourceChangedError, SourceError, StoreError
from jobtool.names import quote
from jobtool.stores.beneath import LinkInTheWayError
from jobtool.stores.sftp.attributes import attributes_of, entry_of, set_on_path
from jobtool.stores.sftp.connection import Link, Session
from jobtool.stores.sftp.errors import LOST, NoCommandsError, not_a_file, read_error
from jobtool.stores.sftp.files import RemoteFile, open_remote
from jobtool.stores.sftp.tree import MISSING, Remote, Tree, kind_shown, real_path, split
from jobtool.stores.store import Attributes, Content, Entry, Note, Proof, StatResult, VerifiedBy

#: How many bytes are read at a time to hash a file.
READ_BYTES = 4 * 1024 * 1024


@contextlib.contextmanager
def reading(url: str) -> Iterator[None]:
    """Turn a status of the server into jobtool's error. A lost connection is left as it is."""
    try:
        yield
    except LOST:
        raise
    except asyncssh.SFTPError as error:
        raise read_error(error, url) from None


async def stat(session: Session, tree: Tree, path: str) -> StatResult:
    """Return what is at ``path``; see ``Store``. Links are followed by the policy."""
    with reading(tree.url_of(path)):
        try:
            found = await _look(session, tree, path)
        except MISSING:
            return "missing"
    mode = found.permissions or 0
    if modes.S_ISDIR(mode):
        return "folder"
    if not modes.S_ISREG(mode):
        raise not_a_file(tree.url_of(path), kind_shown(mode))
    return entry_of(path, found)


async def _look(session: Session, tree: Tree, path: str) -> Remote:
    full = tree.full(path)
    if not path:
        return await session.sftp.stat(full)
    await _require_inside(session, tree, split(path)[0])
    found = await session.sftp.lstat(full)
    if not modes.S_ISLNK(found.permissions or 0):
        return found
    try:
        followed = await session.sftp.stat(full)
    except MISSING:
        raise NotFoundError(f"{quote(tree.url_of(path))} is a link to nothing") from None
    if modes.S_ISDIR(followed.permissions or 0):
        return followed
    if tree.links != "follow":
        return found
    tree.require_real_inside(path, await real_path(session, full), await tree.real_root(session))
    return followed


async def _require_inside(session: Session, tree: Tree, folder: str) -> None:
    try:
        await tree.require_inside(session, folder)
    except LinkInTheWayError as error:
        raise SourceError(str(error)) from None


async def read(session: Session, tree: Tree, entry: Entry, offset: int, length: int) -> Content:
    """Return bytes of a file if it hasn't changed since it was listed."""
    url = tree.url_of(entry.path)
    with reading(url):
        file = await open_file(session, tree, entry.path)
        try:
            data = await file.read(length, offset)
            found = await file.stat()  # after the bytes: it tells a change until then
        finally:
            file.close_later()
    now = entry_of(entry.path, found)
    if (now.size, now.mtime_ns) != (entry.size, entry.mtime_ns):
        raise SourceChangedError(
            f"{quote(url)} was changed while it was read: listed with {entry.size} bytes, now "
            f"{now.size} bytes, or with another time"
        )
    if len(data) != length:
        raise StoreError(f"{quote(url)}: expected {length} bytes; read {len(data)}")
    return Content(data=data, attributes=attributes_of(found, tree.keep))


async def open_file(session: Session, tree: Tree, path: str) -> RemoteFile:
    """Open a regular file for reading. Raises ``SourceError`` for anything else.

    The requests to look at it and to open it are sent together: one delay for both.
    """
    full, (folder, _) = tree.full(path), split(path)
    await _require_inside(session, tree, folder)
    looking = asyncio.ensure_future(session.sftp.lstat(full))
    opening = asyncio.ensure_future(open_remote(session, full))
    found, file = await asyncio.gather(looking, opening, return_exceptions=True)
    try:
        if isinstance(found, BaseException):
            raise found
        mode = found.permissions or 0
        if modes.S_ISLNK(mode) and tree.links == "follow":
            real = await real_path(session, full)
            tree.require_real_inside(path, real, await tree.real_root(session))
            mode = (await session.sftp.stat(full)).permissions or 0
        if not modes.S_ISREG(mode):
            raise not_a_file(tree.url_of(path), kind_shown(mode))
        if isinstance(file, BaseException):
            raise file
    except BaseException:
        if not isinstance(file, BaseException):
            file.close_later()
        raise
    return file


async def folder_attributes(session: Session, tree: Tree, path: str) -> Attributes:
    """Return the attributes of a folder."""
    url = tree.url_of(path)
    with reading(url):
        await _require_inside(session, tree, path)
        found = await session.sftp.stat(tree.full(path))
    if not modes.S_ISDIR(found.permissions or 0):
        raise SourceError(f"expected a folder at {quote(url)}; found a file")
    return attributes_of(found, tree.keep)


def digest(link: Link, tree: Tree, path: str, *, by_command: bool) -> tuple[str, VerifiedBy]:
    """Return the MD5 of a file, and how it was found: by the server's ``md5sum``, or by reading."""
    if by_command:
        found = link.run(lambda session: _md5_by_command(session, tree, path), again=True)
        if found is not None:
            return found, "remote-md5sum"
    return md5_by_reading(link, tree, path), "read-back"


async def _md5_by_command(session: Session, tree: Tree, path: str) -> str | None:
    shell = await session.shell()
    if shell is None:
        return None
    found = await stat(session, tree, path)
    if not isinstance(found, Entry):
        return None  # the caller says what is wrong
    with contextlib.suppress(NoCommandsError):
        return await shell.md5(tree.full(path))
    return None


def md5_by_reading(link: Link, tree: Tree, path: str) -> str:
    """Return the MD5 of a regular file in hex. The next bytes come while some are hashed.

    Raises ``NotFoundError``, ``SourceError``, and ``StoreError`` if the connection is lost
    meanwhile, or if the file's size changes.
    """
    url = tree.url_of(path)

    async def begun(session: Session) -> tuple[RemoteFile, int, bytes]:
        with reading(url):
            file = await open_file(session, tree, path)
            try:
                size = (await file.stat()).size or 0
                data = await file.read(min(size, READ_BYTES), 0)
            except BaseException:
                file.close_later()
                raise
            if size <= READ_BYTES:
                file.close_later()
            return file, size, data

    file, size, data = link.run(begun, again=True)

    async def piece(offset: int) -> bytes:
        with reading(url):
            return await file.read(min(READ_BYTES, size - offset), offset)

    async def closed(session: Session) -> None:
        file.close_later()

    digest, offset = hashlib.md5(usedforsecurity=False), 0
    try:
        while data:
            offset += len(data)
            if offset >= size:
                digest.update(data)
                break
            coming = link.start(lambda session, offset=offset: piece(offset))  # type: ignore[misc]
            digest.update(data)
            data = coming.result()
    finally:
        if size > READ_BYTES:
            link.start(closed)
    if offset != size:
        raise StoreError(f"{quote(url)}: expected {size} bytes; read {offset}")
    return digest.hexdigest()


def prove(
    link: Link, tree: Tree, path: str, md5: str, attributes: Attributes | None, *, by_command: bool
) -> Proof | None:
    """Prove that a file has this MD5. If it has, set its ``attributes``."""
    try:
        found, how = digest(link, tree, path, by_command=by_command)
    except NotFoundError:
        return None
    if found != md5:
        return None
    notes: tuple[Note, ...] = ()
    if attributes is not None:
        wanted = attributes
        notes = link.run(
            lambda session: set_on_path(session, tree.full(path), wanted, tree.keep), again=True
        )
    return Proof(md5=md5, verified_by=how, notes=notes)


async def names_in(session: Session, full: bytes) -> list[bytes]:
    """Return the names in a folder, in no order."""
    return [
        name
        async for found in session.sftp.scandir(full)
        if isinstance(name := found.filename, bytes) and name not in (b".", b"..")
    ]
