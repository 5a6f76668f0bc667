"""Reads and writes blobs, each by one request."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from azure.core import MatchConditions
from azure.storage.blob import BlobProperties, ContentSettings

from jobtool.errors import FileError, NotFoundError, RefusedError, ServerError, SourceChangedError
from jobtool.names import quote
from jobtool.stores.azure.codes import ArchivedError, ExistsError
from jobtool.stores.azure.container import Container
from jobtool.stores.azure.metadata import (
    Found,
    Told,
    attributes_of,
    etag_of,
    found_in,
    found_in_headers,
    md5_in,
    md5_in_base64,
)
from jobtool.stores.azure.names import blob_name
from jobtool.stores.store import Content, Entry, check_path

T = TypeVar("T")

_NEVER = '"0x0"'  # an ETag that no blob has


class Blobs:
    """The blobs of a container below ``prefix``, which is empty or ends in a slash.

    ``root`` is the URL of the prefix, for messages. With ``is_source`` archived blobs are asked
    for, if the settings say so.
    """

    def __init__(
        self, container: Container, prefix: str, root: str, *, is_source: bool = False
    ) -> None:
        self.container = container
        self._prefix = prefix
        self._root = root
        self._rehydration = container.rehydration if is_source else None

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return f"{self._root}/{path}" if path else self._root

    def call(self, path: str, request: Callable[[], T]) -> T:
        """Send a request for ``path``. Raises the errors of stores."""
        return self.container.call(self.url_of(path), request, self._root)

    def name(self, path: str) -> str:
        """Return the name of an existing blob. Azure may hold names that can't be written."""
        try:
            path.encode()
        except UnicodeEncodeError:
            return blob_name(self._prefix, path, self.url_of(path))
        return self._prefix + path

    def new_name(self, path: str) -> str:
        """Return the name of a blob to write. Raises ``FileError``."""
        return blob_name(self._prefix, check_path(path), self.url_of(path))

    def head(self, path: str) -> BlobProperties:
        """Return the properties of a blob. Raises ``NotFoundError``."""
        name = self.name(path)
        found = self.call(path, lambda: self.container.blob(name).get_blob_properties())
        if found.etag is None or found.last_modified is None:
            raise self.no_answer(path, "an ETag")
        return found

    def instead_of(self, error: ArchivedError, path: str) -> FileError:
        """Return the error to raise for an archived blob: once it is asked for, ``NotYetError``."""
        if self._rehydration is None:
            return error
        client = self.container.blob(self.name(path))
        return self._rehydration.answer_to(
            self.url_of(path), self.head(path), client, partial(self.call, path)
        )

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of a blob, whose ETag must be the entry's, if that has one.

        Raises ``SourceChangedError``, and ``NotYetError`` for an archived blob.
        """
        try:
            data, found = self._read(entry, self.name(entry.path), offset, length)
        except ExistsError:  # the condition isn't met, perhaps since nothing is there
            self.head(entry.path)
            raise self._changed(entry, "another version") from None
        except ArchivedError as error:
            raise self.instead_of(error, entry.path) from None
        if found.size != entry.size or found.modified_ns != entry.mtime_ns:
            raise self._changed(entry, f"{found.size} bytes, or with another time")
        if len(data) != length:
            raise ServerError(
                f"{quote(self.url_of(entry.path))}: expected {length} bytes; received {len(data)}"
            )
        return Content(
            data=data, attributes=attributes_of(found), etag=found.etag, version=found.version
        )

    def _read(self, entry: Entry, name: str, offset: int, length: int) -> tuple[bytes, Found]:
        if length == 0:  # there are no empty ranges
            options: dict[str, Any] = {}
            if entry.etag is not None:
                options["etag"] = f'"{entry.etag}"'
                options["match_condition"] = MatchConditions.IfNotModified
            properties = self.call(
                entry.path, lambda: self.container.blob(name).get_blob_properties(**options)
            )
            return b"", found_in(properties)
        direct = self.container.direct
        headers, data = self.call(entry.path, lambda: direct.get(name, offset, length, entry.etag))
        found = found_in_headers(headers)
        if found is None:
            raise self.no_answer(entry.path, "the blob's size, time and ETag")
        return data, found

    def _changed(self, entry: Entry, now: str) -> SourceChangedError:
        return SourceChangedError(
            f"{quote(self.url_of(entry.path))} was changed meanwhile: listed with {entry.size} "
            f"bytes, now {now}"
        )

    def put(
        self, path: str, data: bytes | memoryview, md5: str, told: Told, *, may_replace: bool
    ) -> tuple[str, str | None]:
        """Write a whole blob. Return the ETag and the MD5 of the answer.

        Raises ``DigestMismatchError`` if the service received other bytes, and ``ExistsError`` if
        nothing may be replaced and a blob exists.
        """
        name = self.new_name(path)
        try:
            etag, stored = self.call(
                path, lambda: self._put(name, data, base64_of(md5), told, may_replace)
            )
        except NotFoundError as error:  # a missing container has its own code
            raise RefusedError(f"can't write: {error}. Is the account's URL right?") from None
        if etag is None:
            raise self.no_answer(path, "an ETag")
        return etag, stored

    def _put(
        self, name: str, data: bytes | memoryview, md5: str, told: Told, may_replace: bool
    ) -> tuple[str | None, str | None]:
        if told.plain is not None:
            direct = self.container.direct
            headers = direct.put(name, data, md5, told.plain, may_replace=may_replace)
            return etag_of(headers.get("ETag")), md5_in_base64(headers.get("Content-MD5"))
        answer = self.container.blob(name).upload_blob(
            bytes(data),
            length=len(data),
            overwrite=may_replace,
            metadata=told.metadata,
            content_settings=ContentSettings(**told.headers),
            headers={"Content-MD5": md5},
        )
        return etag_of(answer.get("etag")), md5_in(answer.get("content_md5"))

    def delete(self, path: str) -> None:
        """Remove a blob. Raises ``NotFoundError``."""
        name = self.name(path)
        self.call(path, lambda: self.container.blob(name).delete_blob())

    def delete_same(self, path: str, etag: str) -> None:
        """Remove a blob with this ETag. Raises ``NotFoundError``, ``ExistsError`` for another."""
        name, condition = self.name(path), MatchConditions.IfNotModified
        self.call(
            path,
            lambda: self.container.blob(name).delete_blob(
                etag=f'"{etag}"', match_condition=condition
            ),
        )

    def try_to_write(self, path: str) -> None:
        """Ask for a write whose condition can't be met. Raises the errors of a refused one."""
        name = self.new_name(path)
        try:
            self.call(
                path,
                lambda: self.container.blob(name).upload_blob(
                    b"",
                    length=0,
                    overwrite=True,
                    etag=_NEVER,
                    match_condition=MatchConditions.IfNotModified,
                ),
            )
        except (ExistsError, NotFoundError):
            return
        self.delete(path)  # a service that doesn't know the condition has written it

    def no_answer(self, path: str, what: str) -> ServerError:
        """Return the error for an answer that lacks something."""
        return ServerError(
            f"{quote(self.url_of(path))}: {self.container.account_url} answers without {what}. "
            "Does something other than Azure answer, such as a proxy or a login page?"
        )


def base64_of(md5: str) -> str:
    """Return an MD5 in hex as base64."""
    return base64.b64encode(bytes.fromhex(md5)).decode()
