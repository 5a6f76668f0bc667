"""List a tree of HDFS in the order of its paths, and one folder of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jobtool.errors import FileError, NotFoundError, SourceError
from jobtool.names import quote
from jobtool.stores.hdfs.client import Client, Status
from jobtool.stores.store import Child, Entry, Special, Unlisted, within_64_bits

Listed = Entry | Special | Unlisted


def entry_of(path: str, status: Status) -> Entry:
    """Return the entry of a file."""
    return Entry(path, status.size, within_64_bits(status.mtime_ms * 1_000_000))


def folder_of(client: Client, full: str, url: str) -> list[Status]:
    """Return what is in a folder, in the order of whole paths: a folder sorts with a slash.

    Raises ``NotFoundError``, or ``SourceError`` for a file.
    """
    try:
        found = list(client.list(full))
    except NotFoundError:
        raise NotFoundError(f"expected a folder at {quote(url)}; found nothing") from None
    if len(found) == 1 and found[0].name in ("", full.rpartition("/")[2]):
        # A file lists itself. So may a folder with one entry of its own name.
        itself = client.status(full)
        if itself is not None and not itself.is_folder:
            raise SourceError(f"expected a folder at {quote(url)}; found a file")
    # The NameNode compares signed bytes, so its own order isn't that of paths.
    found.sort(key=lambda each: f"{each.name}/".encode() if each.is_folder else each.name.encode())
    return found


def children(client: Client, full: str, url: str) -> Iterator[Child]:
    """Yield what is directly inside a folder, sorted by name."""
    found = folder_of(client, full, url)
    found.sort(key=lambda each: each.name)
    yield from (Child(each.name, each.is_folder) for each in found)


def tree(
    client: Client, root: str, url: str, excludes: Callable[[str], bool] | None = None
) -> Iterator[Listed]:
    """Yield everything below ``root``. Holds the names of the folders on the way down.

    A folder that ``excludes`` is the special ``excluded-folder``, and isn't opened.
    """
    stack: list[tuple[str, Iterator[Status]]] = [("", iter(folder_of(client, root or "/", url)))]
    while stack:
        prefix, rest = stack[-1]
        status = next(rest, None)
        if status is None:
            stack.pop()
            continue
        path = prefix + status.name
        if not status.is_folder:
            yield entry_of(path, status)
            continue
        if excludes is not None and excludes(path):
            yield Special(path, "excluded-folder")
            continue
        try:
            below = folder_of(client, f"{root}/{path}", f"{url}/{path}")
        except FileError as error:
            yield Unlisted(path, error, is_folder=True)
            continue
        if below:
            stack.append((f"{path}/", iter(below)))
        else:
            yield Special(path, "empty-folder")
