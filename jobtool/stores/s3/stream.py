"""Write a stream of chunks: a short one by one PUT, a long one in parts of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from msgspec.structs import replace

from jobtool.errors import FileError
from jobtool.md5 import MD5, md5_of
from jobtool.names import quote
from jobtool.stores.optional import Multipart
from jobtool.stores.store import Attributes, Part, Proof

#: How many bytes of a stream are held in memory.
STREAM_PART_BYTES = 64 * 1024 * 1024

#: Source: AWS, "Amazon S3 multipart upload limits".
_MAX_PARTS = 10_000

_Bytes = bytes | memoryview


def write_stream(
    store: Multipart,
    path: str,
    chunks: Iterable[_Bytes],
    attributes: Attributes,
    *,
    part_bytes: int = STREAM_PART_BYTES,
) -> Proof | None:
    """Write a whole file in parts, or as one chunk if it isn't longer than a part.

    Raises ``FileError`` for a file of more than 10,000 parts.
    """
    pieces = _pieces(chunks, part_bytes)
    first = next(pieces, b"")
    second = next(pieces, None)
    if second is None:
        return store.write(path, [first], attributes)
    digest = MD5()
    parts: list[Part] = []
    upload = store.begin(path, attributes)
    try:
        for number, piece in enumerate(chain((first, second), pieces), start=1):
            if number > _MAX_PARTS:
                raise FileError(
                    f"{quote(store.url_of(path))}: expected a stream of at most {_MAX_PARTS} "
                    f"parts of {part_bytes} bytes; found a longer one"
                )
            digest.update(piece)
            offset = (number - 1) * part_bytes
            md5 = md5_of(piece)
            parts.append(store.put_part(upload, number, offset, piece, md5))
        whole = attributes.md5 or digest.hexdigest()
        return store.complete(upload, parts, replace(attributes, md5=whole))
    except BaseException:
        store.abort(upload)
        raise


def _pieces(chunks: Iterable[_Bytes], size: int) -> Iterator[bytes]:
    """Yield the same bytes in pieces of one size, except the last."""
    held: list[_Bytes] = []
    held_bytes = 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while held_bytes + len(rest) > size:
            cut = size - held_bytes
            yield b"".join((*held, rest[:cut]))
            held, held_bytes, rest = [], 0, rest[cut:]
        held.append(rest)
        held_bytes += len(rest)
    if held_bytes:
        yield b"".join(held)
