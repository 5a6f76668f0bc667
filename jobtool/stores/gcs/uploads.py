"""Files in parts: each part is an object in a folder beside the target, all are composed into it.

The folder has a temporary name, which says whose it is. A part's ETag is its generation and its
CRC-32C, as computed from the bytes that were sent. Resumable sessions aren't used: one takes bytes
from their beginning to their end only, and its address lets anybody write.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import google_crc32c

from jobtool.errors import DigestMismatchError, FileError, NotFoundError
from jobtool.names import quote
from jobtool.stores.gcs.crc32c import combined
from jobtool.stores.gcs.listing import Listing
from jobtool.stores.gcs.metadata import FIELDS, Found, Told, found_in
from jobtool.stores.gcs.objects import MOST_COMPOSED, Objects, Source
from jobtool.stores.gcs.service import Bytes
from jobtool.stores.local.temporaries import TEMPORARY_PREFIX, Temporaries
from jobtool.stores.store import Part

#: Parts of a file. The service has no limit, but removes them one by one.
MAX_PARTS = 10_000

_NOTHING_TOLD = Told(resource={}, notes=())
_REMOVERS = 8


class Uploads:
    """The uploads in parts of an owner. A token is the folder's name below the root."""

    def __init__(self, objects: Objects, listing: Listing, owner: str) -> None:
        self._objects = objects
        self._listing = listing
        self._temporaries = Temporaries(owner)

    def begin(self, path: str) -> str:
        """Return the token of a new upload of ``path``. The service hears of it with a part."""
        self._objects.new_name(path)
        token = _folder_of(path) + self._temporaries.new()
        self._objects.name(f"{token}/1-{MAX_PARTS:05}")  # the longest name that is needed
        return token

    def owns(self, path: str) -> bool:
        """Return True if a path is that of a part of this owner's."""
        return any(map(self._temporaries.owns, path.split("/")[:-1]))

    def _own(self, path: str, token: str) -> str:
        """Return how the names of an upload's parts begin. Raise ``NotFoundError`` for others."""
        # A user may have edited the journal: touch only what can be this owner's.
        folder, slash, name = token.rpartition("/")
        if folder + slash != _folder_of(path) or not self._temporaries.owns(name):
            raise NotFoundError(f"{quote(token)} isn't an unfinished upload of this job")
        return f"{self._objects.name(token)}/"

    def _part(self, path: str, token: str, number: int) -> str:
        return self._objects.name(f"{token}/{number:05}")

    def send(self, path: str, token: str, number: int, data: Bytes, md5: str) -> str:
        """Write a part. Return its ETag. Raises ``DigestMismatchError``."""
        self._own(path, token)
        name = self._part(path, token, number)
        found = self._objects.put(path, name, data, md5, _NOTHING_TOLD, may_replace=True)
        if found.md5 not in (None, md5):
            with contextlib.suppress(NotFoundError):
                self._objects.delete(path, name, found.generation)
            raise DigestMismatchError(
                f"{quote(self._objects.url_of(path))}: expected MD5 {md5}, as sent; the service "
                f"holds {found.md5}"
            )
        return f"{found.generation}.{google_crc32c.value(bytes(data)):08x}"

    def held(self, path: str, token: str, parts: Sequence[Part]) -> list[Part]:
        """Return those of ``parts`` that are there as they were sent. Raises ``NotFoundError``."""
        there = self._there(path, token)
        if not there:
            where = quote(self._objects.url_of(path))
            raise NotFoundError(f"expected parts of the upload {token} of {where}; found none")
        return [
            part for part in parts if _is_of(part, there.get(self._part(path, token, part.number)))
        ]

    def _there(self, path: str, token: str) -> dict[str, Found]:
        """Return the objects of an upload by name."""
        pages = self._listing.pages(path, self._own(path, token), fields=FIELDS)
        return {item["name"]: found_in(item) for page in pages for item in page.get("items") or ()}

    def compose(
        self, path: str, token: str, parts: Sequence[Part], told: Told, *, may_replace: bool
    ) -> Found:
        """Make the object of its parts, in several steps if they are more than 32.

        Raises ``NotFoundError`` if a part is gone, and ``ConditionError``.
        """
        target, place = self._objects.new_name(path), self._own(path, token)
        sources = [
            Source(self._part(path, token, part.number), _generation_of(part)) for part in parts
        ]
        level = 0
        while len(sources) > MOST_COMPOSED:
            level += 1
            joined = []
            for start in range(0, len(sources), MOST_COMPOSED):
                name = f"{place}{level}-{start:05}"
                some = sources[start : start + MOST_COMPOSED]
                found = self._objects.compose(path, name, some, _NOTHING_TOLD, may_replace=True)
                joined.append(Source(name, found.generation))
            sources = joined
        return self._objects.compose(path, target, sources, told, may_replace=may_replace)

    def drop(self, path: str, token: str) -> None:
        """Remove the objects of an upload. Do nothing if it isn't this owner's."""
        try:
            there = self._there(path, token)
        except NotFoundError:
            return

        def remove(name: str) -> None:
            with contextlib.suppress(NotFoundError):  # by generation: no version of it is kept
                self._objects.delete(path, name, there[name].generation)

        with ThreadPoolExecutor(_REMOVERS) as pool:
            list(pool.map(remove, there))

    def tokens(self, path: str) -> list[str]:
        """Return the tokens of this owner's uploads in the folder of ``path``."""
        folder = _folder_of(path)
        try:
            begin = self._objects.name(folder + TEMPORARY_PREFIX)
        except FileError:  # nothing can be there
            return []
        found = [name.rstrip("/") for name in self._listing.folders(path, begin)]
        start = len(self._objects.prefix)
        return [name[start:] for name in found if self._temporaries.owns(name.rpartition("/")[2])]


def crc_of(parts: Sequence[Part]) -> int:
    """Return the CRC-32C of the whole, from what was computed of the parts when they were sent."""
    return combined((int(str(part.etag).partition(".")[2], 16), part.size) for part in parts)


def _generation_of(part: Part) -> str:
    return str(part.etag).partition(".")[0]


def _folder_of(path: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return folder + slash


def _is_of(part: Part, found: Found | None) -> bool:
    if not re.fullmatch(r"[0-9]+\.[0-9a-f]{8}", str(part.etag)):
        return False  # a user may have edited the journal
    return found is not None and (_generation_of(part), part.size, part.md5) == (
        found.generation,
        found.size,
        found.md5,
    )
