"""Atomic writing: a kill or a power failure leaves the old or the new file, never a torn one."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp", re.DOTALL)


#: How many temporary files in a row may vanish before a writer gives up. A worker that lists the
#: folder meanwhile may remove one, taking it for the file of a killed writer.
_TRIES = 5


def replace_file(path: str, data: bytes, *, before: Callable[[], None] | None = None) -> None:
    """Put ``data`` at ``path``, atomically and durably, whatever exists there.

    Writes and syncs a file of a unique temporary name beside it, renames that, and syncs the
    folder. The mode follows the user's mask. ``before`` is called right before the rename; an
    exception from it prevents the rename. Raises ``OSError``.
    """
    for tries_left in reversed(range(_TRIES)):
        with staged(path, data) as temporary:
            if before is not None:
                before()
            try:
                os.rename(temporary, path)
                break
            except FileNotFoundError:  # another worker has removed it
                if not tries_left:
                    raise
    sync_folder(os.path.dirname(path))


def create_file(path: str, data: bytes) -> bool:
    """Put ``data`` at ``path`` unless something exists there; return True if it was written.

    Readers see nothing or all of it, and of several writers one wins. The folder isn't synced: call
    ``sync_folder`` once after many files. Raises ``OSError``.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(FileNotFoundError), staged(path, data) as temporary:
            return _move_unless_there(temporary, path)
    with staged(path, data) as temporary:
        return _move_unless_there(temporary, path)


def _move_unless_there(temporary: str, path: str) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        _remove(temporary)
        return False
    except OSError:  # a filesystem without hard links, or another worker has removed it
        if os.path.lexists(path):
            _remove(temporary)
            return False
        os.rename(temporary, path)
    else:
        _remove(temporary)
    return True


def _remove(temporary: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def target_of(name: str) -> str | None:
    """Return the name that a temporary file was to get; None if it isn't a temporary file."""
    match = _TEMPORARY.fullmatch(name)
    return match.group(1) if match else None


def remove_temporaries(folder: str, name: str) -> None:
    """Remove the temporary files that killed writers of a file have left; raises nothing.

    A writer whose file vanishes writes another one.
    """
    with contextlib.suppress(OSError):
        for found in os.listdir(folder):
            if target_of(found) == name:
                _remove(os.path.join(folder, found))


@contextlib.contextmanager
def staged(path: str, data: bytes) -> Iterator[str]:
    """Write ``data`` durably under a hidden, unique name beside ``path`` and yield that name.

    The block renames or removes it; if it raises, the file is removed.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield temporary
    except BaseException:
        _remove(temporary)
        raise
