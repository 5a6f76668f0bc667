"""Unpacking on the way: files that jobtool has compressed become what they were."""

from __future__ import annotations

from collections.abc import Callable, Generator

from msgspec.structs import replace

from jobtool.errors import SourceDigestError
from jobtool.jobs.forms import Form
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.store import Attributes, Entry
from jobtool.transfer.copy import Copied, Copier, Stored, drop_upload
from jobtool.transfer.digests import (
    Paced,
    fresh_digests,
    read_part,
    require_going,
    require_held,
    require_recorded,
)
from jobtool.transfer.ledger.digests import KnownDigests
from jobtool.transfer.ledger.uploadlog import UploadLog
from jobtool.transfer.packing.contents import PIECE_BYTES, Contents
from jobtool.transfer.packing.streams import (
    PIECES_HELD,
    adopted_as,
    begin_stream,
    bytes_held,
    in_form,
)
from jobtool.transfer.packing.trailer import Original, original_in, trailer_bytes
from jobtool.transfer.plan import Item
from jobtool.transfer.whole import Data, proof_of, write_chunks

_PACKED: dict[Form, Form] = {"unpack-zstd": "zstd", "unpack-gzip": "gzip"}


class Unpacking:
    """Transfers compressed files as their originals. Threads may call it.

    Files without jobtool's trailer are left as they are: they were compressed before, and the
    original tree had them so.
    """

    def __init__(self, copier: Copier, *, stop: Stop) -> None:
        self._capacity = copier.capacity
        self._stop = stop

    def copy(
        self,
        item: Item,
        form: Form,
        log: UploadLog,
        *,
        on_passed: Callable[[int], None],
        may_replace: bool,
    ) -> Copied | None:
        """Try once to transfer a file; see ``Packing.copy``.

        Raises ``SourceDigestError`` if the content isn't the original.
        """
        paced = Paced(self._capacity.throttle, item, self._stop)
        source = _PackedSource(item, _PACKED[form], paced)
        original = source.original
        if original is None:
            return None
        drop_upload(item, log, self._stop)
        to = in_form(item, form)
        begin_stream(to, form, log)
        contents = source.contents(on_passed)
        is_whole = False

        def chunks() -> Generator[Data, None, None]:
            nonlocal is_whole
            for piece in contents.pieces(original.size):
                require_held(self._stop, item)
                require_going(self._stop, item)
                yield piece
            # Checked before the store publishes the file.
            source.require_original(contents)
            require_held(self._stop, item)
            is_whole = True

        def found() -> tuple[str, str] | None:
            return (contents.md5, "") if is_whole else None

        sent = replace(source.attributes, md5=original.md5, may_replace=may_replace)
        with self._capacity.budget.holding(bytes_held(to, original.size)):
            md5, proof = write_chunks(to, chunks(), sent, found, self._stop, paced)
        return Copied(
            md5=md5,
            proof=proof,
            part_size=None,
            source_version=source.known.version,
            stored=Stored(
                form=form,
                path=to.destination_path,
                size=contents.size,
                packed_md5=contents.packed_md5,
            ),
        )

    def adopt(self, item: Item, other: Item, there: Entry, form: Form) -> Copied | None:
        """Return the proof that ``there`` is the original of the file; None if it isn't."""
        paced = Paced(self._capacity.throttle, item, self._stop)
        source = _PackedSource(item, _PACKED[form], paced)
        if source.original is None or source.original.size != there.size:
            return None
        contents = source.contents(lambda size: None)
        with self._capacity.budget.holding(PIECES_HELD * PIECE_BYTES):
            for _ in contents.pieces(source.original.size):
                require_going(self._stop, item)
        source.require_original(contents)
        md5 = contents.md5
        proof = proof_of(
            other.route.destination, other.destination_path, md5, "", source.attributes
        )
        if proof is None:
            return None
        return adopted_as(form, other, there, md5, contents.packed_md5, proof, source.known.version)


class _PackedSource:
    """A source file that jobtool may have compressed. All reads are of one version of it."""

    def __init__(self, item: Item, form: Form, paced: Paced) -> None:
        self.known: KnownDigests = fresh_digests(item, PIECE_BYTES)
        self._item, self._form, self._paced = item, form, paced
        size = item.entry.size
        length = min(size, trailer_bytes(form))
        end = read_part(item, self.known, size - length, length, paced)
        self.attributes: Attributes = end.attributes
        #: What its trailer says of the original; None if it has none.
        self.original: Original | None = original_in(form, end.data)

    def contents(self, on_passed: Callable[[int], None]) -> Contents:
        """Return its content. ``on_passed`` is passed the number of bytes of each read."""

        def read(offset: int, length: int) -> Data:
            data = read_part(self._item, self.known, offset, length, self._paced).data
            on_passed(length)
            return data

        return Contents(self._item.source_url, self._item.entry.size, self._form, read)

    def require_original(self, contents: Contents) -> None:
        """Raise ``SourceDigestError`` unless a content that was read is the original."""
        require_recorded(self._item, recorded=self.attributes.md5, found=contents.packed_md5)
        if self.original != Original(contents.md5, contents.size):
            raise SourceDigestError(
                f"{quote(self._item.source_url)}: expected an original of MD5 "
                f"{self.original and self.original.md5} in it, as its end says; found "
                f"{contents.md5}. The file is damaged."
            )
