"""The body of a request of WebHDFS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Body:
    """The chunks of a request, as urllib3 takes them. Remembers if they broke off."""

    def __init__(self, chunks: Iterable[bytes | memoryview]) -> None:
        self._chunks = chunks
        self.has_failed = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                if len(chunk):
                    yield bytes(chunk)
        except GeneratorExit:
            raise
        except BaseException:
            self.has_failed = True
            raise
