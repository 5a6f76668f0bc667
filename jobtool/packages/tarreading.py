"""Reading the headers of any tar: those of jobtool's packages, and those of other programs.

Sources: POSIX.1-2017, ``pax``; for GNU's long names, numbers in base 256 and sparse files: GNU tar
manual, "Basic Tar Format". What isn't a plain file, folder or link is refused by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Literal

import msgspec

from jobtool.errors import PackageError
from jobtool.names import quote
from jobtool.packages.tarheader import BLOCK_BYTES, padded
from jobtool.stores.store import within_64_bits

#: Returns so many bytes of a tar from an offset, or fewer at its end.
ReadAt = Callable[[int, int], bytes | memoryview]

ItemKind = Literal["file", "folder", "symlink", "hard link"]

#: A longer extended header isn't read.
MAX_EXTENDED_BYTES = 1024 * 1024

_KINDS: dict[bytes, ItemKind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hard link",
    b"2": "symlink",
    b"5": "folder",
}
_REFUSED = {
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"S": "a sparse file",
    b"D": "a folder of an incremental archive",
    b"M": "a file that began in another volume",
}
_TIME = re.compile(rb"(-?)(\d{1,19})(?:\.(\d*))?")
_SECOND_NS = 1_000_000_000
_ZEROS = bytes(BLOCK_BYTES)
_MODE_BITS = 0o7777

#: What global records may not change: they would be about each member.
_NOT_GLOBAL = (b"path", b"linkpath", b"size", b"hdrcharset")


class TarItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a tar. ``start`` is the offset of its headers, ``offset`` that of its data.

    ``path`` has no ``./`` at its beginning and no slash at its end, and is otherwise as it stands
    in the tar: it may be one that leads elsewhere. ``size`` is 0 for all but files.
    """

    path: str
    kind: ItemKind
    size: int
    mtime_ns: int
    mode: int
    target: str
    start: int
    offset: int

    @property
    def end(self) -> int:
        """The offset after the data and its padding."""
        return self.offset + padded(self.size)


def read_item(read: ReadAt, start: int, *, name: str) -> TarItem | None:
    """Return the item whose headers begin at ``start``; None at the end of the archive.

    ``name`` is what messages call the tar. Raises ``PackageError`` for headers that are damaged or
    cut, and for devices, pipes and sparse files, and the errors of ``read``.
    """
    at = start
    records: dict[bytes, bytes] = {}
    long: dict[bytes, bytes] = {}
    while True:
        block = bytes(read(at, BLOCK_BYTES))
        if block == _ZEROS and at == start:
            return None
        _require_header(block, at, name)
        kind = block[156:157]
        at += BLOCK_BYTES
        if kind not in (b"x", b"g", b"L", b"K"):
            return _item(block, records, long, start=start, offset=at, name=name)
        size = _number(block[124:136], at, name)
        if not 0 <= size <= MAX_EXTENDED_BYTES:
            raise _damaged(name, at, f"an extended header of {size} bytes")
        data = bytes(read(at, size))
        if len(data) != size:
            raise _damaged(name, at, "its end")
        at += padded(size)
        if kind in (b"L", b"K"):
            long[kind] = data.rstrip(b"\0")
            continue
        found = _records(data, at, name)
        if kind == b"x":
            records = found
        elif any(key in _NOT_GLOBAL or key.startswith(b"GNU.sparse") for key in found):
            raise _damaged(name, at, "a global header that changes each member")


def _item(
    block: bytes,
    records: dict[bytes, bytes],
    long: dict[bytes, bytes],
    *,
    start: int,
    offset: int,
    name: str,
) -> TarItem:
    path = records.get(b"path") or long.get(b"L") or _path(block)
    shown = quote(os.fsdecode(path[:4096]) or "?")
    flag = block[156:157]
    if flag in _REFUSED or any(key.startswith(b"GNU.sparse") for key in records):
        raise PackageError(
            f"{quote(name)}, member {shown}: expected a file, folder or link; found "
            f"{_REFUSED.get(flag, 'a sparse file')}. Unpack it with tar."
        )
    if flag not in _KINDS:
        raise _damaged(name, offset, f"an item of the unknown type {flag!r}")
    kind = _KINDS[flag]
    if kind == "file" and path.endswith(b"/"):
        kind = "folder"  # as tar did before there was a type for folders
    size = _number(block[124:136], offset, name)
    if b"size" in records:
        if not re.fullmatch(rb"\d{1,19}", records[b"size"]):
            raise _damaged(name, offset, f"the size {records[b'size'][:40]!r}")
        size = int(records[b"size"])
    if size < 0 or size >= 2**63:
        raise _damaged(name, offset, f"a member of {size} bytes")
    if kind == "folder":
        path = path.rstrip(b"/")
    while path.startswith(b"./"):
        path = path[2:].lstrip(b"/")
    mtime_ns = _number(block[136:148], offset, name) * _SECOND_NS
    if b"mtime" in records:
        mtime_ns = _time(records[b"mtime"], offset, name)
    target = records.get(b"linkpath") or long.get(b"K") or _text(block[157:257])
    return TarItem(
        path=os.fsdecode(path),
        kind=kind,
        size=size if kind == "file" else 0,
        mtime_ns=within_64_bits(mtime_ns),
        mode=_number(block[100:108], offset, name) & _MODE_BITS,
        target=os.fsdecode(target) if kind in ("symlink", "hard link") else "",
        start=start,
        offset=offset,
    )


def _require_header(block: bytes, at: int, name: str) -> None:
    """Raise ``PackageError`` unless a block has the checksum of a header."""
    if len(block) != BLOCK_BYTES:
        raise _damaged(name, at, "its end: it was cut, or was never complete")
    said = _number(block[148:156], at, name)
    rest = block[:148] + b" " * 8 + block[156:]
    # Some old programs sum up signed bytes.
    signed = sum(rest) - 256 * sum(byte > 127 for byte in rest)
    if said not in (sum(rest), signed):
        raise _damaged(name, at, "a block with another checksum")


def _path(block: bytes) -> bytes:
    path = _text(block[:100])
    prefix = _text(block[345:500])
    # GNU's own format has other fields where ustar has the prefix.
    return prefix + b"/" + path if prefix and block[257:263] == b"ustar\0" else path


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, at: int, name: str) -> int:
    """Read octal digits or, with the highest bit set, a number in base 256."""
    if field[0] & 0x80:
        negative = bool(field[0] & 0x40)
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        return value - (1 << (8 * len(field) - 1)) if negative else value
    digits = field.partition(b"\0")[0].strip(b" ")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise _damaged(name, at, f"the number {digits!r}")
    return int(digits or b"0", 8)


def _time(text: bytes, at: int, name: str) -> int:
    """Read a decimal number of seconds as nanoseconds."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise _damaged(name, at, f"the time {text[:40]!r}")
    sign, seconds, fraction = match.groups()
    value = int(seconds) * _SECOND_NS + int((fraction or b"")[:9].ljust(9, b"0"))
    return -value if sign else value


def _records(data: bytes, at: int, name: str) -> dict[bytes, bytes]:
    """Read the records ``LENGTH KEY=VALUE`` of an extended header."""
    found: dict[bytes, bytes] = {}
    start = 0
    while start < len(data):
        length, space, _ = data[start : start + 20].partition(b" ")
        end = start + int(length) if re.fullmatch(rb"\d{1,7}", length) else 0
        key, equals, value = data[start + len(length) + 1 : end].partition(b"=")
        if not space or not equals or end > len(data) or not value.endswith(b"\n"):
            raise _damaged(name, at, "a damaged record of an extended header")
        found[key] = value[:-1]
        start = end
    return found


def _damaged(name: str, at: int, found: str) -> PackageError:
    return PackageError(
        f"{quote(name)} isn't a whole tar: expected the header of a member at {at} bytes; found "
        f"{found}. Compare it with what was sent."
    )
