"""The upload of a file in parts: taken up from an earlier try or attempt, or begun."""

from __future__ import annotations

from jobtool.errors import CredentialsError, FileError, NotFoundError, RefusedError
from jobtool.stop import Stop
from jobtool.stores.optional import Multipart
from jobtool.stores.store import Attributes, Part, Upload
from jobtool.transfer.digests import require_held
from jobtool.transfer.ledger.uploadlog import UploadLog
from jobtool.transfer.ledger.uploads import part_of
from jobtool.transfer.plan import Item


def take_up(destination: Multipart, item: Item, log: UploadLog) -> tuple[Upload, list[Part]] | None:
    """Return the upload that ``log`` names, and the parts that need not be sent again.

    Returns None if there is none, or if it can't be taken up; ``log`` forgets it then.
    """
    under_way = log.under_way
    if under_way is None:
        return None
    upload = under_way.at(item.destination_path)
    try:
        sent = [part_of(record) for record in under_way.parts.values()]
        return upload, [*destination.held_parts(upload, sent)]
    except (NotFoundError, RefusedError, CredentialsError):
        log.dropped()  # gone, or the credentials don't allow a look: begin a new upload
        return None


def begin(
    destination: Multipart,
    item: Item,
    log: UploadLog,
    attributes: Attributes,
    part_size: int,
    stop: Stop,
) -> Upload:
    """Begin an upload in parts of ``part_size`` bytes, and record it.

    Raises the errors of writing, and ``ClaimLostError``.
    """
    require_held(stop, item)
    since_ns = log.beginning()
    if since_ns is not None:
        _drop_lost(destination, item, since_ns)
    upload = destination.begin(item.destination_path, attributes)
    log.begun(upload, part_size)
    return upload


def _drop_lost(destination: Multipart, item: Item, since_ns: int) -> None:
    """Abort an upload that was begun but whose answer was lost."""
    try:
        for upload in destination.leftovers(item.destination_path, since_ns):
            destination.abort(upload)
    except (CredentialsError, FileError) as error:
        if error.retryable:
            raise
        # Without permission to list, or at a server that can't list uploads, it stays.
