"""A store that remembers which of its folders were listed."""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.stores.local import LocalStore
from jobtool.stores.store import Child, StatResult


class RecordingStore:
    """Wraps a local folder; ``listed`` holds the listed folders, in order."""

    def __init__(self, root: object) -> None:
        self._store = LocalStore(str(root))
        self.listed: list[str] = []

    def children(self, path: str) -> Iterator[Child]:
        self.listed.append(path)
        return self._store.children(path)

    def stat(self, path: str, *, file_only: bool = False) -> StatResult:
        return self._store.stat(path, file_only=file_only)
