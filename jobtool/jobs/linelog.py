"""A log of lines that processes append to, each durable, whatever a killed one has left."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from jobtool.jobs.atomic_write import sync_folder
from jobtool.jobs.safe_read import open_without_waiting


def append_lines(path: str, data: bytes) -> None:
    """Append whole lines to a file, durably; make it and its folder if need be.

    The torn line of a killed process gets its end first. Raises ``OSError``.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.path.dirname(path)
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        sync_folder(os.path.dirname(folder))
        descriptor = os.open(path, flags, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    if not size:
        sync_folder(folder)


def whole_lines(path: str, *, most_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; none if it is missing.

    A torn line, and one of more than ``most_bytes``, is skipped. Raises ``OSError``.
    """
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            is_whole = True
            while text := file.readline(most_bytes):
                was_whole, is_whole = is_whole, text.endswith(b"\n")
                if was_whole and is_whole:
                    yield text
    except FileNotFoundError:
        return
