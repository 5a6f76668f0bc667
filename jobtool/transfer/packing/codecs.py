"""The two formats: compressors, and readers that open what they made in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import IO, Any, Protocol, cast

import msgspec

from jobtool.errors import UsageError
from jobtool.jobs.forms import Compression, Form
from jobtool.methods.method import OWN_METHODS, STREAM

#: The programs' own levels, 3 and 6, save a few hundredths more, and take two to four times as long
#: on images and tables of numbers.
_ZSTD_LEVEL = 2
_GZIP_LEVEL = 4

#: Compressed data that needs a larger window isn't opened: decoders should support 8 MiB (RFC 8878,
#: section 3.1.1.1.2), and jobtool's compressors use 2 MiB.
_MOST_WINDOW_BYTES = 8 * 1024 * 1024

_GZIP_FORMAT = 31  # of zlib: a gzip header and trailer

_Bytes = bytes | memoryview


class Compressor(Protocol):
    """A compressor that is fed piece by piece."""

    def feed(self, data: _Bytes, /) -> bytes:
        """Take a piece. Return the output for it, from which all of the piece can be opened."""

    def finish(self) -> bytes:
        """Return the end of the output."""


class Decompressor(Protocol):
    """A decompressor that is fed piece by piece."""

    def feed(self, data: _Bytes, /) -> bytes:
        """Take a piece. Return the output for it."""

    @property
    def is_ended(self) -> bool:
        """Whether the end of the compressed data was fed, and its checksum fits."""


class Readable(Protocol):
    """Something to read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


class Codec(msgspec.Struct, frozen=True, kw_only=True):
    """A format.

    ``compress`` begins to compress data of a number of bytes, ``decompress`` to open what that
    makes, and ``open`` returns a reader of the content of any file. A reader raises one of
    ``errors`` for a file that can't be opened.
    """

    form: Form
    compress: Callable[[int], Compressor]
    decompress: Callable[[], Decompressor]
    open: Callable[[Readable], Readable]
    errors: tuple[type[Exception], ...]


def codec_of(form: Form) -> Codec:
    """Return the format of a compressed form. Raises ``UsageError`` if its library is missing."""
    if form in ("gzip", "unpack-gzip"):
        return _GZIP
    return _zstd()


def require_usable(compression: Compression, methods: Sequence[str]) -> None:
    """Raise ``UsageError`` if files can't be compressed here.

    That is so if a library isn't installed, and if the order of ``methods`` names others than
    jobtool's own: what those bring isn't compressed.
    """
    if compression == "none":
        return
    others = [name for name in methods if name not in OWN_METHODS]
    if others or STREAM not in methods:
        raise UsageError(
            f"compression {compression!r}: expected the method {STREAM!r} and no other program's; "
            f"found {', '.join(methods)}. Leave out {', '.join(others) or 'methods'}, or the "
            "compression."
        )
    require_library(compression)


def require_library(compression: Compression) -> None:
    """Raise ``UsageError`` if the library that a setting needs isn't installed."""
    if compression in ("zstd", "unpack") and find_spec("zstandard") is None:
        raise UsageError(
            f"compression {compression!r} needs the Python module zstandard, which isn't installed "
            "here. Install it wherever workers run: pip install 'jobtool[compression]'"
        )


class _Compressing:
    """``flush`` returns all of the output so far, ``end`` also the end of the format."""

    def __init__(
        self, feed: Callable[[_Bytes], bytes], flush: Callable[[], bytes], end: Callable[[], bytes]
    ) -> None:
        self._feed, self._flush = feed, flush
        self.finish = end

    def feed(self, data: _Bytes, /) -> bytes:
        return self._feed(data) + self._flush()


class _Decompressing:
    """``made`` is an object of either library, which have the same interface."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def feed(self, data: _Bytes, /) -> bytes:
        return cast(bytes, self._made.decompress(data))

    @property
    def is_ended(self) -> bool:
        return bool(self._made.eof)


def _gzip_compressor(size: int) -> Compressor:
    made = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    return _Compressing(made.compress, lambda: made.flush(zlib.Z_SYNC_FLUSH), made.flush)


def _open_gzip(source: Readable) -> Readable:
    return gzip.GzipFile(fileobj=cast(IO[bytes], source), mode="rb")


_GZIP = Codec(
    form="gzip",
    compress=_gzip_compressor,
    decompress=lambda: _Decompressing(zlib.decompressobj(_GZIP_FORMAT)),
    open=_open_gzip,
    errors=(OSError, EOFError, zlib.error),
)


def _zstd() -> Codec:
    require_library("zstd")
    import zstandard

    def compressor(size: int) -> Compressor:
        made = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj(size)
        return _Compressing(
            made.compress,
            lambda: made.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK),
            lambda: made.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH),
        )

    def opened(source: Readable) -> Readable:
        made = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES)
        return made.stream_reader(cast(IO[bytes], source), read_across_frames=True)

    return Codec(
        form="zstd",
        compress=compressor,
        decompress=lambda: _Decompressing(zstandard.ZstdDecompressor().decompressobj()),
        open=opened,
        errors=(zstandard.ZstdError,),
    )
