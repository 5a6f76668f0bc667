"""Reads and writes the objects of a bucket, each by one request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from jobtool.errors import NotFoundError, ServerError, SourceChangedError
from jobtool.md5 import md5_of
from jobtool.names import quote
from jobtool.stores.gcs.codes import ConditionError
from jobtool.stores.gcs.errors import CLIENT_ERRORS, Where, translate
from jobtool.stores.gcs.metadata import (
    FIELDS,
    Found,
    Told,
    attributes_of,
    base64_of,
    found_in,
    found_in_headers,
    generation_of,
    has_only_ours,
)
from jobtool.stores.gcs.names import object_name, object_place, plain_place
from jobtool.stores.gcs.service import Bytes, Service
from jobtool.stores.store import Content, Entry, check_path

T = TypeVar("T")

#: The most objects that one request composes. Source: Google, "Composite objects".
MOST_COMPOSED = 32

_NEVER = "1"  # a generation that no object has


class Source(msgspec.Struct, frozen=True):
    """An object that is composed with others: its name, and the generation that is meant."""

    name: str
    generation: str


class UnderWay(msgspec.Struct, frozen=True):
    """A rewrite that isn't done: the token to go on with, and the bytes copied so far."""

    token: str
    copied_bytes: int


class Objects:
    """The objects of a bucket below ``prefix``, which is empty or ends in a slash.

    ``root`` is the URL of the prefix, for messages.
    """

    def __init__(self, service: Service, bucket: str, prefix: str, root: str) -> None:
        self.service = service
        self.bucket = bucket
        self.prefix = prefix
        self._root = root

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``."""
        return f"{self._root}/{path}" if path else self._root

    def name(self, path: str) -> str:
        """Return the name of an object. Raises ``FileError`` for one that can't be there."""
        return object_name(self.prefix, path, self.url_of(path))

    def new_name(self, path: str) -> str:
        """Return the name of an object to write. Raises ``FileError``."""
        return self.name(check_path(path))

    def call(self, path: str, request: Callable[[], T], *, is_object: bool = True) -> T:
        """Send a request for ``path``. Raises the errors of stores.

        Nothing found means that there is no bucket, unless the request ``is_object``.
        """
        try:
            return request()
        except CLIENT_ERRORS as error:
            where = Where(bucket=self.bucket, service_url=self.service.url, is_object=is_object)
            raise translate(error, self.url_of(path), where) from None

    def head(self, path: str) -> Found:
        """Return what the service says of an object. Raises ``NotFoundError``."""
        place = object_place(self.bucket, self.name(path))
        return self.call(path, lambda: found_in(self.service.ask("GET", place, {"fields": FIELDS})))

    def read(self, entry: Entry, offset: int, length: int) -> Content:
        """Return bytes of an object, which must be as it was listed."""
        if length == 0:  # there are no empty ranges
            return Content(data=b"", attributes=attributes_of(self.listed(entry), entry))
        data, found = self._read(entry, offset, length)
        if len(data) != length:
            raise ServerError(
                f"{quote(self.url_of(entry.path))}: expected {length} bytes; received {len(data)}"
            )
        if not has_only_ours(found):
            found = self.listed(entry)
        return Content(data=data, attributes=attributes_of(found, entry))

    def _read(self, entry: Entry, offset: int, length: int) -> tuple[bytes, Found]:
        """Read a range of the generation that was listed. Another one is a changed file."""
        place = plain_place(self.bucket, self.name(entry.path))

        def request(generation: str) -> tuple[bytes, Found]:
            headers, data = self.service.read(place, generation, offset, length)
            found = found_in_headers(headers)
            if (found.generation, found.size) != (generation, entry.size):
                raise self._changed(entry, f"{found.size} bytes in another version")
            return data, found

        generation = generation_of(entry)
        try:
            return self.call(entry.path, lambda: request(generation))
        except (NotFoundError, ConditionError, SourceChangedError, ServerError) as error:
            # The JSON API says better than a failed read whether it is gone or another version.
            now = self.listed(entry).generation
            if now == generation:
                raise error from None
        return self.call(entry.path, lambda: request(now))

    def listed(self, entry: Entry) -> Found:
        """Return what the service says of an object, which must be as it was listed.

        Raises ``SourceChangedError`` and ``NotFoundError``.
        """
        found = self.head(entry.path)
        now = found.entry(entry.path)
        if entry.etag not in (None, now.etag):
            raise self._changed(entry, f"{now.size} bytes in another version")
        if (now.size, now.mtime_ns) != (entry.size, entry.mtime_ns):
            raise self._changed(entry, f"{now.size} bytes, or with another time")
        return found

    def _changed(self, entry: Entry, now: str) -> SourceChangedError:
        return SourceChangedError(
            f"{quote(self.url_of(entry.path))} was changed meanwhile: listed with {entry.size} "
            f"bytes, now {now}"
        )

    def put(
        self, path: str, name: str, data: Bytes, md5: str, told: Told, *, may_replace: bool
    ) -> Found:
        """Write a whole object. Return what the service says of it.

        Raises ``DigestMismatchError`` if the service received other bytes, and ``ConditionError``
        if nothing may be replaced and an object exists.
        """
        resource = {**self._new(told), "name": name, "md5Hash": base64_of(md5)}
        query = {"fields": FIELDS} if may_replace else {"fields": FIELDS, "ifGenerationMatch": "0"}
        return self.call(
            path,
            lambda: found_in(self.service.upload(self.bucket, query, resource, data)),
            is_object=False,
        )

    def compose(
        self, path: str, name: str, sources: Sequence[Source], told: Told, *, may_replace: bool
    ) -> Found:
        """Make an object of at most 32 others. Return what the service says of it.

        Raises ``NotFoundError`` if one of them is gone, and ``ConditionError`` as ``put``.
        """
        body = {
            "destination": self._new(told),
            "sourceObjects": [
                {"name": source.name, "generation": source.generation} for source in sources
            ],
        }
        query = {"fields": FIELDS} if may_replace else {"fields": FIELDS, "ifGenerationMatch": "0"}
        place = f"{object_place(self.bucket, name)}/compose"
        return self.call(path, lambda: found_in(self.service.ask("POST", place, query, body)))

    def rewrite(
        self,
        path: str,
        source: str,
        generation: str,
        told: Told,
        under_way: UnderWay | None,
        *,
        may_replace: bool,
    ) -> Found | UnderWay:
        """Copy an object inside the service, or go on with a copy that is under way.

        ``source`` is its place in the JSON API. The service copies as much as it can in a while. It
        refuses another generation than this by ``ConditionError``, and raises it as ``put`` does.
        Raises ``NotFoundError`` if the source is gone.
        """
        query = {
            "fields": f"done,rewriteToken,totalBytesRewritten,resource({FIELDS})",
            "ifSourceGenerationMatch": generation,
            **({} if may_replace else {"ifGenerationMatch": "0"}),
            **({} if under_way is None else {"rewriteToken": under_way.token}),
        }
        target = object_place(self.bucket, self.new_name(path)).removeprefix("/storage/v1")
        place = f"{source}/rewriteTo{target}"

        def request() -> Found | UnderWay:
            answer = self.service.ask("POST", place, query, self._new(told))
            if answer.get("done"):
                return found_in(answer.get("resource") or {})
            if not answer.get("rewriteToken"):
                raise ValueError("the answer to a rewrite has neither an object nor a token")
            return UnderWay(str(answer["rewriteToken"]), int(answer.get("totalBytesRewritten", 0)))

        return self.call(path, request)

    def _new(self, told: Told) -> Mapping[str, Any]:
        kind = self.service.storage_class
        return told.resource if kind is None else {**told.resource, "storageClass": kind}

    def delete(self, path: str, name: str, generation: str | None = None) -> None:
        """Remove an object or, if given, this generation of it. Raises ``NotFoundError``."""
        query = {} if generation is None else {"generation": generation}
        self.call(path, lambda: self.service.ask("DELETE", object_place(self.bucket, name), query))

    def delete_same(self, path: str, name: str, generation: str) -> None:
        """Remove an object that has this generation. Raises ``NotFoundError``.

        A versioned bucket keeps it as a noncurrent version. Raises ``ConditionError`` for another
        generation.
        """
        place, query = object_place(self.bucket, name), {"ifGenerationMatch": generation}
        self.call(path, lambda: self.service.ask("DELETE", place, query))

    def try_to_write(self, path: str) -> None:
        """Ask for a write whose condition can't be met. Raises the errors of a refused one."""
        name = self.new_name(path)
        resource = {"name": name, "md5Hash": base64_of(md5_of(b""))}
        query = {"fields": FIELDS, "ifGenerationMatch": _NEVER}
        try:
            self.call(
                path,
                lambda: found_in(self.service.upload(self.bucket, query, resource, b"")),
                is_object=False,
            )
        except ConditionError:
            return
        self.delete(path, name)  # a service that doesn't know the condition has written it
