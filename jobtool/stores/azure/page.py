"""A page of a listing, read from its XML.

Azure's library reads one too, but takes half a millisecond for each name.
Source: Microsoft, "List Blobs".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import unquote
from xml.etree import ElementTree

import msgspec

from jobtool.stores.azure.metadata import etag_of, is_folder
from jobtool.stores.store import within_64_bits


class Item(msgspec.Struct, frozen=True):
    """A blob of a listing or, with ``is_prefix``, a folder: the beginning of names.

    ``is_folder`` is True for a blob that is a folder, or marks one.
    """

    name: str
    size: int = 0
    modified_ns: int = 0
    etag: str | None = None
    is_folder: bool = False
    is_prefix: bool = False


class Page(msgspec.Struct, frozen=True):
    """A page and the mark of the next one, which is empty on the last."""

    items: list[Item]
    next_mark: str


def read_page(document: bytes) -> Page:
    """Read a page. Raises ``ValueError`` for anything else."""
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - expat limits what entities expand to
    except ElementTree.ParseError as error:
        raise ValueError(f"can't deserialize the listing: {error}") from None
    blobs = root.find("Blobs")
    if root.tag != "EnumerationResults" or blobs is None:
        raise ValueError(f"can't deserialize the listing: found <{root.tag}>")
    try:
        return Page(list(_items_in(blobs)), root.findtext("NextMarker") or "")
    except (KeyError, TypeError) as error:
        raise ValueError(f"can't deserialize the listing: {error} is missing") from None


def _items_in(blobs: ElementTree.Element) -> Iterator[Item]:
    for element in blobs:
        name = element.find("Name")
        if name is None or not name.text:
            raise KeyError("Name")
        # So the service writes characters that XML can't have.
        text = unquote(name.text) if name.get("Encoded") == "true" else name.text
        if element.tag == "BlobPrefix":
            yield Item(text, is_prefix=True)
            continue
        told = {each.tag: each.text or "" for each in element.find("Properties") or ()}
        yield Item(
            text,
            size=int(told["Content-Length"]),
            modified_ns=_time_ns(told["Last-Modified"]),
            etag=etag_of(told.get("Etag")),
            is_folder=told.get("ResourceType") == "directory"
            or is_folder(_metadata_in(element.find("Metadata"))),
        )


def _metadata_in(element: ElementTree.Element | None) -> Mapping[str, str]:
    return {} if element is None else {each.tag: each.text or "" for each in element}


@lru_cache(maxsize=1024)
def _time_ns(text: str) -> int:
    return within_64_bits(int(parsedate_to_datetime(text).timestamp()) * 1_000_000_000)
