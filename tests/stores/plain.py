"""A store with the core protocol and nothing else, like the smallest plug-in."""

from __future__ import annotations

from collections.abc import Iterable

from jobtool.stores.memory import MemoryStore
from jobtool.stores.store import Attributes, Capabilities


class PlainStore:
    """Forwards the core protocol to a store in memory. Has no proofs and no parts."""

    capabilities = Capabilities(keeps=frozenset({"times"}))

    def __init__(self, inner: MemoryStore) -> None:
        self.chunk_sizes: list[int] = []
        self.inner = inner
        self.url = inner.url
        self.url_of = inner.url_of
        self.stat = inner.stat
        self.children = inner.children
        self.list = inner.list
        self.read = inner.read
        self.digest = inner.digest
        self.delete = inner.delete
        self.sync = inner.sync

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> None:
        def counted():
            for chunk in chunks:
                self.chunk_sizes.append(len(chunk))
                yield chunk

        self.inner.write(path, counted(), Attributes(mtime_ns=attributes.mtime_ns))
