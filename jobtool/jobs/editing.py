"""Changing a small file of a joblist that several people may change at the same time."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial

from filelock import FileLock, Timeout

from jobtool.errors import JoblistUnavailableError, reason_of
from jobtool.jobs.atomic_write import staged, sync_folder
from jobtool.names import quote

#: How long to wait for somebody else who changes the file.
_PATIENCE_SECONDS = 10.0

#: How often a change is made anew because the file has changed meanwhile.
_TRIES = 20


def edit_file(
    path: str,
    *,
    lock_path: str,
    read: Callable[[], bytes | None],
    change: Callable[[bytes | None], bytes | None],
    mode_of: str,
) -> None:
    """Replace a file by ``change`` of its bytes, atomically and durably.

    ``read`` returns the bytes that are there, None without a file. ``change`` returns the new
    ones, None to leave the file as it is. It may be called several times. The file gets the
    permissions of the file at ``mode_of``.

    Of several people who change the file, each one's change is made to the result of the others: a
    kernel lock at ``lock_path`` keeps those of this host apart, and the bytes are compared right
    before the rename. Between hosts that share no locks a change could still be lost if two of
    them are renamed within the same millisecond.

    Raises ``JoblistUnavailableError`` if the file can't be written, and what ``read`` and
    ``change`` raise.
    """
    try:
        with _locked(lock_path):
            for _ in range(_TRIES):
                found = read()
                made = change(found)
                if made is None or made == found:
                    return
                if _replace(path, made, is_unchanged=partial(_is, read, found), mode_of=mode_of):
                    return
    except OSError as error:
        raise JoblistUnavailableError(
            f"can't write {quote(path)}: {reason_of(error)}. Nothing was changed."
        ) from None
    raise JoblistUnavailableError(
        f"{quote(path)}: expected a file that nobody else changes for a moment; found that it "
        f"changed {_TRIES} times in a row. Nothing was changed. Try again."
    )


def _is(read: Callable[[], bytes | None], expected: bytes | None) -> bool:
    return read() == expected


def _replace(path: str, data: bytes, *, is_unchanged: Callable[[], bool], mode_of: str) -> bool:
    with staged(path, data) as temporary:
        with contextlib.suppress(OSError):  # then its mode is by the user's mask
            os.chmod(temporary, stat.S_IMODE(os.stat(mode_of).st_mode))
        if not is_unchanged():
            os.unlink(temporary)
            return False
        os.rename(temporary, path)
    sync_folder(os.path.dirname(path))
    return True


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold a lock if that is possible: it may be another user's, or its filesystem has none."""
    lock = FileLock(
        path, timeout=_PATIENCE_SECONDS, thread_local=False, fallback_to_soft=False, mode=0o666
    )
    try:
        lock.acquire()
    except (OSError, NotImplementedError, Timeout):
        yield
        return
    try:
        yield
    finally:
        lock.release()
