"""Calls of a filesystem of fsspec: from many threads, with jobtool's errors."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from jobtool.errors import JobtoolError
from jobtool.stores.anyfs.errors import of_failure

#: Filesystems that aren't asynchronous, and that several threads may use all the same. Most others
#: have one connection, or one position in a file.
_FOR_THREADS = frozenset({"file", "local", "github", "gist"})


class Filesystem:
    """A filesystem that is made when it is first used, since making it may contact a server.

    Asynchronous filesystems are called from all threads at once, most others by one at a time.
    """

    def __init__(self, make: Callable[[], fsspec.AbstractFileSystem]) -> None:
        self._make = make
        self._made: fsspec.AbstractFileSystem | None = None
        self._making = threading.Lock()
        self._turn: AbstractContextManager[Any] = threading.RLock()

    @contextmanager
    def use(self, url: str) -> Iterator[fsspec.AbstractFileSystem]:
        """Yield the filesystem for calls about ``url``. Errors are those of ``of_failure``."""
        try:
            made = self._get()
            with self._turn:
                yield made
        except JobtoolError:
            raise
        except Exception as error:  # of another package: it may be anything
            raise of_failure(error, url) from None

    def _get(self) -> fsspec.AbstractFileSystem:
        with self._making:
            if self._made is None:
                self._made = self._make()
                if self._made.async_impl or not _FOR_THREADS.isdisjoint(protocols(self._made)):
                    self._turn = nullcontext()
            return self._made


def held(fs: fsspec.AbstractFileSystem) -> Filesystem:
    """Return a filesystem that has been made."""
    return Filesystem(lambda: fs)


def protocols(fs: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    """Return the schemes of a filesystem."""
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def can_rename(fs: fsspec.AbstractFileSystem) -> bool:
    """Return True if a file can be moved over another in one step.

    fsspec's own ``mv`` copies and removes. A filesystem that can do better has another.
    """
    if isinstance(fs, MemoryFileSystem):
        return True
    own = ("mv", "mv_file", "rename")
    return any(
        getattr(type(fs), name, None) is not getattr(fsspec.AbstractFileSystem, name, None)
        for name in own
    )


def rename(fs: fsspec.AbstractFileSystem, old: str, new: str) -> None:
    """Move a file over another. Names aren't patterns here, as they are for some ``mv``."""
    if isinstance(fs, MemoryFileSystem):
        fs.cp_file(old, new)
        fs.rm_file(old)
    else:
        fs.mv(old, new)


def drop(file: Any) -> bool:
    """Give up a file that is being written. Return True if nothing of it is published.

    Closing it would finish an upload, so that half a file would be there.
    """
    discard = getattr(file, "discard", None)
    if discard is not None:
        with contextlib.suppress(Exception):
            discard()
            file.closed = True  # it is closed again when it is collected
            return True
    with contextlib.suppress(Exception):
        file.close()
    return False
