"""Write a stream of chunks in parts of growing size, or a short one by one request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import chain

from msgspec.structs import replace

from jobtool.errors import FileError, JobtoolError
from jobtool.md5 import MD5, md5_of
from jobtool.names import quote
from jobtool.stores.optional import Multipart
from jobtool.stores.store import Attributes, Part, Proof, mismatch

#: How many bytes of a stream are held in memory: at first, and after a tenth of all parts.
_PART_BYTES = 16 * 1024 * 1024
_LATER_PART_BYTES = 96 * 1024 * 1024

_Bytes = bytes | memoryview


def only_chunk(chunks: Iterable[_Bytes]) -> tuple[_Bytes | None, Iterator[_Bytes]]:
    """Return the chunk if there is at most one, which may be empty; else None and all chunks."""
    if isinstance(chunks, list) and len(chunks) == 1:
        return chunks[0], iter(())
    rest = iter(chunks)
    first = next(rest, b"")
    second = next(rest, None)
    if second is None:
        return first, iter(())
    return None, chain((first, second), rest)


def write_stream(
    store: Multipart,
    path: str,
    chunks: Iterable[_Bytes],
    attributes: Attributes,
    *,
    most_parts: int,
    part_bytes: int = _PART_BYTES,
) -> Proof | None:
    """Write a whole file in parts, or as one chunk if it isn't longer than a part.

    If ``chunks`` raises, nothing is left. Raises ``FileError`` for more than ``most_parts``.
    """
    pieces = _pieces(chunks, part_bytes, most_parts // 10)
    first = next(pieces, b"")
    second = next(pieces, None)
    if second is None:
        return store.write(path, [first], attributes)
    whole = chain((first, second), pieces)
    del first, second  # each piece is held only while it is sent
    digest = MD5()
    parts: list[Part] = []
    offset = 0
    upload = store.begin(path, attributes)
    try:
        for number, piece in enumerate(whole, start=1):
            if number > most_parts:
                raise FileError(
                    f"{quote(store.url_of(path))}: expected a stream of at most {most_parts} "
                    f"parts ({offset} bytes so far); found a longer one"
                )
            digest.update(piece)
            parts.append(store.put_part(upload, number, offset, piece, md5_of(piece)))
            offset += len(piece)
            del piece
        found = digest.hexdigest()
        if attributes.md5 not in (None, found):
            raise mismatch(store.url_of(path), sent=attributes.md5, found=found)
        return store.complete(upload, parts, replace(attributes, md5=found))
    except BaseException:
        with contextlib.suppress(JobtoolError):
            store.abort(upload)
        raise


def _pieces(chunks: Iterable[_Bytes], size: int, first_pieces: int) -> Iterator[bytes]:
    """Yield the same bytes in pieces of ``size``, after ``first_pieces`` of a larger size."""
    held: list[_Bytes] = []
    held_bytes = count = 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while held_bytes + len(rest) > size:
            cut = size - held_bytes
            yield b"".join((*held, rest[:cut]))
            held, held_bytes, rest = [], 0, rest[cut:]
            count += 1
            if count == first_pieces:
                size = max(size, _LATER_PART_BYTES)
        held.append(rest)
        held_bytes += len(rest)
    if held_bytes:
        yield b"".join(held)
