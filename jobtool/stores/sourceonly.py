"""The methods that write, for stores that can only be sources: each refuses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from jobtool.errors import FileError
from jobtool.names import quote
from jobtool.stores.store import Attributes, Proof


class SourceOnly:
    """A base class for stores whose ``StoreType`` has ``source_only=True``.

    No worker opens such a store as a destination. These methods complete the protocol of stores.
    """

    url: str

    def url_of(self, path: str) -> str:
        """Return the URL of ``path``; ``""`` is the root."""
        return f"{self.url}/{path}" if path else self.url

    def write(
        self, path: str, chunks: Iterable[bytes | memoryview], attributes: Attributes
    ) -> Proof | None:
        """Raise ``FileError``."""
        self._refuse(path)

    def delete(self, path: str) -> None:
        """Raise ``FileError``."""
        self._refuse(path)

    def sync(self) -> None:
        """Do nothing: nothing was written."""

    def _refuse(self, path: str) -> NoReturn:
        raise FileError(
            f"{quote(self.url_of(path))}: expected a place that can be written; "
            f"{self.url.partition('://')[0]}:// can only be a source"
        )
