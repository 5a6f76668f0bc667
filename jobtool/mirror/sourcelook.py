"""A look at the source of one finished job: which of its files are new, changed or gone.

The source is listed as the next attempt would list it, with the same filters. A file has changed if
its receipt doesn't prove it any more by the rule of ``Plan.proves``: another size or time. So what
is found here is what the next attempt sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import msgspec

from jobtool.errors import FileError, JobtoolError, NotFoundError, Scope, StoppedError
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.lastreceipts import last_of_each
from jobtool.jobs.records import Receipt, planned_dst_path
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import entry_of
from jobtool.transfer.credentialscopes import credential_scopes_of
from jobtool.transfer.parallel import in_parallel
from jobtool.transfer.plan import Failure, Plan, path_in
from jobtool.transfer.planning import open_plan
from jobtool.transfer.retry import Retry
from jobtool.transfer.selecting import is_left_out, selection_in

#: What makes a file changed: another size or time, or also another MD5.
Compare = Literal["time", "digest"]

_MOST_EXAMPLES = 3
_MOST_REASONS = 10


class Looking(msgspec.Struct, frozen=True, kw_only=True):
    """The world of a look.

    ``stores`` opens sources, ``retry`` repeats calls. With ``compare`` ``digest`` files with the
    same size and time are read, by ``threads`` threads. ``released`` are the paths that ``jobtool
    release`` has removed. With ``keeps_extra`` the receipts of files that are gone are kept, and
    with ``excluded_too`` those of files that the filters leave out by now. ``on_file`` is called
    for each file.
    """

    stores: StoreRegistry
    retry: Retry
    compare: Compare = "time"
    threads: int = 16
    released: frozenset[str] = frozenset()
    keeps_extra: bool = False
    excluded_too: bool = False
    on_file: Callable[[], None] = lambda: None


class Found(msgspec.Struct, kw_only=True):
    """Files of one kind: how many, and the paths of some."""

    count: int = 0
    examples: tuple[str, ...] = ()

    def add(self, path: str) -> None:
        """Count a file."""
        self.count += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples = (*self.examples, path)


class Extra(msgspec.Struct, frozen=True, kw_only=True):
    """A file with a receipt that isn't at the source or, if it ``is_excluded``, is left out.

    ``path`` is relative to the source, ``place`` to the destination: a compressed file has another
    name there.
    """

    path: str
    place: str
    receipt: Receipt
    is_excluded: bool = False


class Look(msgspec.Struct, kw_only=True):
    """What was found.

    ``files`` were listed, ``received`` have a receipt. ``failures`` say which parts of the source
    can't be read; then ``gone`` is empty. ``is_missing`` says that there is nothing at the source.
    ``off`` are the URLs of changed files whose receipts prove them by size and time. ``extras`` are
    those of a tree. ``empty_folders`` are paths of the source.
    """

    files: int = 0
    received: int = 0
    new: Found = msgspec.field(default_factory=Found)
    changed: Found = msgspec.field(default_factory=Found)
    gone: Found = msgspec.field(default_factory=Found)
    released: int = 0
    uncompared: int = 0
    failures: list[str] = msgspec.field(default_factory=list)
    is_missing: bool = False
    is_tree: bool = False
    off: set[str] = msgspec.field(default_factory=set)
    extras: list[Extra] = msgspec.field(default_factory=list)
    empty_folders: set[str] = msgspec.field(default_factory=set)

    @property
    def has_changed(self) -> bool:
        """Whether there is something to send."""
        return bool(self.new.count or self.changed.count)

    def fail(self, reason: str) -> None:
        """Add a part of the source that can't be read."""
        if len(self.failures) < _MOST_REASONS:
            self.failures.append(reason)


def look_at_source(joblist: JobList, job_id: str, job: Job, looking: Looking) -> Look:
    """Compare the source of a job with the job's receipts.

    ``job`` has its destination. Raises ``InfrastructureError`` and ``StoppedError``. Other errors
    are ``failures`` of the look.
    """
    return _Comparison(joblist, job_id, job, looking).run()


class _Comparison:
    def __init__(self, joblist: JobList, job_id: str, job: Job, looking: Looking) -> None:
        self._joblist, self._job_id, self._job = joblist, job_id, job
        self._looking = looking
        self._look = Look()
        self._named: dict[tuple[str, str | None], Failure] = {}
        self._has_other_names = False  # at the destination, as compressed files have

    def run(self) -> Look:
        try:
            self._run()
        except JobtoolError as error:
            if error.scope is Scope.STORE or isinstance(error, StoppedError):
                raise
            self._look.fail(str(error))
        return self._look

    def _run(self) -> None:
        looking, look = self._looking, self._look
        looking.stores.reach_job(credential_scopes_of(self._job))
        try:
            plan, listing = open_plan(
                self._job,
                looking.stores,
                owner=self._joblist.owner_of(self._job_id),
                retry=looking.retry,
                select=partial(selection_in, self._joblist),
            )
        except NotFoundError:
            look.is_missing = True
            self._all_gone()
            return
        look.is_tree = plan.is_tree
        if listing is not None:
            listing.on_entry = looking.on_file
            listing.run()
        look.files = len(plan)
        for failure in plan.failures:
            if not plan.is_tree and isinstance(failure.error, NotFoundError):
                self._named[failure.path, failure.destination] = failure
            else:
                look.fail(str(failure.error))
        look.empty_folders = {
            special.path for _, special in plan.specials() if special.what == "empty-folder"
        }
        self._compare(plan)
        if looking.compare == "digest":
            self._compare_digests(plan)

    def _receipts(self) -> Iterator[Receipt]:
        return last_of_each(partial(self._joblist.receipts_of, self._job_id))

    def _all_gone(self) -> None:
        for receipt in self._receipts():
            self._look.received += 1
            if receipt.src_path in self._looking.released:
                self._look.released += 1
            else:
                self._look.gone.add(receipt.src_path)

    def _compare(self, plan: Plan) -> None:
        look = self._look
        has_receipt = bytearray(len(plan))
        for receipt in self._receipts():
            self._has_other_names |= receipt.compression is not None
            number = plan.find(receipt)
            if number is None:
                self._without_source(plan, receipt)
                continue
            look.received += 1
            has_receipt[number] = 1
            if not (receipt.is_proof and plan.proves(receipt, number)):
                look.changed.add(plan.item(number).entry.path)
        number = has_receipt.find(0)
        while number >= 0:
            look.new.add(plan.item(number).entry.path)
            number = has_receipt.find(0, number + 1)
        if look.extras and self._has_other_names:
            self._leave_out_taken()

    def _leave_out_taken(self) -> None:
        """Leave out extra files in whose place another file of the job is.

        ``a.gz`` arrives as ``a`` if it is unpacked. It may give way to ``a`` at the source.
        """
        extras = {planned_dst_path(extra.receipt) for extra in self._look.extras}
        places = {extra.receipt.dst_path for extra in self._look.extras}
        for receipt in self._receipts():
            if receipt.dst_path in places and planned_dst_path(receipt) not in extras:
                places.discard(receipt.dst_path)
        self._look.extras = [
            extra for extra in self._look.extras if extra.receipt.dst_path in places
        ]

    def _without_source(self, plan: Plan, receipt: Receipt) -> None:
        """Judge a receipt of a file that wasn't listed."""
        look, looking = self._look, self._looking
        if not plan.is_tree:
            if (receipt.src_path, planned_dst_path(receipt)) in self._named:
                self._is_gone(receipt, receipt.src_path)
            return
        route = plan.routes[0]
        path = path_in(route.source, receipt.src_path)
        if not path or path != path_in(route.destination, planned_dst_path(receipt)):
            return  # of another destination, that the job had before
        look.received += 1
        selection = plan.selection
        is_excluded = selection is not None and selection.excludes_path(path)
        if selection is not None and selection.has_bounds and not is_excluded:
            try:
                is_excluded = is_left_out(selection, entry_of(route.source, path))
            except NotFoundError:
                pass
            except FileError as error:
                look.fail(str(error))
        if look.failures:
            return  # it may be below a folder that can't be listed
        if not is_excluded:
            self._is_gone(receipt, path)
        is_candidate = looking.keeps_extra and (looking.excluded_too or not is_excluded)
        if is_candidate and receipt.src_path not in looking.released:
            place = path_in(route.destination, receipt.dst_path) or path
            look.extras.append(
                Extra(path=path, place=place, receipt=receipt, is_excluded=is_excluded)
            )

    def _is_gone(self, receipt: Receipt, path: str) -> None:
        if receipt.src_path in self._looking.released:
            self._look.released += 1
        elif not self._look.failures:
            self._look.gone.add(path)

    def _compare_digests(self, plan: Plan) -> None:
        """Read the files that size and time prove, and compare their MD5s."""
        unchanged = (
            (number, receipt)
            for receipt in self._receipts()
            if (number := plan.find(receipt)) is not None
            and receipt.is_proof
            and plan.proves(receipt, number)
        )
        read = partial(self._read, plan)
        for path, url, is_same in in_parallel(read, unchanged, threads=self._looking.threads):
            self._looking.on_file()
            if isinstance(is_same, JobtoolError):
                self._look.fail(str(is_same))
            elif is_same is None:
                self._look.uncompared += 1
            elif not is_same:
                self._look.changed.add(path)
                self._look.off.add(url)

    def _read(
        self, plan: Plan, numbered: tuple[int, Receipt]
    ) -> tuple[str, str, bool | JobtoolError | None]:
        """Return whether a file has the MD5 of its receipt; None if that has none."""
        number, receipt = numbered
        item = plan.item(number)
        path, expected = item.entry.path, _md5_of_source(receipt)
        if expected is None:
            return path, receipt.dst_path, None
        retry = self._looking.retry
        if retry.stop.is_set():
            raise StoppedError(f"stopped while reading files: {retry.stop.reason}")
        try:
            found = retry.call(lambda: item.route.source.digest(path))
        except FileError as error:
            return path, receipt.dst_path, error
        return path, receipt.dst_path, found == expected


def _md5_of_source(receipt: Receipt) -> str | None:
    """Return the MD5 of the source's bytes; None if they were never read."""
    is_unpacked = receipt.compression is not None and not receipt.is_packed
    return receipt.hashsum_packed if is_unpacked else receipt.hashsum_src
