"""What streams of compressed and of unpacked bytes have in common."""

from __future__ import annotations

from msgspec.structs import replace

from jobtool.errors import CredentialsError, FileError
from jobtool.jobs.forms import Form, stored_path
from jobtool.stores.optional import Multipart, Temporaries, supports
from jobtool.stores.store import Entry, Proof
from jobtool.transfer.copy import Copied, Stored
from jobtool.transfer.ledger.uploadlog import UploadLog
from jobtool.transfer.packing.contents import PIECE_BYTES
from jobtool.transfer.plan import Item

#: How many times the size of a piece are in memory while a stream is compressed.
PIECES_HELD = 3

#: How much a store that takes parts may hold of a stream, in bytes.
_MOST_HELD_BY_STORE = 128 * 1024 * 1024


def adopted_as(
    form: Form,
    other: Item,
    there: Entry,
    md5: str,
    packed_md5: str,
    proof: Proof,
    version: str | None,
) -> Copied:
    """Return what ``adopt`` returns for a file that is there in another form."""
    return Copied(
        md5=md5,
        proof=proof,
        part_size=None,
        source_version=version,
        was_there=True,
        stored=Stored(
            form=form, path=other.destination_path, size=there.size, packed_md5=packed_md5
        ),
    )


def begin_stream(to: Item, form: Form, log: UploadLog) -> None:
    """Record that a stream begins whose upload a kill would leave at a store that takes parts.

    An upload that an earlier try of the same attempt has left is aborted.
    """
    destination = to.route.destination
    if not supports(destination, Multipart):
        return
    since_ns = log.beginning_as(form)
    if since_ns is None:
        return
    try:
        for upload in destination.leftovers(to.destination_path, since_ns):
            destination.abort(upload)
    except (CredentialsError, FileError) as error:
        if error.retryable:
            raise


def bytes_held(to: Item, expected_bytes: int) -> int:
    """Return how many bytes are in memory while a stream is written to a destination.

    ``expected_bytes`` is the likely size of what is written.
    """
    held = PIECES_HELD * PIECE_BYTES
    destination = to.route.destination
    if supports(destination, Multipart) and not supports(destination, Temporaries):
        held += min(2 * expected_bytes, _MOST_HELD_BY_STORE)
    return held


def in_form(item: Item, form: Form) -> Item:
    """Return a file at the place that it gets in a form."""
    return replace(item, destination_path=stored_path(item.destination_path, form))
