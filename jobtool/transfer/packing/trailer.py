"""The trailer of a file that jobtool has compressed: the MD5 and size of the original.

It follows the compressed data, in a form that other programs skip: a skippable frame of zstd (RFC
8878, section 3.1.2), or an empty member of gzip with an extra field (RFC 1952, section 2.3.1.1). So
``zstd -d`` and ``gunzip`` open the file, and jobtool recognises its own files without a receipt.
"""

from __future__ import annotations

import struct

import msgspec

from jobtool.jobs.forms import Form

_TAG = b"jobtool1"
_PAYLOAD = struct.Struct("<8s16sQ")

#: One of the sixteen magic numbers of skippable frames, and the size of the payload.
_ZSTD_START = struct.pack("<II", 0x184D2A5A, _PAYLOAD.size)

#: The header of a member with an extra field, without a time, from an unknown system; the lengths
#: of the extra field and of its only subfield, "jt".
_GZIP_START = (
    b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
    + struct.pack("<H", _PAYLOAD.size + 4)
    + b"jt"
    + struct.pack("<H", _PAYLOAD.size)
)

#: An empty deflated block, the CRC32 of nothing, and its size.
_GZIP_END = b"\x03\x00" + bytes(8)

_FRAMES: dict[Form, tuple[bytes, bytes]] = {
    "zstd": (_ZSTD_START, b""),
    "gzip": (_GZIP_START, _GZIP_END),
}


class Original(msgspec.Struct, frozen=True):
    """The MD5 of an original in hex, and its size in bytes."""

    md5: str
    size: int


def trailer_bytes(form: Form) -> int:
    """Return the length of a trailer in bytes."""
    start, end = _FRAMES[form]
    return len(start) + _PAYLOAD.size + len(end)


def trailer_of(form: Form, original: Original) -> bytes:
    """Return the trailer of a compressed file."""
    start, end = _FRAMES[form]
    return start + _PAYLOAD.pack(_TAG, bytes.fromhex(original.md5), original.size) + end


def original_in(form: Form, data: bytes | memoryview) -> Original | None:
    """Return what the trailer at the end of ``data`` says; None if there is none."""
    start, end = _FRAMES[form]
    trailer = bytes(data[-trailer_bytes(form) :])
    if len(trailer) != trailer_bytes(form) or not trailer.startswith(start):
        return None
    if not trailer.endswith(end):
        return None
    tag, md5, size = _PAYLOAD.unpack(trailer[len(start) : len(start) + _PAYLOAD.size])
    return Original(md5.hex(), size) if tag == _TAG else None
