"""Deleting staged files: just those, and only as long as they are as they were staged."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Literal

from jobtool.audit.evidence import is_other_time
from jobtool.errors import FileError, reason_of
from jobtool.jobs.records import Receipt
from jobtool.names import quote
from jobtool.stores.location import join, type_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry
from jobtool.transfer.retry import Retry

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

#: What is at the place of a staged file: the file as it was staged, nothing, or anything else.
Found = Literal["same", "gone", "changed"]


class LocalFiles:
    """The files of an item in a folder of this machine, below ``root``. No link is followed."""

    def __init__(self, root: str, item: str) -> None:
        self._root = root
        self._item = item
        self._folders: set[str] = set()

    def look(self, path: str, receipt: Receipt) -> Found:
        """Return what is at ``path``, relative to the item. Raises ``FileError``."""
        with self._folder(path) as (folder, name):
            return "gone" if folder is None else _look_at(folder, name, receipt)

    def remove(self, path: str, receipt: Receipt) -> Found:
        """Delete a file if it is as it was staged; return what was there. Raises ``FileError``."""
        with self._folder(path) as (folder, name):
            if folder is None:
                return "gone"
            found = _look_at(folder, name, receipt)
            if found == "same":
                os.unlink(name, dir_fd=folder)
                self._folders.add(os.path.dirname(path))
            return found

    def finish(self) -> None:
        """Remove the folders of deleted files that are empty now, and make all that durable."""
        folders = set(self._folders)
        for folder in self._folders:
            parts = folder.split("/")
            folders.update("/".join(parts[:count]) for count in range(len(parts)))
        for folder in sorted(folders, key=lambda each: each.count("/") + bool(each), reverse=True):
            with contextlib.suppress(FileError), self._folder(folder) as (above, name):
                if above is None:
                    continue
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=above)
                with contextlib.suppress(OSError):
                    os.fsync(above)

    @contextlib.contextmanager
    def _folder(self, path: str) -> Iterator[tuple[int | None, str]]:
        """Open the folder of a path step by step; yield it, or None, and the last name."""
        whole = join(self._item, path) if path else self._item
        *parents, name = whole.split("/")
        held: int | None = None
        try:
            held = os.open(self._root, _FLAGS)  # without it nothing is known about the files
            for parent in parents:
                following = _open_below(held, parent)
                os.close(held)
                held = following
                if held is None:
                    break
            yield held, name
        except OSError as error:
            raise FileError(
                f"can't look at or delete {quote(join(self._root, whole))}: {reason_of(error)}"
            ) from None
        finally:
            if held is not None:
                os.close(held)


def _open_below(folder: int, name: str) -> int | None:
    """Open a folder; return None if there is none.

    With a link in its place, the staged files aren't there any more, whatever the link leads to.
    """
    try:
        return os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def _look_at(folder: int, name: str, receipt: Receipt) -> Found:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return "gone"
    is_same = (
        stat.S_ISREG(found.st_mode)
        and found.st_size == receipt.stored_size
        and not is_other_time(receipt.mtime_ns, found.st_mtime_ns)
    )
    return "same" if is_same else "changed"


class StoredFiles:
    """The files of an item in any other store."""

    def __init__(self, root: str, item: str, stores: StoreRegistry, retry: Retry) -> None:
        self._store = stores.open(root, "destination", owner=f"unstage {root}")
        self._item = item
        self._retry = retry
        kind = type_of(root)
        self._has_own_times = kind is not None and kind.lists_own_times

    def look(self, path: str, receipt: Receipt) -> Found:
        """Return what is at ``path``, relative to the item. Raises the store's errors."""
        whole = self._whole(path)
        found = self._retry.call(lambda: self._store.stat(whole, file_only=True))
        if not isinstance(found, Entry):
            return "gone" if found == "missing" else "changed"
        if found.size != receipt.stored_size:
            return "changed"
        if self._has_own_times:
            is_other = is_other_time(receipt.mtime_ns, found.mtime_ns)
            return "changed" if is_other else "same"
        if found.etag and receipt.etag:
            return "same" if found.etag == receipt.etag else "changed"
        md5 = self._retry.call(lambda: self._store.digest(whole))
        return "same" if md5 == receipt.stored_md5 else "changed"

    def remove(self, path: str, receipt: Receipt) -> Found:
        """Delete a file if it is as it was staged; return what was there."""
        found = self.look(path, receipt)
        if found == "same":
            self._retry.call(lambda: self._store.delete(self._whole(path)))
        return found

    def finish(self) -> None:
        """Make the deletions durable."""
        self._store.sync()

    def _whole(self, path: str) -> str:
        return join(self._item, path) if path else self._item
