"""The store of any filesystem of fsspec, named by a URL or given as an object.

A file is written as one stream under a temporary name, and moved where the filesystem can move it
in one step. No filesystem of fsspec is believed for a proof: what was written is read back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import fsspec

from jobtool.errors import FileError, NotFoundError, ServerError, SourceChangedError, SourceError
from jobtool.names import quote
from jobtool.stores.anyfs.filesystem import (
    Filesystem,
    can_rename,
    drop,
    held,
    protocols,
    rename,
)
from jobtool.stores.anyfs.info import mtime_ns, version
from jobtool.stores.local.temporaries import Temporaries
from jobtool.stores.location import unfit_reason
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Special,
    StatResult,
    Unlisted,
    Upload,
    check_path,
    digest_by_reading,
)
from jobtool.stores.subfolders import listed_or_not

Info = Mapping[str, Any]


class FsspecStore:
    """What is below ``root`` of a filesystem of fsspec, as a source or a destination.

    ``fs`` is an ``fsspec.AbstractFileSystem``, and ``root`` a path of it, such as ``/data`` or
    ``bucket/prefix``. ``url`` names the root in messages and receipts; by default it is the
    filesystem's scheme and ``root``. ``owner`` marks unfinished files::

        fs = fsspec.filesystem("github", org="fsspec", repo="filesystem_spec", sha="2024.2.0")
        store = FsspecStore(fs, "docs")

    Threads may share it. A filesystem that isn't asynchronous is called by one at a time, apart
    from those that are known to bear more.
    """

    capabilities = Capabilities()

    def __init__(
        self,
        fs: fsspec.AbstractFileSystem | Filesystem,
        root: str,
        url: str | None = None,
        *,
        owner: str = "",
    ) -> None:
        if isinstance(fs, Filesystem):
            self._fs = fs
        else:
            self._fs = held(fs)
            if url is None:
                url = f"{protocols(fs)[0]}://{root.strip('/')}"
            root = str(fs._strip_protocol(root))
        self.url = (url or root).rstrip("/")
        self._root = root.rstrip("/") + "/" if root else ""
        self._temporaries = Temporaries(owner)

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return f"{self.url}/{path}" if path else self.url

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``."""
        try:
            with self._fs.use(self.url_of(path)) as fs, contextlib.suppress(NotADirectoryError):
                fs.invalidate_cache(self._parent(path))
                return self._found(path, fs.info(self._full(path)))
        except NotFoundError:
            return "missing"
        return "missing"

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside ``path``, sorted by name."""
        for name, info in self._names(path):
            unlisted = self._unlisted(path, name, info)
            is_folder = info.get("type") == "directory"
            yield unlisted or Child(name, is_folder, bool(info.get("islink")))

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield every file below the root, a folder at a time."""
        return self._below("")

    def list_without(self, excludes: Callable[[str], bool]) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, without opening folders that are left out."""
        return self._below("", excludes)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file, and look at the file again."""
        url, full = self.url_of(entry.path), self._full(entry.path)
        data = b""
        with self._fs.use(url) as fs:
            if length:
                data = fs.cat_file(full, start=offset, end=offset + length)
            now = self._found(entry.path, fs.info(full))
        if not isinstance(now, Entry):
            raise NotFoundError(f"expected a file at {quote(url)}; found a folder")
        is_same = entry.etag is None or now.etag is None or entry.etag == now.etag
        if (now.size, now.mtime_ns) != (entry.size, entry.mtime_ns) or not is_same:
            raise SourceChangedError(
                f"{quote(url)} was changed meanwhile: listed with {entry.size} bytes, now "
                f"{now.size} bytes, or with another time"
            )
        if len(data) != length:
            raise ServerError(f"{quote(url)}: expected {length} bytes; received {len(data)}")
        return Content(data=data, attributes=Attributes(mtime_ns=entry.mtime_ns))

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> None:
        """Write a whole file as one stream. It isn't proven here: the caller reads it back.

        A filesystem that can't move a file in one step gets the stream at its own name. If that
        breaks off, the file is removed.
        """
        url, full = self.url_of(path), self._full(check_path(path))
        with self._fs.use(url) as fs:
            self._require_room(fs, url, full, attributes)
            folder = full.rpartition("/")[0]
            if folder:
                with contextlib.suppress(NotImplementedError):
                    fs.makedirs(folder, exist_ok=True)
            is_moved = can_rename(fs)
            name = f"{folder}/{self._temporaries.new()}".lstrip("" if folder else "/")
            place = name if is_moved else full
            file = fs.open(place, "wb")
        try:
            for chunk in chunks:
                with self._fs.use(url):
                    file.write(chunk)
            with self._fs.use(url) as fs:
                file.close()
                if is_moved:
                    rename(fs, place, full)
                fs.invalidate_cache(self._parent(path))
        except BaseException:
            with contextlib.suppress(Exception), self._fs.use(url) as fs:
                if not drop(file) or is_moved:
                    fs.rm_file(place)
            raise

    def digest(self, path: str) -> str:
        """Return a file's MD5, by reading it."""
        return digest_by_reading(self, path)

    def delete(self, path: str) -> None:
        """Remove a file. Do nothing if it doesn't exist."""
        full = self._full(check_path(path))
        with contextlib.suppress(NotFoundError), self._fs.use(self.url_of(path)) as fs:
            with contextlib.suppress(NotADirectoryError, KeyError):  # memory:// raises KeyError
                fs.rm_file(full)
            fs.invalidate_cache(self._parent(path))

    def leftovers(self, path: str, since_ns: int) -> Sequence[Upload]:
        """Return the owner's unfinished files in the folder of ``path``."""
        folder = check_path(path).rpartition("/")[0]
        try:
            found = [name for name, _ in self._names(folder) if self._temporaries.owns(name)]
        except (NotFoundError, SourceError):  # nothing is there, or a file
            return ()
        where = f"{folder}/" if folder else ""
        return [
            Upload(path=path, token=self.url_of(where + name), attributes=Attributes(mtime_ns=0))
            for name in found
        ]

    def abort(self, upload: Upload) -> None:
        """Remove an unfinished file of the owner."""
        name = upload.token.rpartition("/")[2]
        beside = upload.path.rpartition("/")[0]
        path = f"{beside}/{name}" if beside else name
        if self._temporaries.owns(name) and upload.token == self.url_of(path):
            self.delete(path)

    def is_leftover(self, path: str) -> bool:
        """Return True if a file's name marks it as an unfinished one of this owner."""
        return self._temporaries.owns(path.rpartition("/")[2])

    def sync(self) -> None:
        """Do nothing: fsspec can't ask for that."""

    def _full(self, path: str) -> str:
        return self._root + path if path else self._root.rstrip("/") or self._root

    def _parent(self, path: str) -> str:
        return self._full(path.rpartition("/")[0])

    def _require_room(
        self, fs: fsspec.AbstractFileSystem, url: str, full: str, attributes: Attributes
    ) -> None:
        """Raise ``FileError`` if a folder is at the file's place, or a file that must stay."""
        try:
            found = fs.info(full)
        except (FileNotFoundError, NotADirectoryError):
            return
        if found.get("type") == "directory":
            raise FileError(f"{quote(url)}: expected no folder in its place; found one")
        if not attributes.may_replace:
            raise FileError(f"{quote(url)}: expected nothing in its place; found a file")

    def _found(self, path: str, info: Info) -> StatResult:
        kind = info.get("type")
        if kind == "directory":
            return "folder"
        size = info.get("size")
        if kind != "file" or not isinstance(size, int):
            raise SourceError(
                f"expected a file or folder at {quote(self.url_of(path))}; found "
                f"{'a file without a size' if kind == 'file' else repr(kind)}"
            )
        return Entry(path, size, mtime_ns(info), version(info))

    def _names(self, path: str, *, by_path: bool = False) -> Sequence[tuple[str, Info]]:
        """Return the names in a folder, in byte order; ``by_path`` as if folders end in a slash."""
        url, full = self.url_of(path), self._full(path)
        with self._fs.use(url) as fs:
            fs.invalidate_cache(full)
            infos = fs.ls(full, detail=True)
        found: dict[str, Info] = {}
        for info in infos:
            listed = str(info["name"]).rstrip("/")
            if listed.strip("/") == full.strip("/"):
                if info.get("type") == "file" and len(infos) == 1:
                    raise SourceError(f"expected a folder at {quote(url)}; found a file")
                continue  # the marker of the folder itself
            found[listed.rpartition("/")[2]] = info

        def key(item: tuple[str, Info]) -> bytes:
            is_folder = by_path and item[1].get("type") == "directory"
            return (item[0] + "/" * is_folder).encode("utf-8", "surrogateescape")

        return sorted(found.items(), key=key)

    def _below(
        self, path: str, excludes: Callable[[str], bool] | None = None
    ) -> Iterator[Entry | Special | Unlisted]:
        found = self._names(path, by_path=True)
        if not found and path:
            yield Special(path, "empty-folder")
        for name, info in found:
            full = f"{path}/{name}" if path else name
            unlisted = self._unlisted(path, name, info)
            is_folder = info.get("type") == "directory"
            if unlisted is not None:
                yield unlisted
            elif is_folder and excludes is not None and excludes(full):
                yield Special(full, "excluded-folder")
            elif is_folder and info.get("islink"):
                where = quote(self.url_of(full))
                error = SourceError(f"{where}: a link to a folder isn't followed here")
                yield Unlisted(full, error)
            elif is_folder:
                yield from listed_or_not(full, self._below(full, excludes))
            else:
                yield Entry(full, int(info["size"]), mtime_ns(info), version(info))

    def _unlisted(self, path: str, name: str, info: Info) -> Unlisted | None:
        full = f"{path}/{name}" if path else name
        where, is_folder = quote(self.url_of(full)), info.get("type") == "directory"
        reason = unfit_reason(name)
        if reason is not None:
            error = SourceError(f"{where}: expected a name that can be transferred; found {reason}")
        elif is_folder or (info.get("type") == "file" and isinstance(info.get("size"), int)):
            return None
        else:
            error = SourceError(f"{where}: expected a file with a size, or a folder; found neither")
        return Unlisted(full, error, is_folder=is_folder)
