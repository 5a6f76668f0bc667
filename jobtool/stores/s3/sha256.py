"""SHA-256 as the server's checksum of objects whose ETags aren't MD5s.

The worker sends the SHA-256 of each object or part. The server checks it, keeps it, and returns it
in its answer. For an object in parts that is the SHA-256 of the parts' concatenated SHA-256s, a
dash and the number of parts. Source: AWS, "Checking object integrity in Amazon S3", composite
checksums.

An upload whose parts have checksums has a mark in its token, and the ETags of its parts hold their
checksums: later attempts and other workers need both.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

#: A part's argument and a field of answers, by boto3's names.
FIELD = "ChecksumSHA256"
ALGORITHM = {"ChecksumAlgorithm": "SHA256"}

_MARK = " sha256"
_SEPARATOR = " sha256:"


def sha256_of(data: bytes | memoryview) -> str:
    """Return the SHA-256 of data in base64."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def composite_sha256(checksums: Iterable[str]) -> str:
    """Return the checksum of an object whose parts have these, in base64."""
    parts = [base64.b64decode(checksum) for checksum in checksums]
    return f"{sha256_of(b''.join(parts))}-{len(parts)}"


def marked(upload_id: str) -> str:
    """Return the token of an upload whose parts have checksums."""
    return upload_id + _MARK


def is_marked(token: str) -> bool:
    """Return True for the token of an upload whose parts have checksums."""
    return token.endswith(_MARK)


def upload_id_of(token: str) -> str:
    """Return the server's ID of an upload."""
    return token.removesuffix(_MARK)


def joined(etag: str | None, checksum: str) -> str:
    """Return a part's ETag that holds its checksum, too."""
    return f"{etag or ''}{_SEPARATOR}{checksum}"


def split(etag: str | None) -> tuple[str | None, str | None]:
    """Return the server's ETag of a part, and the part's checksum; each is None if unknown."""
    server, _, checksum = (etag or "").partition(_SEPARATOR)
    return server or None, checksum or None
