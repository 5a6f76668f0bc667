"""Listings of a bucket, or of a prefix of one: pages, folders, and keys that are no paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobtool.errors import NotFoundError, SourceError
from jobtool.names import quote
from jobtool.stores.s3.metadata import etag_of, in_whole_seconds
from jobtool.stores.s3.requests import Requests
from jobtool.stores.store import Child, Entry, Special, Unlisted

# What tells a page of a listing, even an empty one, from another XML document or none.
_OF_A_PAGE = ("IsTruncated", "KeyCount", "MaxKeys", "Name", "Contents", "CommonPrefixes")


class Listing:
    """Lists the keys below ``prefix``, which is empty or ends in a slash."""

    def __init__(self, client: Any, bucket: str, prefix: str, requests: Requests) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._requests = requests

    def pages(self, path: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing; ``path`` is what errors call it.

        Raises ``ServerError`` for an answer that is no page: taken as one, it would say that
        nothing is there.
        """
        for page in self._requests.pages(
            path,
            lambda **more: self._client.list_objects_v2(Bucket=self._bucket, **arguments, **more),
            {"ContinuationToken": "NextContinuationToken"},
        ):
            self._requests.require(path, page, *_OF_A_PAGE)
            yield page

    def is_any(self, path: str, inside: str) -> bool:
        """Tell whether there is any key that begins with ``inside``."""
        return any(page.get("Contents") for page in self.pages(path, Prefix=inside, MaxKeys=1))

    def try_it(self) -> None:
        """List one key. Raises the errors of stores."""
        next(self.pages("", Prefix=self._prefix, MaxKeys=1))

    def children(self, path: str, inside: str) -> Iterator[Child]:
        """Yield what is directly inside a folder, whose keys begin with ``inside``."""
        found: set[tuple[str, bool]] = set()
        for page in self.pages(path, Prefix=inside, Delimiter="/"):
            for item in page.get("CommonPrefixes", ()):
                found.add((item["Prefix"][len(inside) : -1], True))
            for item in page.get("Contents", ()):
                found.add((item["Key"][len(inside) :], False))
        found.discard(("", False))  # a marker that makes an empty folder visible
        if not found:
            where = quote(self._requests.url_of(path))
            raise NotFoundError(f"expected a folder at {where}; found nothing")
        yield from (Child(name, is_folder) for name, is_folder in sorted(found))

    def entries(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield every object, a thousand to a request."""
        for page in self.pages("", Prefix=self._prefix):
            for item in page.get("Contents", ()):
                path = item["Key"][len(self._prefix) :]
                unlisted = self._unlisted(path, item)
                if unlisted is not None:
                    yield unlisted
                elif path.endswith("/") or not path:  # the marker of a folder, mostly an empty one
                    if path:
                        yield Special(path.rstrip("/"), "empty-folder")
                else:
                    modified_ns = in_whole_seconds(item["LastModified"])
                    yield Entry(path, item["Size"], modified_ns, etag_of(item.get("ETag")))

    def _unlisted(self, path: str, item: dict[str, Any]) -> Unlisted | None:
        """Return why a listed object can't be carried, None if it can."""
        if (path.endswith("/") or not path) and item["Size"]:
            reason = f"{item['Size']} bytes under a key that ends in a slash"
        elif path and any(part in ("", ".", "..") for part in path.rstrip("/").split("/")):
            reason = "a key with an empty part, '.' or '..' between its slashes"
        else:
            return None
        key = quote(f"s3://{self._bucket}/{item['Key']}")
        error = SourceError(
            f"{key}: found {reason}, which is no path of a file. Copy the object to another key, "
            "or leave it out."
        )
        return Unlisted(path, error)
