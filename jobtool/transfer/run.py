"""A job's transfer: threads send all files of its ledger, each with a receipt."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterable, Iterator

from jobtool.errors import NotYetError, StoppedError
from jobtool.methods.method import SERVER_SIDE, STREAM
from jobtool.stop import Stop
from jobtool.transfer.consumer import Consumer
from jobtool.transfer.copy import Copied, Copier
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.filethreads import TICK_SECONDS, FileThreads
from jobtool.transfer.filetransfer import FileTransfer
from jobtool.transfer.folders import keep_folders
from jobtool.transfer.headstart import list_and_send
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.methodruns import MethodOrder, MethodRuns
from jobtool.transfer.methoduse import MethodUse
from jobtool.transfer.notes import Notes
from jobtool.transfer.partqueue import PartQueues
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Failure, Item
from jobtool.transfer.policies import Policies
from jobtool.transfer.progress import Progress, Tally
from jobtool.transfer.retry import Retry
from jobtool.transfer.serverside import ServerSide
from jobtool.transfer.specials import Skipped, make_specials
from jobtool.transfer.treelisting import TreeListing

#: After this time of listing a tree, files are sent while it is still being listed.
HEAD_START_SECONDS = 0.2


class JobTransfer:
    """Transfers the files of a ledger that aren't proven yet.

    Up to ``threads`` files are under way at a time, or as many small ones as ``copier`` has in mind
    if the stores take many. ``stop`` ends it early: files under way are finished, files in parts
    are left after the parts under way, and no other file is begun. ``consumer`` gives work to
    others. ``on_file`` is called from the threads with each file that has arrived. ``listing`` is
    given for a plan that isn't listed yet, with an empty destination and no records. Small files
    are then sent while it is listed. ``on_listed`` is called after that. ``methods`` get the files
    first, phase by phase; without them all files are left to jobtool's own.
    """

    def __init__(
        self,
        ledger: Ledger,
        copier: Copier,
        *,
        threads: int,
        worker: str,
        stop: Stop,
        retry: Retry,
        consumer: Consumer | None = None,
        policies: Policies | None = None,
        on_file: Callable[[Item, Copied], None] | None = None,
        listing: TreeListing | None = None,
        on_listed: Callable[[], None] | None = None,
        methods: MethodOrder | None = None,
    ) -> None:
        self.ledger = ledger
        self.skipped = Skipped()
        self.notes = Notes()  # attributes that files arrived without
        self.returned: list[int] = []  # files that a consumer gave back undone
        self._listing = listing
        self._is_listed = listing is None
        self._on_listed = on_listed
        self._plan = ledger.plan
        self._copier = copier
        self._thread_count = threads
        self._stop = stop
        self._retry = retry
        self._consumer = consumer
        self._policies = policies or Policies()
        self._has_open_ends = False  # specials or folders' attributes that aren't done yet
        self._tally = Tally(ledger)
        self._parts = PartQueues()
        self._server_side: ServerSide | None = None
        if SERVER_SIDE in self._policies.own_methods:
            self._server_side = ServerSide(
                copier, stop=stop, is_last=STREAM not in self._policies.own_methods
            )
        files = FileTransfer(
            ledger,
            copier,
            policies=self._policies,
            worker=worker,
            stop=stop,
            retry=retry,
            queues=self._parts,
            tally=self._tally,
            notes=self.notes,
            server_side=self._server_side,
        )
        self._threads = FileThreads(
            ledger,
            files,
            concurrency=copier.concurrency,
            stop=stop,
            liveness=copier.liveness,
            threads=copier.file_threads,
            on_file=on_file,
        )
        self._methods: MethodRuns | None = None
        if methods is not None:
            self._methods = MethodRuns(
                methods,
                ledger,
                self._threads,
                if_exists=self._policies.if_exists,
                thread_count=threads,
                stop=stop,
                retry=retry,
                liveness=copier.liveness,
                tally=self._tally,
            )

    @property
    def failures(self) -> list[Failure]:
        """The files in error, and those that could not be listed."""
        return self._threads.failures

    @property
    def not_yet(self) -> NotYetError | None:
        """Stands for the files that can't be read yet, if there are any."""
        return self._threads.not_yet

    @property
    def method_uses(self) -> list[MethodUse]:
        """The result of each method before ``stream``, in their order.

        That of ``server-side`` only if source and destination are stores of one kind.
        """
        uses = [*self._methods.uses] if self._methods else []
        if self._server_side is not None and self._server_side.has_met_a_pair:
            uses.append(self._server_side.use)
        return uses

    @property
    def has_succeeded(self) -> bool:
        """Whether any file has arrived, by this worker or by a helper."""
        return self._threads.has_succeeded

    @property
    def progress(self) -> Progress:
        """The progress of the transfer."""
        return self._tally.progress

    @property
    def is_complete(self) -> bool:
        """Whether all files are listed and proven, and specials and folders are done."""
        return (
            self._is_listed
            and self._are_all_proven
            and not self.failures
            and not self._has_open_ends
        )

    @property
    def _are_all_proven(self) -> bool:
        return self.ledger.files_proven == len(self._plan)

    @property
    def is_doubtful(self) -> bool:
        """Whether a store rather than the files may be the cause of the failures.

        See ``FileThreads.is_doubtful``.
        """
        return self._threads.is_doubtful

    def run(self, on_tick: Callable[[Progress], None]) -> None:
        """Transfer the files; ``on_tick`` is called in this thread several times a second.

        Returns when all files are done or failed, or when stopped; see ``failures``, ``not_yet``
        and ``is_complete``. Raises ``InfrastructureError`` as soon as a file meets one, and the
        exception of a bug. The receipts of arrived files are in the journal in any case.
        """
        with self._recorded(on_tick):
            if self._listing is not None:
                self._list(self._listing, on_tick)
            for index, phase in enumerate(self._plan.phases(large_bytes=self._copier.part_bytes)):
                if index and self.not_yet is not None:  # it depends on data that isn't there yet
                    self._ask_for(phase, on_tick)
                else:
                    self._bring(phase, on_tick)
                if self._threads.fatal is not None:
                    raise self._threads.fatal
                if self.failures or (self._stop.is_set() and not self._are_all_proven):
                    return  # metadata without its data would mislead readers
                if not self._is_listed:
                    return
            if self.not_yet is not None:
                return
            self._finish(on_tick)

    def run_batches(
        self, batches: Iterable[array[int]], on_tick: Callable[[Progress], None]
    ) -> None:
        """Transfer files that are added to the plan and the ledger while this runs.

        ``batches`` yields the numbers of new files, and blocks until there are some. When it goes
        on after a batch, all of it is proven. Returns, raises and calls ``on_tick`` as ``run``
        does, and raises what ``batches`` does.
        """
        self._is_listed = False
        with self._recorded(on_tick):
            for numbers in batches:
                self._bring(numbers, on_tick)
                if self._threads.fatal is not None:
                    raise self._threads.fatal
                is_any_undone = next(self.ledger.undone(numbers), None) is not None
                if self.failures or self.not_yet is not None or is_any_undone:
                    return
            self._is_listed = True
            self._finish(on_tick)

    @contextlib.contextmanager
    def _recorded(self, on_tick: Callable[[Progress], None]) -> Iterator[None]:
        """Have what was done on disk at the end, however it comes."""
        self.notes.add_stores(self._plan.routes, self._policies.preserve)
        try:
            yield
        finally:
            if self.is_complete:
                self.ledger.flush()
            else:
                self.ledger.checkpoint()
            on_tick(self.progress)

    def _finish(self, on_tick: Callable[[Progress], None]) -> None:
        """Make the specials, give folders their attributes, and sync everything."""
        if self._stop.is_lost:
            return
        is_all_made = make_specials(
            self._plan, links=self._policies.links, retry=self._retry, skipped=self.skipped
        )
        self._threads.failures.extend(self.skipped.failures)
        self._has_open_ends = not is_all_made
        if not keep_folders(
            self._plan, threads=self._thread_count, stop=self._stop, notes=self.notes
        ):
            self._has_open_ends = True
        self._tally.phases.all_at(Phase.SYNCING)
        on_tick(self.progress)
        self.ledger.sync()

    # Listing.

    def _list(self, listing: TreeListing, on_tick: Callable[[Progress], None]) -> None:
        """List the plan. If that takes long, send files meanwhile."""
        listing.on_entry = self.ledger.grow
        self._tally.phases.all_at(Phase.LISTING)
        try:
            if not listing.run(seconds=HEAD_START_SECONDS):
                list_and_send(
                    listing,
                    self.ledger,
                    self._threads,
                    self._copier,
                    stop=self._stop,
                    count=self._most_files,
                    on_tick=lambda: on_tick(self.progress),
                )
        except StoppedError:
            return
        self._is_listed = True
        self._tally.phases.all_at(Phase.COPYING)
        self._threads.failures[:0] = self._plan.failures
        if self._on_listed is not None:
            self._on_listed()

    # Files.

    def _bring(self, phase: array[int], on_tick: Callable[[Progress], None]) -> None:
        """Have each method move the files of a phase that those before it left."""
        if self._methods is not None:
            self._methods.run_phase(phase, lambda: on_tick(self.progress))
        if self._methods is None or self._methods.leaves_rest:
            self._run_phase(phase, on_tick)

    def _run_phase(self, phase: array[int], on_tick: Callable[[Progress], None]) -> None:
        queue = FileQueue(self.ledger.undone(phase))
        self._run_queue(queue, on_tick)
        while (len(queue) or self._has_consumer_files) and self._threads.may_go_on:
            if len(queue):
                self._run_queue(queue, on_tick)
            elif not self._absorb_returned(queue, reclaim=True):
                self.ledger.flush()
                self._stop.wait(TICK_SECONDS)
                on_tick(self.progress)

    def _ask_for(self, phase: array[int], on_tick: Callable[[Progress], None]) -> None:
        """Have stores begin to fetch the files of a later phase, if they must."""
        queue = FileQueue(self.ledger.undone(phase))
        count = min(self._thread_count, len(queue))
        self._threads.run(
            queue.pop_first, count, on_tick=lambda: on_tick(self.progress), only_asks=True
        )

    @property
    def _has_consumer_files(self) -> bool:
        return self._consumer is not None and self._consumer.has_files

    def _run_queue(self, queue: FileQueue, on_tick: Callable[[Progress], None]) -> None:
        def tick() -> None:
            on_tick(self.progress)
            if self._consumer is not None:
                self._absorb_returned(queue, reclaim=False)
                self._consumer.consume(queue, self._parts, may_take=self._threads.may_go_on)

        first = queue.first()
        if first is not None:
            self._copier.concurrency.expect(self._plan.size_of(first))
        count = min(self._most_files, len(queue))
        self._threads.run(queue.pop_first, count, on_tick=tick)

    @property
    def _most_files(self) -> int:
        """How many files may be under way at most."""
        stores = (end for route in self._plan.routes for end in (route.source, route.destination))
        takes_many = all(store.capabilities.takes_many for store in stores)
        return self._copier.concurrency.most_small if takes_many else self._thread_count

    def _absorb_returned(self, queue: FileQueue, *, reclaim: bool) -> bool:
        """Record the files that others have done, and queue those that they haven't done.

        Return True if any came back.
        """
        is_any_back = False
        if self._consumer is None:
            return False
        for batch in self._consumer.returned(reclaim=reclaim):
            is_any_back = True
            self.ledger.absorb(batch.records())
            batch.forget()
            undone = [*self.ledger.undone(batch.numbers)]
            done = set(batch.numbers) - set(undone)
            self._tally.send(files=len(done), size=sum(map(self._plan.size_of, done)))
            if done:
                self._threads.has_succeeded = True
            self.returned.extend(undone)
            self.ledger.note_tried(undone)  # a helper that died may have left its file there
            queue.put_back(undone)
        return is_any_back
