"""The list of a package's members as a file: JSON lines, one for each item and each member.

The first line says what the file is, the last one how much it holds: a list that was cut isn't
used. Names are quoted as ``jobtool.names`` does, so any name fits a line.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from jobtool import typed
from jobtool.errors import JobFileError, JoblistUnavailableError, PackageError, reason_of
from jobtool.jobs.atomic_write import sync_folder
from jobtool.jobs.safe_read import open_without_waiting
from jobtool.names import quote, unquote
from jobtool.packages.members import DEFAULT_MODE, Member, MemberList, item_or_all

#: The version of this format. Readers refuse a later one.
FORMAT = 1

#: A longer line isn't read: jobtool writes two paths and some numbers.
_MAX_LINE_BYTES = 1024 * 1024

_WRITE_LINES = 4096


class _Head(msgspec.Struct, frozen=True, tag="package-members"):
    format: int


class _Item(msgspec.Struct, frozen=True, tag="item"):
    name: str


class _Line(msgspec.Struct, frozen=True, omit_defaults=True, tag="member"):
    path: str
    size: int
    mtime_ns: int
    mode: int = DEFAULT_MODE
    source: str | None = None


class _End(msgspec.Struct, frozen=True, tag="end"):
    members: int
    bytes: int


def write_members(path: str, members: MemberList) -> None:
    """Write a list, atomically and durably, in bounded memory.

    Raises ``PackageError`` for a list in which a path stands twice or below a member, and
    ``JoblistUnavailableError``.
    """
    members.require_distinct()
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                _write(file, members)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_folder(folder)
    except OSError as error:
        raise JoblistUnavailableError(f"can't write {quote(path)}: {reason_of(error)}") from None


def _write(file: BinaryIO, members: MemberList) -> None:
    encoder = msgspec.json.Encoder()
    lines: list[msgspec.Struct] = [_Head(FORMAT)]

    def flush() -> None:
        file.write(encoder.encode_lines(lines))
        lines.clear()

    for name, numbers in item_or_all(members):
        if name is not None:
            lines.append(_Item(quote(name)))
        for number in numbers:
            member = members[number]
            source = None if member.source is None else quote(member.source)
            lines.append(
                _Line(quote(member.path), member.size, member.mtime_ns, member.mode, source)
            )
            if len(lines) >= _WRITE_LINES:
                flush()
    lines.append(_End(len(members), members.total_bytes))
    flush()


def read_members(path: str) -> MemberList:
    """Read a list that ``write_members`` wrote.

    Raises ``PackageError`` if the file is missing, isn't such a list or was cut, and
    ``JoblistUnavailableError`` if it can't be read.
    """
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            return _read(file)
    except FileNotFoundError:
        raise PackageError(
            f"{quote(path)}: expected the list of a package's members; found nothing"
        ) from None
    except OSError as error:
        raise JoblistUnavailableError(f"can't read {quote(path)}: {reason_of(error)}") from None
    except (msgspec.DecodeError, ValueError, RecursionError, JobFileError, PackageError) as error:
        raise PackageError(
            f"{quote(path)} can't be read as the list of a package's members: {error}"
        ) from None


def _read(file: BinaryIO) -> MemberList:
    lines = _lines(file)
    head = next(lines, None)
    if head != _Head(FORMAT):
        raise ValueError(f"expected a first line of the format {FORMAT}; found {head}")
    found, end = MemberList(), None
    for line in lines:
        if end is not None or isinstance(line, _Head):
            raise ValueError("expected nothing after the last line; found more")
        if isinstance(line, _Line):
            source = None if line.source is None else unquote(line.source)
            path = unquote(line.path)
            found.add(
                Member(
                    path=path,
                    size=line.size,
                    mtime_ns=line.mtime_ns,
                    mode=line.mode,
                    source=source,
                )
            )
        elif isinstance(line, _Item):
            found.start_item(unquote(line.name))
        else:
            end = line
    if end != _End(len(found), found.total_bytes):
        raise ValueError(
            f"expected a last line with its {len(found)} members and {found.total_bytes} bytes; "
            f"found {'none: it was cut' if end is None else end}"
        )
    return found


def _lines(file: BinaryIO) -> Iterator[_Head | _Item | _Line | _End]:
    decoder = typed.decoder_of(_Head | _Item | _Line | _End)
    while text := file.readline(_MAX_LINE_BYTES):
        if not text.endswith(b"\n"):
            raise ValueError("expected whole lines; found a line that was cut or is too long")
        yield decoder.decode(text)
