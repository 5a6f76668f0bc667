"""Compression on the way: which form a file gets, and its transfer in that form."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

from msgspec.structs import replace

from jobtool.errors import FileError, NotFoundError
from jobtool.jobs.forms import ENDINGS, Form, stored_path
from jobtool.md5 import md5_of
from jobtool.stop import Stop
from jobtool.stores.store import Content, Entry, entry_of
from jobtool.transfer.copy import Copied, Copier, Stored, drop_upload
from jobtool.transfer.digests import (
    Paced,
    fresh_digests,
    read_digests,
    read_part,
    require_going,
    require_held,
    require_recorded,
)
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.uploadlog import UploadLog
from jobtool.transfer.packing.checked import (
    LEAST_BYTES,
    TRIED_BYTES,
    CheckedCompressor,
    compressed,
    saved_share,
)
from jobtool.transfer.packing.codecs import codec_of
from jobtool.transfer.packing.contents import PIECE_BYTES, contents_of, read_through
from jobtool.transfer.packing.streams import (
    PIECES_HELD,
    adopted_as,
    begin_stream,
    bytes_held,
    in_form,
)
from jobtool.transfer.packing.trailer import Original, original_in, trailer_bytes
from jobtool.transfer.packing.unpacking import Unpacking
from jobtool.transfer.partranges import part_size_for, ranges
from jobtool.transfer.plan import Item
from jobtool.transfer.whole import Data, proof_of, write_chunks, write_data


class Packing:
    """Transfers the files of a ledger that are compressed or unpacked. Threads may call it."""

    def __init__(self, ledger: Ledger, copier: Copier, *, stop: Stop) -> None:
        self._ledger = ledger
        self._copier = copier
        self._capacity = copier.capacity
        self._stop = stop
        self._unpacking = Unpacking(copier, stop=stop)

    def copy(
        self,
        number: int,
        item: Item,
        log: UploadLog,
        *,
        on_passed: Callable[[int], None],
        may_replace: bool,
    ) -> Copied | None:
        """Try once to transfer a file. Return None if it is left as it is, for ``stream``.

        A small file that doesn't shrink is sent as it is, since it was read. ``on_passed`` is
        passed the number of bytes of the source that the store has taken. Raises the errors of
        stores, and ``StoppedError``.
        """
        form = self._ledger.forms.wanted(number)
        if form is None:
            return None
        with self._copier.liveness.working(item.source_url):
            if form not in ENDINGS:
                return self._unpacking.copy(
                    item, form, log, on_passed=on_passed, may_replace=may_replace
                )
            if item.entry.size < LEAST_BYTES:
                return None
            if item.entry.size < self._copier.part_bytes:
                copied = self._copy_small(item, form, log, may_replace=may_replace)
                on_passed(item.entry.size)
                return copied
            return self._copy_large(item, form, log, on_passed=on_passed, may_replace=may_replace)

    def adopt(self, number: int, item: Item, log: UploadLog) -> Copied | None:
        """Return the proof that the destination holds the same file in either form.

        Return None if it doesn't.
        """
        form = self._ledger.forms.wanted(number)
        if form is not None:
            other = in_form(item, form)
            try:
                there = entry_of(other.route.destination, other.destination_path)
            except NotFoundError:
                there = None
            if there is not None:
                with self._copier.liveness.working(item.source_url):
                    adopted = (
                        self._adopt_compressed(item, other, there, form, log)
                        if form in ENDINGS
                        else self._unpacking.adopt(item, other, there, form)
                    )
                if adopted is not None:
                    return adopted
                if self._ledger.size_at_destination(number) != item.entry.size:
                    return None
        return self._copier.adopt(item, log, stop=self._stop)

    def is_there(self, number: int, item: Item) -> bool:
        """Return True if the destination has the file in the form that it may get."""
        form = self._ledger.forms.wanted(number)
        if form is None:
            return False
        try:
            entry_of(item.route.destination, stored_path(item.destination_path, form))
        except NotFoundError:
            return False
        return True

    def in_the_way(self, number: int, item: Item) -> Item:
        """Return a file at the place at which the destination has it already."""
        form = self._ledger.forms.wanted(number)
        if form is None or not self._ledger.forms.is_wanted_there(number):
            return item
        return in_form(item, form)

    def settle(
        self, number: int, item: Item, copied: Copied, *, may_replace: bool, is_ours: bool
    ) -> None:
        """Remove a file that has arrived from the place of its other form, if it was there before.

        A file at its planned place is removed if it ``may_replace`` it. One at another name may be
        another program's file of its own, so it is removed only if the job has written the file
        before (``is_ours``). What can't be removed stays there: ``verify`` names it.
        """
        form = self._ledger.forms.wanted(number)
        if form is None:
            return
        is_as_planned = copied.stored is None
        if is_as_planned and is_ours and self._ledger.forms.is_wanted_there(number):
            old = in_form(item, form)
        elif not is_as_planned and may_replace and self._ledger.size_at_destination(number) >= 0:
            old = item
        else:
            return
        require_held(self._stop, item)
        with contextlib.suppress(FileError):
            old.route.destination.delete(old.destination_path)

    def _copy_small(self, item: Item, form: Form, log: UploadLog, *, may_replace: bool) -> Copied:
        size = item.entry.size
        with self._capacity.budget.holding(PIECES_HELD * size):
            paced = Paced(self._capacity.throttle, item, self._stop)
            content = paced.read(item.entry, 0, size)
            md5 = md5_of(content.data)
            require_recorded(item, recorded=content.attributes.md5, found=md5)
            drop_upload(item, log, self._stop)
            packed = compressed(item.source_url, codec_of(form), content.data)
            data, sent_md5 = (content.data, md5) if packed is None else packed
            to = item if packed is None else in_form(item, form)
            attributes = replace(content.attributes, md5=sent_md5, may_replace=may_replace)
            proof = write_data(to, data, attributes, self._stop, paced)
        stored = None
        if packed is not None:
            stored = Stored(
                form=form, path=to.destination_path, size=len(data), packed_md5=sent_md5
            )
        return Copied(
            md5=md5, proof=proof, part_size=None, source_version=content.version, stored=stored
        )

    def _copy_large(
        self,
        item: Item,
        form: Form,
        log: UploadLog,
        *,
        on_passed: Callable[[int], None],
        may_replace: bool,
    ) -> Copied | None:
        codec = codec_of(form)
        known = fresh_digests(item, PIECE_BYTES)
        paced = Paced(self._capacity.throttle, item, self._stop)
        with self._capacity.budget.holding(2 * TRIED_BYTES):
            tried: Content = read_part(item, known, 0, min(TRIED_BYTES, item.entry.size), paced)
            attributes, share = tried.attributes, saved_share(codec, tried.data)
            del tried
        if share is None:
            return None
        drop_upload(item, log, self._stop)
        to = in_form(item, form)
        begin_stream(to, form, log)
        made = CheckedCompressor(item.source_url, codec, item.entry.size)
        is_whole = False

        def chunks() -> Generator[Data, None, None]:
            nonlocal is_whole
            for _, offset, length in ranges(item.entry.size, PIECE_BYTES):
                require_held(self._stop, item)
                require_going(self._stop, item)
                yield made.feed(read_part(item, known, offset, length, paced).data)
                on_passed(length)
            # Checked before the store publishes the file.
            require_recorded(item, recorded=attributes.md5, found=made.md5)
            require_held(self._stop, item)
            end = made.finish()
            is_whole = True
            yield end

        def found() -> tuple[str, str] | None:
            return (made.packed_md5, "") if is_whole else None

        sent = replace(attributes, md5=None, may_replace=may_replace)
        with self._capacity.budget.holding(bytes_held(to, round(share * item.entry.size))):
            packed_md5, proof = write_chunks(to, chunks(), sent, found, self._stop, paced)
        return Copied(
            md5=made.md5,
            proof=proof,
            part_size=None,
            source_version=known.version,
            stored=Stored(
                form=form,
                path=to.destination_path,
                size=made.packed_size,
                packed_md5=packed_md5,
            ),
        )

    def _adopt_compressed(
        self, item: Item, other: Item, there: Entry, form: Form, log: UploadLog
    ) -> Copied | None:
        """Compare the content of a compressed file with the source.

        A file without the right trailer couldn't be unpacked later, so it isn't kept either.
        """
        destination = other.route.destination
        part_size = part_size_for(item.entry.size, self._copier.part_bytes)
        digests = read_digests(item, part_size, self._capacity, self._stop, log)
        trailer = min(trailer_bytes(form), there.size)
        end = destination.read(there, there.size - trailer, trailer)
        if original_in(form, end.data) != Original(digests.whole, item.entry.size):
            return None
        contents = contents_of(destination, there, form)
        try:
            with self._capacity.budget.holding(PIECES_HELD * PIECE_BYTES):
                read_through(contents, item.entry.size, lambda: require_going(self._stop, item))
        except FileError as error:
            if error.retryable:
                raise
            return None  # cut short, damaged, or another program's
        if contents.md5 != digests.whole:
            return None
        proof = proof_of(
            destination, other.destination_path, contents.packed_md5, "", digests.attributes
        )
        if proof is None:
            return None
        log.forget_digests()
        return adopted_as(
            form, other, there, digests.whole, contents.packed_md5, proof, digests.parts.version
        )
