"""Folders as web servers list them: nginx's JSON, and the HTML pages of nginx, Apache and others.

Only pages that call themselves an index are read: a home page with links isn't a listing, and an
empty listing must not be found where there is none.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import msgspec

from jobtool.stores.http.answers import time_ns
from jobtool.stores.webaddress import decoded

#: Titles of nginx, Apache and lighttpd ("Index of"), and of Python's http.server.
_TITLE = re.compile(r"\s*(?:Index of|Directory listing for)\b", re.IGNORECASE)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One name in a folder. ``size`` and ``mtime_ns`` are None if the listing isn't exact.

    ``is_other`` marks what is neither a file nor a folder.
    """

    name: str
    is_folder: bool
    size: int | None = None
    mtime_ns: int | None = None
    is_other: bool = False


def parse_index(body: bytes, kind: str, url: str) -> list[Listed] | None:
    """Return the names in the index of the folder at ``url``, unsorted; None if it isn't an index.

    ``kind`` is the content type of the answer.
    """
    text = body.decode("utf-8", "surrogateescape")
    if "json" in kind:
        return _from_json(text)
    if "html" in kind:
        return _from_html(text, url)
    return None


def _from_json(text: str) -> list[Listed] | None:
    """Read nginx's ``autoindex_format json``: an array of objects with name, type, mtime, size."""
    try:
        items = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    if not isinstance(items, list):
        return None
    found = []
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            return None
        kind, size, mtime_ns = item.get("type"), item.get("size"), time_ns(item.get("mtime"))
        is_exact = isinstance(size, int) and mtime_ns is not None
        found.append(
            Listed(
                name=item["name"],
                is_folder=kind == "directory",
                size=size if is_exact else None,
                mtime_ns=mtime_ns if is_exact else None,
                is_other=kind not in ("directory", "file"),
            )
        )
    return found


class _Page(HTMLParser):
    """The title and the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.links: list[str] = []
        self._is_in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_in_title = tag == "title"
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]

    def handle_endtag(self, tag: str) -> None:
        self._is_in_title = False

    def handle_data(self, data: str) -> None:
        if self._is_in_title:
            self.title += data


def _from_html(text: str, url: str) -> list[Listed] | None:
    """Read the links of a page to what is directly in its folder. Sizes there are rounded."""
    page = _Page()
    page.feed(text)
    page.close()
    if not _TITLE.match(page.title):
        return None
    folder = urlsplit(url)
    found: dict[str, Listed] = {}
    for link in page.links:
        full = urlsplit(urljoin(url, link))
        is_elsewhere = (full.scheme, full.netloc) != (folder.scheme, folder.netloc)
        if is_elsewhere or full.query or full.fragment or link.startswith("?"):
            continue
        path, base = decoded(full.path), decoded(folder.path)
        name = path.removeprefix(base)
        is_folder = name.endswith("/")
        name = name.removesuffix("/")
        if path.startswith(base) and name and "/" not in name and name not in (".", ".."):
            found[name] = Listed(name=name, is_folder=is_folder)
    return list(found.values())
