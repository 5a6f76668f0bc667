"""Functions for chunks, for local files and for whatever has ``open`` as fsspec has it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import Any


def opened(fs: Any, path: str, mode: str) -> Any:
    return open(path, mode) if fs is None else fs.open(path, mode)


def put_whole(fs, src, dst, offset, size, buffersize, blocksize, shutdown_event=None) -> int:
    """Copy a range into a file of its own."""
    return _copy(fs, src, offset, size, dst, "wb", 0)


def put_at(fs, src, dst, offset, size, buffersize, blocksize, shutdown_event=None) -> int:
    """Copy a range to its place in the destination."""
    return _copy(fs, src, offset, size, dst, "r+b", offset)


def _copy(fs: Any, src: str, offset: int, size: int, dst: str, mode: str, position: int) -> int:
    written = 0
    with opened(fs, src, "rb") as source, opened(fs, dst, mode) as target:
        source.seek(offset)
        if position:
            target.seek(position)
        while written < size and (block := source.read(min(1 << 12, size - written))):
            target.write(block)
            written += len(block)
    return written


def prepare(fs: Any, dst: str, length: int) -> None:
    with opened(fs, dst, "wb"):
        pass


def merge(fs: Any, outfile: str, files: list[str], shutdown_event=None) -> None:
    """Join files and remove them as soon as they are joined: a kill leaves some of them."""
    with opened(fs, outfile, "wb") as target:
        for name in files:
            with opened(fs, name, "rb") as part:
                target.write(part.read())
            target.flush()
    for name in files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name) if fs is None else fs.rm_file(name)


def verify(fs: Any, chunk: Any) -> bool:
    """Compare a chunk's bytes with the source's."""
    with opened(fs, chunk.src, "rb") as source, opened(fs, chunk.path, "rb") as found:
        source.seek(chunk.offset)
        found.seek(chunk.position)
        return found.read(chunk.size) == source.read(chunk.size)


class Counted:
    """A function that counts its calls, by chunk, and may do something before each."""

    def __init__(self, function: Any, before: Any = None) -> None:
        self.function = function
        self.before = before
        self.offsets: list[int] = []

    def __call__(self, fs, src, dst, offset, *rest, shutdown_event=None) -> Any:
        self.offsets.append(offset)
        if self.before is not None:
            self.before(src, offset, len(self.offsets))
        return self.function(fs, src, dst, offset, *rest, shutdown_event=shutdown_event)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".chunk"))


def wait_until_sent(folder: Path, chunks: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many chunks are sent, by all processes together, or this one has ended."""
    path = folder / "sent"
    while chunks and process.poll() is None:
        if path.exists() and path.read_text().count("\n") >= chunks:
            return
        time.sleep(0.002)
