"""Write a stream of chunks: a short one by one request, a long one in blocks."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain

from msgspec.structs import replace

from jobtool.errors import FileError, JobtoolError
from jobtool.names import quote
from jobtool.stores.azure.blocks import MAX_BLOCKS
from jobtool.stores.optional import Multipart
from jobtool.stores.store import Attributes, Part, Proof, mismatch

#: How many bytes of a stream are held in memory: at first, and after some blocks. All blocks
#: together hold 4 TB.
_BLOCK_BYTES = 16 * 1024 * 1024
_LATER_BLOCK_BYTES = 96 * 1024 * 1024
_FIRST_BLOCKS = 5_000

_Bytes = bytes | memoryview


def write_stream(
    store: Multipart,
    path: str,
    chunks: Iterable[_Bytes],
    attributes: Attributes,
    *,
    block_bytes: int = _BLOCK_BYTES,
) -> Proof | None:
    """Write a whole file in blocks, or as one chunk if it isn't longer than a block.

    Raises ``FileError`` for a file of more than 50,000 blocks.
    """
    pieces = _pieces(chunks, block_bytes)
    first = next(pieces, b"")
    second = next(pieces, None)
    if second is None:
        return store.write(path, [first], attributes)
    digest = hashlib.md5(usedforsecurity=False)
    parts: list[Part] = []
    offset = 0
    upload = store.begin(path, attributes)
    try:
        for number, piece in enumerate(chain((first, second), pieces), start=1):
            if number > MAX_BLOCKS:
                raise FileError(
                    f"{quote(store.url_of(path))}: expected a stream of at most {MAX_BLOCKS} "
                    f"blocks ({offset} bytes so far); found a longer one"
                )
            digest.update(piece)
            md5 = hashlib.md5(piece, usedforsecurity=False).hexdigest()
            parts.append(store.put_part(upload, number, offset, piece, md5))
            offset += len(piece)
        found = digest.hexdigest()
        if attributes.md5 not in (None, found):
            raise mismatch(store.url_of(path), sent=attributes.md5, found=found)
        return store.complete(upload, parts, replace(attributes, md5=found))
    except BaseException:
        with contextlib.suppress(JobtoolError):
            store.abort(upload)
        raise


def _pieces(chunks: Iterable[_Bytes], size: int) -> Iterator[bytes]:
    """Yield the same bytes in pieces of ``size``, later of a larger size."""
    held: list[_Bytes] = []
    held_bytes = count = 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while held_bytes + len(rest) > size:
            cut = size - held_bytes
            yield b"".join((*held, rest[:cut]))
            held, held_bytes, rest = [], 0, rest[cut:]
            count += 1
            if count == _FIRST_BLOCKS:
                size = max(size, _LATER_BLOCK_BYTES)
        held.append(rest)
        held_bytes += len(rest)
    if held_bytes:
        yield b"".join(held)
