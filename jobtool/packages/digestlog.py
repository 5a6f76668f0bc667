"""The log of members' MD5s: a file of records of 40 bytes, each with a checksum.

A kill may leave a torn record at the end, and nothing after a record that isn't whole counts. The
log saves work, it proves nothing: a package's index is compared with what arrived.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from jobtool.errors import reason_of
from jobtool.jobs.safe_read import open_without_waiting
from jobtool.names import quote

#: Number, end, digest, CRC-32 of these, zeros.
_RECORD = struct.Struct("<QQ16sI4x")
_CHECKED_BYTES = 32
_MAGIC = b"jobtool: MD5s of members, 1\n"
_FINGERPRINT_BYTES = 32

#: Records are written when there are as many of them, or by ``flush``.
_BATCH = 512
_READ_RECORDS = 16384


class DigestRecord(NamedTuple):
    """A member's MD5 up to the offset ``end``: the MD5 at its end, before that the state of it."""

    number: int
    end: int
    digest: bytes


class DigestLog:
    """The log at a path, of the list of members with a fingerprint of 32 characters.

    Only one process writes it. ``failure`` says why that wasn't possible, else it is None.
    """

    def __init__(self, path: str, fingerprint: str) -> None:
        self.path = path
        self._head = _MAGIC + fingerprint.encode()
        assert len(fingerprint) == _FINGERPRINT_BYTES
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._is_ours = False
        self.failure: str | None = None

    def read(self) -> Iterator[DigestRecord]:
        """Yield the records; none if the file can't be read or is about other members."""
        try:
            with open(self.path, "rb", opener=open_without_waiting) as file:
                if file.read(len(self._head)) != self._head:
                    return
                while data := file.read(_RECORD.size * _READ_RECORDS):
                    whole = len(data) - len(data) % _RECORD.size
                    for at in range(0, whole, _RECORD.size):
                        number, end, digest, checksum = _RECORD.unpack_from(data, at)
                        if zlib.crc32(data[at : at + _CHECKED_BYTES]) != checksum:
                            return
                        yield DigestRecord(number, end, digest)
        except OSError:
            return

    def append(self, record: DigestRecord) -> None:
        """Add a record. It is written with others."""
        data = struct.pack("<QQ16s", *record)
        with self._lock:
            self._waiting.append(_RECORD.pack(*record, zlib.crc32(data)))
            is_full = len(self._waiting) >= _BATCH
        if is_full:
            self.flush()

    def flush(self) -> None:
        """Write the records that wait. Those that can't be written are dropped."""
        with self._lock:
            data, self._waiting = b"".join(self._waiting), []
            if not data:
                return
            try:
                self._write(data)
            except OSError as error:
                self.failure = f"can't write {quote(self.path)}: {reason_of(error)}"

    def _write(self, data: bytes) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self.path, flags, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if not self._is_ours and os.pread(descriptor, len(self._head), 0) != self._head:
                os.ftruncate(descriptor, 0)
                size = 0
            if not size:
                data, at = self._head + data, 0
            else:  # over the torn record of a killed worker
                at = size - (size - len(self._head)) % _RECORD.size
            while data:
                written = os.pwrite(descriptor, data, at)
                data, at = data[written:], at + written
            self._is_ours = True
        finally:
            with contextlib.suppress(OSError):
                os.close(descriptor)
