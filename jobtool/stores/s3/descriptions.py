"""Descriptions of new objects that ``[s3]`` adds: types of content, metadata."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache

from msgspec.structs import replace

from jobtool.stores.store import Attributes

_TYPE = "Content-Type"

#: The types of an encoded file. Its content isn't what its encoding hides (RFC 9110, 8.4).
_ENCODED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "br": "application/x-brotli",
    "compress": "application/x-compress",
}


class Descriptions:
    """Adds a type and metadata to objects. Both are as in ``S3Config``."""

    def __init__(self, content_types: Mapping[str, str], metadata: Mapping[str, str]) -> None:
        self._content_types = content_types
        self._metadata = tuple(metadata.items())

    def added_to(self, attributes: Attributes, path: str) -> Attributes:
        """Return the attributes of a file with what they lack. Those of the source come first."""
        headers, metadata = attributes.headers, attributes.metadata
        if all(name != _TYPE for name, _ in headers):
            found = self._type_of(path)
            headers = (*headers, (_TYPE, found)) if found else headers
        if self._metadata:
            known = {name for name, _ in metadata}
            metadata += tuple(pair for pair in self._metadata if pair[0] not in known)
        if headers is attributes.headers and metadata is attributes.metadata:
            return attributes
        return replace(attributes, headers=headers, metadata=metadata)

    def _type_of(self, path: str) -> str | None:
        for pattern, kind in self._content_types.items():
            if fnmatchcase(path, pattern):
                return kind
        name = path.rpartition("/")[2]
        if "." not in name:
            return None
        guessed, encoding = _guesser().guess_type(name)
        return guessed if encoding is None else _ENCODED.get(encoding)


@cache
def _guesser() -> mimetypes.MimeTypes:
    """Return what guesses types. Made for the first name with an ending: it takes 5 ms."""
    return mimetypes.MimeTypes()  # not the machine's own tables: all workers must guess the same
