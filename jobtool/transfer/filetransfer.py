"""The transfer of one file of a job, from the decision what to do to its receipt."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from msgspec.structs import replace

from jobtool.errors import (
    FileError,
    JobtoolError,
    NotFoundError,
    NotYetError,
    ServerError,
    SourceChangedError,
    StoreError,
    UnreachableError,
)
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.store import entry_of
from jobtool.transfer.copy import Copied, Copier, copied_of, drop_upload
from jobtool.transfer.decision import Action, Known, decide, may_replace
from jobtool.transfer.digests import is_hashed_first
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.uploadlog import UploadLog
from jobtool.transfer.notes import Notes
from jobtool.transfer.packing.packing import Packing
from jobtool.transfer.partqueue import PartQueues
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Item
from jobtool.transfer.policies import Policies
from jobtool.transfer.progress import Tally
from jobtool.transfer.receiptwriter import ReceiptWriter
from jobtool.transfer.retry import Retry, Successes
from jobtool.transfer.serverside import ServerSide
from jobtool.transfer.together import Together, send_together
from jobtool.transfer.whole import Sent


class FileTransfer:
    """Transfers files of a ledger to their destinations. Threads may call it.

    ``worker`` is named in receipts. Large files open a queue of their parts in ``queues``.
    Attributes that files arrive without are added to ``notes``, bytes and files sent to ``tally``.
    ``server_side`` gets files before they are streamed, unless the policies ask for compression.
    """

    def __init__(
        self,
        ledger: Ledger,
        copier: Copier,
        *,
        policies: Policies,
        worker: str,
        stop: Stop,
        retry: Retry,
        queues: PartQueues,
        tally: Tally,
        notes: Notes,
        server_side: ServerSide | None = None,
    ) -> None:
        self._ledger = ledger
        self._plan = ledger.plan
        self._copier = copier
        self._policies = policies
        self._stop = stop
        self._retry = retry
        self.queues = queues
        self._tally = tally
        self._receipts = ReceiptWriter(ledger, notes, worker)
        self._packing: Packing | None = None
        if policies.compression != "none":
            self._packing = Packing(ledger, copier, stop=stop)
        self._server_side = server_side if self._packing is None else None
        self._errors: dict[int, JobtoolError] = {}  # of tries with others, by number
        self.together = Together(ledger, copier.throttle, policies)

    def transfer(self, number: int) -> tuple[Item, Copied] | None:
        """Transfer one file, with further tries if needed, and record its receipt.

        Returns the file as it was when it arrived. Returns None if it needn't be transferred any
        more, or if a method claimed it and it isn't there, isn't the same or can't be read. Raises
        the error of the last try.
        """
        own = Successes(self._retry.monotonic)
        first_error = self._errors.pop(number, None)

        def one_try() -> tuple[Item, Copied] | None:
            nonlocal first_error
            item, known = self._plan.item(number), self._ledger.known(number)
            phases, action = self._tally.phases, decide(known, self._policies.if_exists)
            phases.begin(number, item.entry.size, first=self._first_phase(number, item, action))
            try:
                if first_error is not None:
                    error, first_error = first_error, None
                    raise error
                copied = self._try(number, item, own, known, action)
                if self._packing is not None and copied is not None:
                    self._packing.settle(
                        number,
                        item,
                        copied,
                        may_replace=may_replace(known, self._policies.if_exists),
                        is_ours=known.is_ours,
                    )
                return None if copied is None else (item, copied)
            except SourceChangedError:
                self._list_again(number, item)
                raise
            except (ServerError, UnreachableError):
                self._copier.concurrency.note_trouble()
                raise
            finally:
                phases.end(number)

        try:
            if self._plan.size_of(number) < self._copier.part_bytes:
                found = self._retry.call(one_try, own=own)
            else:
                with self.queues.expected(self._plan.item(number)):  # between two tries too
                    found = self._retry.call(one_try, own=own)
        except StoreError:
            if self._stop.is_set() or not self._ledger.known(number).is_claimed:
                raise
            # It can't be read, perhaps since a block of it is damaged: not proven.
            self._ledger.methods.leave(number)
            return None
        if found is None:
            return None
        item, copied = found
        self._retry.elsewhere.note()
        self._receipts.write(number, item, copied)
        self._tally.send(files=not copied.was_there)
        return found

    def transfer_together(
        self, numbers: Iterable[int]
    ) -> tuple[list[tuple[Item, Copied]], list[int]]:
        """Transfer small files together, and record their receipts.

        Returns them, and the numbers of those that ``transfer`` is to be called with: larger ones,
        those that may be at the destination already, those of which anything is unusual, and those
        whose try has failed. Raises ``ClaimLostError``.
        """
        items, others = self.together.choose(numbers)
        found: list[tuple[Item, Copied]] = []
        if not items:
            return found, others
        chosen = list(items.values())
        copier = self._copier
        tried = send_together(chosen, copier.capacity, stop=self._stop, liveness=copier.liveness)
        self.together.note(chosen[0].route, tried)
        for (number, item), one in zip(items.items(), tried, strict=True):
            if not isinstance(one, Sent):
                if one is not None:
                    self._errors[number] = one
                others.append(number)
                continue
            copied = copied_of(one)
            self._receipts.write(number, item, copied)
            found.append((item, copied))
        if found:
            self._retry.elsewhere.note()
            self._tally.send(files=len(found), size=sum(item.entry.size for item, _ in found))
        return found, others

    def ask_for(self, number: int) -> None:
        """Read a byte of a file that is transferred later, so that its store begins to fetch it.

        Raises ``NotYetError`` if the store has to, and ``InfrastructureError``. Other errors are
        met again when the file is transferred.
        """
        item = self._plan.item(number)
        length = min(item.entry.size, 1)
        try:
            self._retry.call(lambda: item.route.source.read(item.entry, 0, length))
        except NotYetError:
            raise
        except FileError:
            return

    def _first_phase(self, number: int, item: Item, action: Action) -> Phase:
        if action in (Action.ADOPT, Action.LOOK):
            return Phase.COMPARING
        upload = self._ledger.upload_of(number)
        if upload is None and item.entry.size < self._copier.part_bytes:
            return Phase.COPYING
        is_read_back_first = upload is not None and bool(upload.parts)
        is_read_first = self._copier.sends_parts(item) and is_hashed_first(item)
        return Phase.CHECKING_PARTS if is_read_first or is_read_back_first else Phase.COPYING

    def _try(
        self, number: int, item: Item, own: Successes, known: Known, action: Action
    ) -> Copied | None:
        """Try once to do what is decided for a file; return None if there is nothing to do.

        ``action`` is decided by ``known``. Raises ``FileError`` for another file at the destination
        if ``if_exists`` is ``error``.
        """
        while True:
            if action is Action.SKIP:
                return None
            if action is Action.LEAVE:
                self._ledger.methods.leave(number)
                return None
            if action is Action.REFUSE:
                raise refusal(self._packing.in_the_way(number, item) if self._packing else item)
            if action is Action.ADOPT:
                adopted = self._adopt_claimed(number, item, known)
                if adopted is not None:
                    return adopted
                known = replace(known, differs=True)
            elif action is Action.LOOK:
                known = replace(known, is_there=self._is_there(number, item))
            else:
                return self._copy(number, item, own, known)
            action = decide(known, self._policies.if_exists)

    def _adopt_claimed(self, number: int, item: Item, known: Known) -> Copied | None:
        try:
            return self._adopt(number, item)
        except FileError as error:
            if error.retryable or isinstance(error, NotYetError) or not known.is_claimed:
                raise
            return None  # perhaps a folder: the next method moves the file, or reports the error

    def _adopt(self, number: int, item: Item) -> Copied | None:
        """Keep the file at the destination if it is the same; return None if it isn't."""
        log = self._ledger.log_of(number, item)
        server_side = self._server_side
        if self._packing is not None:
            return self._kept(item, log, self._packing.adopt(number, item, log))
        original = None if server_side is None else server_side.original_of(item)
        if server_side is None or original is None:
            adopted = self._copier.adopt(item, log, stop=self._stop)
        else:
            adopted = server_side.adopt(item, original)
        return self._kept(item, log, adopted)

    def _kept(self, item: Item, log: UploadLog, adopted: Copied | None) -> Copied | None:
        if adopted is not None:
            drop_upload(item, log, self._stop)
        return adopted

    def _copy(self, number: int, item: Item, own: Successes, known: Known) -> Copied:
        on_kept = partial(self._tally.arrive, number)
        passed = 0  # bytes of a stream, which are lost if it doesn't end

        def on_passed(size: int) -> None:
            nonlocal passed
            passed += size
            on_kept(size)

        def on_bytes(size: int) -> None:
            own.note()
            self._retry.elsewhere.note()
            on_kept(size)
            self._tally.send(size=size)

        is_replaceable = may_replace(known, self._policies.if_exists)
        if not is_replaceable:
            self._ledger.note_tried([number])  # a try whose answer is lost may leave the file there
        try:
            log = self._ledger.log_of(number, item)
            if self._server_side is not None:
                copied = self._server_side.copy(
                    number,
                    item,
                    log,
                    on_bytes=on_bytes,
                    on_kept=on_kept,
                    may_replace=is_replaceable,
                )
                if copied is not None:
                    return copied
                self._tally.settle(number)  # parts that the service has copied are sent again
            if self._packing is not None:
                copied = self._packing.copy(
                    number, item, log, on_passed=on_kept, may_replace=is_replaceable
                )
                if copied is not None:
                    own.note()
                    stored = copied.stored
                    self._tally.send(size=item.entry.size if stored is None else stored.size)
                    return copied
            copied = self._copier.copy(
                item,
                log,
                stop=self._stop,
                on_bytes=on_bytes,
                on_kept=on_kept,
                on_passed=on_passed,
                may_replace=is_replaceable,
                queues=self.queues,
            )
            if passed:
                self._tally.send(size=passed)
            return copied
        finally:
            self._tally.settle(number)

    def _list_again(self, number: int, item: Item) -> None:
        """Update the plan for a changed file, and abort its upload."""
        entry = entry_of(item.route.source, item.entry.path)
        upload = self._ledger.change(number, entry)
        if upload is not None:
            upload.abort(item)

    def _is_there(self, number: int, item: Item) -> bool:
        if self._packing is not None and self._packing.is_there(number, item):
            return True
        try:
            entry_of(item.route.destination, item.destination_path)
        except NotFoundError:
            return False
        return True


def refusal(item: Item) -> FileError:
    """Return the error for another program's file at the destination, with ``if_exists`` error."""
    return FileError(
        f"{quote(item.destination_url)} exists and has no receipt, and --if-exists error was asked "
        "for. Remove it, or use --if-exists verify or overwrite."
    )
