"""Sending a file whole: in one chunk, or as a stream that is hashed while it is read."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import NoReturn

import msgspec
from msgspec.structs import replace

from jobtool.errors import ClaimLostError, JobtoolError, NotFoundError, StoreError
from jobtool.md5 import md5_of
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.optional import Prover, supports
from jobtool.stores.store import Attributes, Part, Proof, Store, composite_md5, mismatch
from jobtool.transfer.capacity import Capacity
from jobtool.transfer.digests import (
    Paced,
    add_part,
    fresh_digests,
    read_attributes,
    read_part,
    require_going,
    require_held,
    require_recorded,
)
from jobtool.transfer.partranges import ranges
from jobtool.transfer.plan import Item

Data = bytes | memoryview


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was sent: the MD5 of the data read, the proof, the version that was read."""

    md5: str
    proof: Proof
    version: str | None


def send_whole(item: Item, capacity: Capacity, *, stop: Stop, may_replace: bool) -> Sent:
    """Send a small file from memory."""
    size = item.entry.size
    with capacity.budget.holding(size):
        paced = Paced(capacity.throttle, item, stop)
        content = paced.read(item.entry, 0, size)
        md5 = md5_of(content.data)
        require_recorded(item, recorded=content.attributes.md5, found=md5)
        attributes = replace(content.attributes, md5=md5, may_replace=may_replace)
        proof = write_data(item, content.data, attributes, stop, paced)
    return Sent(md5=md5, proof=proof, version=content.version)


def write_data(item: Item, data: Data, attributes: Attributes, stop: Stop, paced: Paced) -> Proof:
    """Write a whole file from memory, and prove it. ``attributes`` has its MD5."""
    assert attributes.md5 is not None, "the data was hashed"
    paced.request()
    require_held(stop, item)
    proof = item.route.destination.write(item.destination_path, [data], attributes)
    if proof is None:
        only = Part(number=1, offset=0, size=len(data), md5=attributes.md5)
        paced.owe_request()
        proof = _proof_of(item, attributes.md5, composite_md5([only]), attributes, stop)
    return proof


def send_stream(
    item: Item,
    part_size: int,
    capacity: Capacity,
    *,
    stop: Stop,
    on_passed: Callable[[int], None],
    may_replace: bool,
) -> Sent:
    """Send a large file to a store that doesn't take parts, ``part_size`` bytes at a time.

    ``on_passed`` is passed the number of bytes of each chunk that the store has taken. Raises the
    errors of stores, and ``StoppedError`` between two chunks. Then nothing was published.
    """
    known = fresh_digests(item, part_size)
    attributes = read_attributes(item, known)
    paced = Paced(capacity.throttle, item, stop)

    def chunks() -> Generator[Data, None, None]:
        for number, offset, length in ranges(item.entry.size, part_size):
            require_held(stop, item)
            require_going(stop, item)
            with capacity.budget.holding(length):
                data = read_part(item, known, offset, length, paced).data
                add_part(known, number, data, capacity)
                yield data
            on_passed(length)
        # Checked before the store publishes the file.
        require_recorded(item, recorded=attributes.md5, found=known.whole or "")
        require_held(stop, item)

    sent = replace(attributes, md5=None, may_replace=may_replace)

    def found() -> tuple[str, str] | None:
        return None if known.whole is None else (known.whole, known.composite())

    md5, proof = write_chunks(item, chunks(), sent, found, stop, paced)
    return Sent(md5=md5, proof=proof, version=known.version)


def write_chunks(
    item: Item,
    chunks: Generator[Data, None, None],
    attributes: Attributes,
    found: Callable[[], tuple[str, str] | None],
    stop: Stop,
    paced: Paced,
) -> tuple[str, Proof]:
    """Write a whole file from chunks, and prove it. Return its MD5 and the proof.

    ``found`` returns the MD5 of all chunks and the ETag of these bytes in parts, as
    ``Prover.prove`` takes it; None as long as not all have been taken.
    """
    paced.request()
    with closing(chunks) as stream:
        proof = item.route.destination.write(item.destination_path, stream, attributes)
        md5, composite = _require_taken(item, stream, found, stop)
    if proof is None:
        paced.owe_request()
        proof = _proof_of(item, md5, composite, replace(attributes, md5=md5), stop)
    elif proof.md5 != md5:
        _refuse(item, md5, proof.md5 or "something else", stop)
    return md5, proof


def _require_taken(
    item: Item,
    stream: Iterator[Data],
    found: Callable[[], tuple[str, str] | None],
    stop: Stop,
) -> tuple[str, str]:
    """Return what ``found`` does after the last chunk.

    Remove a file that the store has taken only in part.
    """
    try:
        is_taken = next(stream, None) is None  # False if the store stopped reading before the end
    except ClaimLostError:
        raise
    except JobtoolError:
        _remove(item, stop)
        raise
    digests = found()
    if not is_taken or digests is None:
        _remove(item, stop)
        raise StoreError(
            f"{quote(item.destination_url)}: its store took only a part of it. What was written "
            "has been removed."
        )
    return digests


def proof_of(
    store: Store, path: str, md5: str, composite: str, attributes: Attributes
) -> Proof | None:
    """Return the proof that a file has this MD5; None if it has another, or is missing.

    A ``Prover`` is asked for the proof. Any other store reads the file.
    """
    if supports(store, Prover):
        return store.prove(path, md5, composite, attributes)
    try:
        found = store.digest(path)
    except NotFoundError:
        return None
    return Proof(md5=found, verified_by="read-back") if found == md5 else None


def _proof_of(item: Item, md5: str, composite: str, attributes: Attributes, stop: Stop) -> Proof:
    """Return the proof of the file just written. Delete it and raise if it has another MD5."""
    destination = item.route.destination
    proof = proof_of(destination, item.destination_path, md5, composite, attributes)
    if proof is None:
        _refuse(item, md5, "something else", stop)
    return replace(proof, notes=proof.notes or attributes.notes)


def _refuse(item: Item, sent: str, found: str, stop: Stop) -> NoReturn:
    _remove(item, stop)
    raise mismatch(item.destination_url, sent=sent, found=found)


def _remove(item: Item, stop: Stop) -> None:
    require_held(stop, item)
    item.route.destination.delete(item.destination_path)
