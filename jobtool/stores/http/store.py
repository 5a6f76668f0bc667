"""The store of web servers: files by HEAD and ranged GET, folders by the server's own index.

A server can't be told to keep a file as it is. So each answer is compared with the file as it was
listed, by size, time and ETag: a change is noticed in the middle of a file, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import httpx

from jobtool.errors import (
    NotFoundError,
    ServerError,
    SourceChangedError,
    SourceError,
)
from jobtool.names import quote
from jobtool.stores.http.answers import Told, told_by
from jobtool.stores.http.errors import of_status
from jobtool.stores.http.listing import Listing
from jobtool.stores.http.requests import Connection, is_folder_of
from jobtool.stores.sourceonly import SourceOnly
from jobtool.stores.store import (
    Attributes,
    Capabilities,
    Child,
    Content,
    Entry,
    Special,
    StatResult,
    Unlisted,
    digest_by_reading,
)
from jobtool.stores.webaddress import encoded

#: A server without ranges sends a file from its beginning. More than this isn't skipped for a part.
MOST_SKIPPED_BYTES = 64 * 1024 * 1024

#: Answers to HEAD that say nothing about GET (405, 501), or that some servers give to HEAD alone.
_HEAD_REFUSED = frozenset({400, 403, 405, 501})

_MOST_PINNED = 256


class HttpStore(SourceOnly):
    """What is below an address of a web server. ``root`` is ``SCHEME://HOST``."""

    capabilities = Capabilities()

    def __init__(self, connection: Connection, root: str, path: str = "") -> None:
        self.url = f"{root}/{path}" if path else root
        self._connection = connection
        self._base = f"{root}/{encoded(path)}".rstrip("/")
        self._listing = Listing(self)
        self._lock = threading.Lock()
        self._etags: dict[tuple[str, int, int], str] = {}  # of files that are read in parts

    def request_url(self, path: str, *, folder: bool = False) -> str:
        """Return the encoded address of a path."""
        address = f"{self._base}/{encoded(path)}" if path else self._base
        return f"{address}/" if folder else address

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        """Return what is at ``path``, by HEAD. A redirect to ``path/`` is a folder."""
        if not path:
            return "folder" if self._answers_as_folder("") else "missing"
        try:
            return self._entry(path)
        except NotFoundError:
            is_folder = not file_only and self._answers_as_folder(path)
            return "folder" if is_folder else "missing"

    def children(self, path: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside ``path``, as the server's index says."""
        return self._listing.children(path)

    def list(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield every file below the root, as the indexes of its folders say."""
        return self._listing.below("")

    def list_without(self, excludes: Callable[[str], bool]) -> Iterator[Entry | Special | Unlisted]:
        """Yield everything below the root, without opening folders that are left out."""
        return self._listing.below("", excludes)

    def entry_by_head(self, path: str) -> Entry:
        """Return a file's entry. Raises ``NotFoundError``, or ``SourceError`` for a folder."""
        found = self._entry(path)
        if isinstance(found, Entry):
            return found
        raise SourceError(f"expected a file at {quote(self.url_of(path))}; found a folder")

    def get_index(self, path: str, most: int) -> tuple[bytes, str, str]:
        """Return the body of a folder's page, its content type and its address.

        Raises ``SourceError`` if it has more than ``most`` bytes, and the errors of answers.
        """
        url = self.url_of(path)
        headers = {"Accept": "application/json, text/html;q=0.9"}
        address = self.request_url(path, folder=True)
        with self._connection.open("GET", address, headers) as answer:
            if answer.status_code != 200:
                raise of_status(answer.status_code, url)
            body = bytearray()
            for chunk in answer.iter_bytes():  # decoded: this isn't a file
                body += chunk
                if len(body) > most:
                    raise SourceError(f"{quote(url)}: expected an index; found over {most} bytes")
            return bytes(body), answer.headers.get("Content-Type", ""), str(answer.url)

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a file, by one GET; by HEAD for none.

        Raises ``SourceChangedError`` if size, time or ETag aren't as listed, or as at the first
        read.
        """
        url, address = self.url_of(entry.path), self.request_url(entry.path)
        is_whole = length == entry.size
        method, headers = "GET", {}
        if not length:
            method = "HEAD"
        elif not is_whole:
            headers["Range"] = f"bytes={offset}-{offset + length - 1}"
        with self._connection.open(method, address, headers) as answer:
            if answer.status_code == 405 and method == "HEAD":
                return Content(data=b"", attributes=self._attributes_now(entry))
            told = self._told(answer, url, also=(416,))
            self._require_unchanged(entry, told, is_whole=is_whole)
            if answer.status_code == 416:
                raise ServerError(f"{quote(url)}: the server refuses a range within the file")
            data = self._body(answer, told, entry, offset, length) if length else b""
        attributes = Attributes(mtime_ns=entry.mtime_ns, md5=told.md5, headers=told.headers)
        return Content(data=memoryview(data), attributes=attributes)

    def digest(self, path: str) -> str:
        """Return a file's MD5, by reading it."""
        return digest_by_reading(self, path)

    def _entry(self, path: str) -> StatResult:
        """Ask for a file by HEAD or, if the server doesn't answer that, for its first byte."""
        url, address = self.url_of(path), self.request_url(path)
        with self._connection.open("HEAD", address, {}) as answer:
            if _is_to_folder(answer, address):
                return "folder"
            if answer.status_code not in _HEAD_REFUSED:
                told = self._told(answer, url)
                if told.size is not None:
                    return Entry(path, told.size, told.mtime_ns, told.etag)
        with self._connection.open("GET", address, {"Range": "bytes=0-0"}) as answer:
            if _is_to_folder(answer, address):
                return "folder"
            told = self._told(answer, url, also=(416,))  # an empty file has no first byte
        if told.size is None:
            raise SourceError(
                f"{quote(url)}: expected a file with a size; the server doesn't tell it "
                "(Content-Length). Such a file may end anywhere, so it can't be proven."
            )
        return Entry(path, told.size, told.mtime_ns, told.etag)

    def _attributes_now(self, entry: Entry) -> Attributes:
        found = self.entry_by_head(entry.path)
        if (found.size, found.mtime_ns) != (entry.size, entry.mtime_ns):
            raise self._changed(entry, found.size)
        return Attributes(mtime_ns=found.mtime_ns)

    def _answers_as_folder(self, path: str) -> bool:
        address = self.request_url(path, folder=True)
        for method in ("HEAD", "GET"):
            with self._connection.open(method, address, {}) as answer:
                status = answer.status_code
            if status in (200, 403):  # 403: it is there, and isn't listed
                return True
            if status in (404, 410):
                return False
            if status not in _HEAD_REFUSED:
                break
        raise of_status(status, self.url_of(path))

    def _told(self, answer: httpx.Response, url: str, also: tuple[int, ...] = ()) -> Told:
        if answer.status_code not in (200, 206, *also):
            raise of_status(answer.status_code, url)
        return told_by(answer)

    def _require_unchanged(self, entry: Entry, told: Told, *, is_whole: bool) -> None:
        if (told.size, told.mtime_ns) != (entry.size, entry.mtime_ns):
            raise self._changed(entry, told.size)
        if told.etag is None:
            return
        if entry.etag is not None and entry.etag != told.etag:
            raise self._changed(entry, told.size)
        if is_whole:
            return
        key = (entry.path, entry.size, entry.mtime_ns)
        with self._lock:
            first = self._etags.setdefault(key, told.etag)
            if first != told.etag:
                del self._etags[key]
            while len(self._etags) > _MOST_PINNED:
                del self._etags[next(iter(self._etags))]
        if first != told.etag:
            raise self._changed(entry, told.size)

    def _changed(self, entry: Entry, size: int | None) -> SourceChangedError:
        return SourceChangedError(
            f"{quote(self.url_of(entry.path))} was changed meanwhile: listed with {entry.size} "
            f"bytes, now {'an unknown number of' if size is None else size} bytes, or with another "
            "time or ETag"
        )

    def _body(
        self, answer: httpx.Response, told: Told, entry: Entry, offset: int, length: int
    ) -> bytearray:
        """Return the wanted bytes of an answer that holds them or, without ranges, all."""
        skipped = offset - told.start
        where = quote(self.url_of(entry.path))
        if answer.status_code == 200 and length < entry.size:
            self.capabilities = Capabilities(reads_ranges=False)
        if answer.status_code == 200 and entry.size - length > MOST_SKIPPED_BYTES and length > 1:
            raise SourceError(
                f"{where}: the server sends no ranges, so a part of this file would cost most of "
                f"its {entry.size} bytes. Set [transfer] part_size_bytes in joblist.toml to more "
                "than that, and the file is read at once, in memory."
            )
        if skipped < 0 or (answer.status_code == 206 and skipped):
            raise ServerError(f"{where}: expected bytes from {offset}; found from {told.start}")
        data = bytearray()
        for chunk in answer.iter_raw():  # as stored: a content encoding is part of the file
            start = min(skipped, len(chunk))
            skipped -= start
            data += memoryview(chunk)[start : start + length - len(data)]
            if len(data) == length and offset + length < entry.size and answer.status_code == 200:
                break  # which drops the connection; an answer read to its end keeps it
        if len(data) != length:
            raise ServerError(f"{where}: expected {length} bytes; received {len(data)}")
        return data


def _is_to_folder(answer: httpx.Response, address: str) -> bool:
    target = answer.headers.get("Location")
    if not 300 <= answer.status_code < 400 or target is None:
        return False
    return is_folder_of(str(httpx.URL(address).join(target)), address)
