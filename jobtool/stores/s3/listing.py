"""Listings of a bucket or a prefix: pages, folders, keys that aren't paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobtool.errors import NotFoundError, SourceError
from jobtool.names import quote
from jobtool.stores.location import unfit_reason
from jobtool.stores.s3.metadata import etag_of, in_whole_seconds
from jobtool.stores.s3.requests import Requests
from jobtool.stores.store import Child, Entry, Special, Unlisted

# What distinguishes a page of a listing, even an empty one, from any other document.
_OF_A_PAGE = ("IsTruncated", "KeyCount", "MaxKeys", "Name", "Contents", "CommonPrefixes")


class Listing:
    """Lists the keys below ``prefix``, which is empty or ends in a slash."""

    def __init__(self, client: Any, bucket: str, prefix: str, requests: Requests) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._requests = requests

    def pages(self, path: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing. Errors name ``path``.

        Raises ``ServerError`` for an answer that isn't a page: as a page, it would look empty.
        """
        for page in self._requests.pages(
            path,
            lambda **more: self._client.list_objects_v2(Bucket=self._bucket, **arguments, **more),
            {"ContinuationToken": "NextContinuationToken"},
        ):
            self._requests.require(path, page, *_OF_A_PAGE)
            yield page

    def is_any(self, path: str, inside: str) -> bool:
        """Return True if any key begins with ``inside``."""
        return any(page.get("Contents") for page in self.pages(path, Prefix=inside, MaxKeys=1))

    def try_it(self) -> None:
        """List one key. Raises the errors of stores."""
        next(self.pages("", Prefix=self._prefix, MaxKeys=1))

    def children(self, path: str, inside: str) -> Iterator[Child | Unlisted]:
        """Yield what is directly inside a folder, whose keys begin with ``inside``."""
        found: set[tuple[str, bool]] = set()
        is_there = False
        for page in self.pages(path, Prefix=inside, Delimiter="/"):
            for item in page.get("CommonPrefixes", ()):
                found.add((item["Prefix"][len(inside) : -1], True))
            for item in page.get("Contents", ()):
                is_there = True
                if item["Key"] != inside or item["Size"]:  # else the marker of the folder itself
                    found.add((item["Key"][len(inside) :], False))
        if not found and not is_there:
            where = quote(self._requests.url_of(path))
            raise NotFoundError(f"expected a folder at {where}; found nothing")
        for name, is_folder in sorted(found):
            if unfit_reason(name) is None:
                yield Child(name, is_folder)
            else:
                yield self._unlisted(inside + name + "/" * is_folder)

    def entries(self) -> Iterator[Entry | Special | Unlisted]:
        """Yield every object, a thousand to a request."""
        for page in self.pages("", Prefix=self._prefix):
            for item in page.get("Contents", ()):
                path = item["Key"][len(self._prefix) :]
                is_marker = item["Size"] == 0 and (path.endswith("/") or not path)
                if is_marker:  # marks a folder, usually an empty one
                    folder = path[:-1]
                    if folder and unfit_reason(folder) is not None:
                        yield self._unlisted(item["Key"])
                    elif folder:
                        yield Special(folder, "empty-folder")
                elif unfit_reason(path) is not None:
                    yield self._unlisted(item["Key"])
                else:
                    modified_ns = in_whole_seconds(item["LastModified"])
                    yield Entry(path, item["Size"], modified_ns, etag_of(item.get("ETag")))

    def _unlisted(self, key: str) -> Unlisted:
        """Return the entry of a listing for an unfit key or common prefix."""
        error = SourceError(
            f"{quote(f's3://{self._bucket}/{key}')}: an object of this key can't be transferred: "
            f"the key has {unfit_reason(key)}. Copy it to another key, or leave it out."
        )
        return Unlisted(key.removeprefix(self._prefix), error)
