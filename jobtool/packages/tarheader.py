"""The header of a member of a tar: a pure function of its path, size, time and permissions.

Sources: POSIX.1-2017, ``pax``, sections "ustar Interchange Format" and "pax Extended Header".
A header is ustar where that holds everything. Otherwise an extended header stands before it, with
a record for each value that ustar can't hold: a long path, one that isn't ASCII, a size from 8 GiB
on, a time with fractions of a second or outside 1970 to 2242. A header names no user and no clock,
so the same member has the same bytes everywhere.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

#: Everything in a tar is padded to blocks of this size.
BLOCK_BYTES = 512

#: A tar ends with two blocks of zeros.
END_BYTES = 2 * BLOCK_BYTES

_NAME_BYTES = 100
_PREFIX_BYTES = 155

#: ustar holds numbers in eleven octal digits.
_MOST_NUMBER = 8**11 - 1

_SECOND_NS = 1_000_000_000

#: Up to this length of a path the records of a member fit in one block. The records are path (at
#: most 11 bytes more), hdrcharset (21), size (29), mtime (31).
_SHORT_PATH_BYTES = 400

_FILE, _EXTENDED = b"0", b"x"

#: The path that readers without extended headers would give to one. Python's tarfile has the same.
_EXTENDED_NAME = b"././@PaxHeader"


def padded(size: int) -> int:
    """Return a size in bytes, rounded up to whole blocks."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def header_size(path: bytes, size: int, mtime_ns: int) -> int:
    """Return the number of bytes of ``header``, without making it."""
    if (
        mtime_ns % _SECOND_NS == 0
        and size <= _MOST_NUMBER
        and 0 <= mtime_ns <= _MOST_NUMBER * _SECOND_NS
        and path.isascii()
        and (len(path) <= _NAME_BYTES or _split(path) is not None)
    ):
        return BLOCK_BYTES
    if len(path) <= _SHORT_PATH_BYTES:
        return 3 * BLOCK_BYTES
    return 2 * BLOCK_BYTES + padded(len(_records(path, size, mtime_ns)))


def header(path: bytes, size: int, mtime_ns: int, mode: int) -> bytes:
    """Return the blocks that stand before a member's data.

    ``size`` is in bytes, ``mtime_ns`` in nanoseconds since 1970, ``mode`` holds the permissions.
    """
    records = _records(path, size, mtime_ns)
    prefix, name = _split(path) or (b"", _fallback(path))
    seconds = mtime_ns // _SECOND_NS
    own = _block(
        name,
        prefix,
        size if size <= _MOST_NUMBER else 0,
        seconds if 0 <= seconds <= _MOST_NUMBER else 0,
        mode,
        _FILE,
    )
    if not records:
        return own
    padding = bytes(-len(records) % BLOCK_BYTES)
    return b"".join((_extended(len(records)), records, padding, own))


def _records(path: bytes, size: int, mtime_ns: int) -> bytes:
    """Return the records of the extended header; none if ustar holds everything."""
    found = b""
    if not path.isascii() or _split(path) is None:
        if not _is_text(path):
            found += _record(b"hdrcharset", b"BINARY")
        found += _record(b"path", path)
    if size > _MOST_NUMBER:
        found += _record(b"size", b"%d" % size)
    if mtime_ns % _SECOND_NS or not 0 <= mtime_ns <= _MOST_NUMBER * _SECOND_NS:
        found += _record(b"mtime", _decimal(mtime_ns))
    return found


def _record(key: bytes, value: bytes) -> bytes:
    """Return ``LENGTH KEY=VALUE`` and a newline. The length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _decimal(mtime_ns: int) -> bytes:
    """Return a time in seconds, exactly: ``1700000000.5``."""
    seconds, rest = divmod(abs(mtime_ns), _SECOND_NS)
    text = b"%s%d" % (b"-" if mtime_ns < 0 else b"", seconds)
    return text + (b".%09d" % rest).rstrip(b"0") if rest else text


def _split(path: bytes) -> tuple[bytes, bytes] | None:
    """Return a path as ustar's prefix and name, with the shortest prefix; None if it doesn't fit.

    The slash between them isn't stored.
    """
    if len(path) <= _NAME_BYTES:
        return b"", path
    slash = path.find(b"/", len(path) - _NAME_BYTES - 1, _PREFIX_BYTES + 1)
    return (path[:slash], path[slash + 1 :]) if slash > 0 else None


def _fallback(path: bytes) -> bytes:
    """Return the name of a member for readers that pass over extended headers."""
    return path[:_NAME_BYTES].rstrip(b"/")


def _is_text(path: bytes) -> bool:
    """Return True if readers that expect UTF-8 keep a path as it is.

    libarchive composes what isn't in the normal form NFC, such as "e" with an accent on its own.
    """
    try:
        return unicodedata.is_normalized("NFC", path.decode())
    except UnicodeDecodeError:
        return False


@lru_cache(maxsize=1024)
def _extended(length: int) -> bytes:
    """Return the header of ``length`` bytes of records."""
    return _block(_EXTENDED_NAME, b"", length, 0, 0o644, _EXTENDED)


def _block(
    name: bytes, prefix: bytes, size: int, seconds: int, mode: int, typeflag: bytes
) -> bytes:
    """Return a ustar header: user and group 0 without names, no device."""
    numbers = b"%07o\x000000000\x000000000\0%011o\0%011o\0" % (mode, size, seconds)
    # The checksum is the sum of all bytes, with its own eight as spaces.
    total = sum(name) + sum(numbers) + sum(prefix) + sum(typeflag) + _SUM_OF_REST
    return b"%b%b%06o\0 %b%b%b%b" % (
        name.ljust(_NAME_BYTES, b"\0"),
        numbers,
        total,
        typeflag,
        _MIDDLE,
        prefix.ljust(_PREFIX_BYTES, b"\0"),
        _TAIL,
    )


#: Link name, magic, version; user name, group name and device numbers, all without a value.
_MIDDLE = bytes(100) + b"ustar\x0000" + bytes(32 + 32 + 8 + 8)
_TAIL = bytes(12)
_SUM_OF_REST = sum(_MIDDLE) + sum(b" " * 8)
