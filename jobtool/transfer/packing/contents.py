"""Opening a compressed file of a store: its content piece by piece, with the digests of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jobtool.errors import JobtoolError, SourceError
from jobtool.jobs.forms import Form
from jobtool.md5 import MD5
from jobtool.names import quote
from jobtool.stores.store import Entry, Store
from jobtool.transfer.packing.codecs import codec_of

#: How many bytes are read, and how many of the content are yielded, at a time.
PIECE_BYTES = 4 * 1024 * 1024


class _Source:
    """Reads a file from its beginning to its end, and hashes it."""

    def __init__(self, size: int, read: Callable[[int, int], bytes | memoryview]) -> None:
        self.digest = MD5()
        self._size, self._read, self._offset = size, read, 0
        self._held = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes."""
        if not self._held and self._offset < self._size:
            length = min(PIECE_BYTES, self._size - self._offset)
            data = self._read(self._offset, length)
            self._offset += length
            self.digest.update(data)
            self._held = memoryview(data)
        taken = self._held if size < 0 else self._held[:size]
        self._held = self._held[len(taken) :]
        return bytes(taken)

    def finish(self) -> None:
        """Read what is left, for its digest: other data may follow the compressed."""
        while self.read():
            pass


class Contents:
    """The content of a compressed file.

    ``read`` returns bytes of the file from an offset. ``url`` names it in errors. Once ``pieces``
    has ended, ``md5`` and ``size`` are those of the content, ``packed_md5`` that of the file.
    """

    def __init__(
        self, url: str, size: int, form: Form, read: Callable[[int, int], bytes | memoryview]
    ) -> None:
        self._url = url
        self._codec = codec_of(form)
        self._source = _Source(size, read)
        self._digest = MD5()
        self.size = 0

    @property
    def md5(self) -> str:
        """The MD5 of the content, in hex."""
        return self._digest.hexdigest()

    @property
    def packed_md5(self) -> str:
        """The MD5 of the compressed file, in hex."""
        return self._source.digest.hexdigest()

    def pieces(self, most_bytes: int) -> Iterator[bytes]:
        """Yield the content, in pieces of at most ``PIECE_BYTES``.

        Raises ``SourceError`` if the file can't be opened, or holds more than ``most_bytes``; and
        the errors of ``read``.
        """
        try:
            reader = self._codec.open(self._source)
            while piece := reader.read(PIECE_BYTES):
                self.size += len(piece)
                if self.size > most_bytes:
                    raise SourceError(
                        f"{quote(self._url)}: expected {most_bytes} bytes in it; found more"
                    )
                self._digest.update(piece)
                yield piece
        except JobtoolError:
            raise
        except self._codec.errors as error:
            raise SourceError(
                f"{quote(self._url)} can't be opened as {self._codec.form}: {error}"
            ) from None
        self._source.finish()


def contents_of(store: Store, entry: Entry, form: Form) -> Contents:
    """Return the content of a listed file. Raises ``UsageError`` if a library is missing."""
    return Contents(
        store.url_of(entry.path),
        entry.size,
        form,
        lambda offset, length: store.read(entry, offset, length).data,
    )


def read_through(contents: Contents, most_bytes: int, watch: Callable[[], None]) -> None:
    """Read a content to its end. ``watch`` is called now and then. Raises as ``pieces``."""
    for _ in contents.pieces(most_bytes):
        watch()
