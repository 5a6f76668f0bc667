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
    add_part,
    fresh_digests,
    read_attributes,
    read_part,
    require_going,
    require_held,
    require_recorded,
)
from jobtool.transfer.ledger.digests import KnownDigests
from jobtool.transfer.partranges import ranges
from jobtool.transfer.plan import Item


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was sent: the MD5 of the data read, the proof, the version that was read."""

    md5: str
    proof: Proof
    version: str | None


def send_whole(item: Item, capacity: Capacity, *, stop: Stop, may_replace: bool) -> Sent:
    """Send a small file from memory."""
    size, destination = item.entry.size, item.route.destination
    with capacity.budget.holding(size):
        content = item.route.source.read(item.entry, 0, size)
        md5 = md5_of(content.data)
        require_recorded(item, recorded=content.attributes.md5, found=md5)
        attributes = replace(content.attributes, md5=md5, may_replace=may_replace)
        require_held(stop, item)
        proof = destination.write(item.destination_path, [content.data], attributes)
    if proof is None:
        composite = composite_md5([Part(number=1, offset=0, size=size, md5=md5)])
        proof = _proof_of(item, md5, composite, attributes, stop)
    return Sent(md5=md5, proof=proof, version=content.version)


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

    def chunks() -> Generator[bytes | memoryview, None, None]:
        for number, offset, length in ranges(item.entry.size, part_size):
            require_held(stop, item)
            require_going(stop, item)
            with capacity.budget.holding(length):
                data = read_part(item, known, offset, length).data
                add_part(known, number, data, capacity)
                yield data
            on_passed(length)
        # Checked before the store publishes the file.
        require_recorded(item, recorded=attributes.md5, found=known.whole or "")
        require_held(stop, item)

    sent = replace(attributes, md5=None, may_replace=may_replace)
    with closing(chunks()) as stream:
        proof = item.route.destination.write(item.destination_path, stream, sent)
        md5 = _require_taken(item, stream, known, stop)
    sent = replace(sent, md5=md5)
    if proof is None:
        proof = _proof_of(item, md5, known.composite(), sent, stop)
    elif proof.md5 != md5:
        _refuse(item, md5, proof.md5 or "something else", stop)
    return Sent(md5=md5, proof=proof, version=known.version)


def _require_taken(
    item: Item, stream: Iterator[bytes | memoryview], known: KnownDigests, stop: Stop
) -> str:
    """Return the MD5 of the whole file. Remove a file that the store has taken only in part."""
    try:
        is_taken = next(stream, None) is None  # False if the store stopped reading before the end
    except ClaimLostError:
        raise
    except JobtoolError:
        _remove(item, stop)
        raise
    if not is_taken or known.whole is None:
        _remove(item, stop)
        raise StoreError(
            f"{quote(item.destination_url)}: its store took only a part of it. What was written "
            "has been removed."
        )
    return known.whole


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
