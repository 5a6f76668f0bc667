"""An upload under way: its record, with the records of its parts."""

from __future__ import annotations

import msgspec

from jobtool.errors import CredentialsError, FileError
from jobtool.jobs.records import PartRecord, UploadRecord
from jobtool.stores.optional import Multipart, supports
from jobtool.stores.store import Attributes, Part, Upload
from jobtool.transfer.plan import Item


class UploadUnderWay(msgspec.Struct, frozen=True):
    """The upload of a file in parts, and the parts that were sent so far, by number."""

    record: UploadRecord
    parts: dict[int, PartRecord] = msgspec.field(default_factory=dict)

    def at(self, path: str) -> Upload:
        """Return the upload to the destination's ``path``, as stores have it."""
        attributes = Attributes(mtime_ns=self.record.mtime_ns, md5=self.record.md5)
        return Upload(path=path, token=self.record.token, attributes=attributes)

    def abort(self, item: Item) -> None:
        """Drop it at the store, if that takes files in parts.

        An upload that the store refuses to drop stays there: that is no reason for the file to
        fail. Raises only errors after which another try may help.
        """
        if not supports(item.route.destination, Multipart):
            return
        try:
            item.route.destination.abort(self.at(item.destination_path))
        except (CredentialsError, FileError) as error:
            if error.retryable:
                raise


def part_of(record: PartRecord) -> Part:
    """Return the part that a record is about, as stores have it."""
    return Part(
        number=record.number,
        offset=record.offset,
        size=record.size,
        md5=record.md5,
        etag=record.etag,
    )


def record_of(token: str, part: Part) -> PartRecord:
    """Return the record of a part that was sent for the upload ``token``."""
    return PartRecord(
        token=token,
        number=part.number,
        offset=part.offset,
        size=part.size,
        md5=part.md5,
        etag=part.etag,
    )
