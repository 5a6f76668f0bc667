"""Receipts compared with the destination of one job."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import call
from typing import TYPE_CHECKING

import msgspec

from jobtool.audit.events import Discrepancy
from jobtool.audit.evidence import Times
from jobtool.audit.files import check, read
from jobtool.audit.findings import Findings
from jobtool.audit.sampledpackage import SampledPackage
from jobtool.audit.tree import Tree
from jobtool.audit.verdict import Verdict, unreadable
from jobtool.errors import UsageError
from jobtool.jobs.records import Receipt
from jobtool.stores.location import inside, parent_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Store
from jobtool.transfer.parallel import in_parallel

if TYPE_CHECKING:
    from jobtool.filters.selection import Selection

#: The findings whose files a repair sends again. A file that can't be read now may be good.
_REPAIRABLE: frozenset[Discrepancy] = frozenset({"missing", "changed", "unproven"})

#: How many stores of named files are kept open.
_MAX_STORES = 1000


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How many ``receipts`` were compared, and the URLs to ``repair``."""

    receipts: int
    repair: set[str]


class Comparison:
    """Compares receipts with destinations and adds verdicts to ``findings``.

    ``stores`` opens the destinations. ``threads`` files are checked or read at a time; with
    ``deep`` all are read. ``watch`` is called with the number of files done, and what it raises
    ends the comparison. Each thread calls ``on_thread`` first.
    """

    def __init__(
        self,
        stores: StoreRegistry,
        findings: Findings,
        times: Times,
        *,
        deep: bool,
        threads: int,
        watch: Callable[[int], None] | None,
        on_thread: Callable[[], None] | None,
    ) -> None:
        self._stores = stores
        self._findings = findings
        self._times = times
        self._deep = deep
        self._threads = threads
        self._watch = watch
        self._on_thread = on_thread

    def tree(
        self,
        job: str,
        root: str,
        receipts: Callable[[], Iterator[Receipt]],
        dropped: set[str],
        selection: Selection | None = None,
    ) -> Result:
        """Compare a whole tree at ``root`` by one listing.

        ``receipts`` yields them anew with each call. ``dropped`` are URLs of files that may lack
        their receipt. A file without one that the ``selection`` leaves out isn't extra.
        """
        store = self._stores.open(root, "destination")
        tree = Tree(
            store, receipts, dropped=dropped, selection=selection, add=partial(self.add, job)
        )
        tree.compare()
        self._findings.count_compared(files=tree.compared, size_bytes=tree.size_bytes)
        doubted = tree.doubted(deep=self._deep, are_times_reliable=lambda: self._times.are_reliable)
        reading = (
            partial(read, store, path, receipt, self._open_source, was_doubted_by_time=by_time)
            for path, receipt, by_time in doubted
        )
        return Result(receipts=tree.count, repair=tree.off | self._judge(job, reading))

    def named_files(self, job: str, receipts: Iterable[Receipt], root: str | None) -> Result:
        """Compare named files one by one. Those below ``root`` are opened by its store."""
        count = 0
        stores: dict[str, Store] = {}

        def checks() -> Iterator[Callable[[], Verdict]]:
            nonlocal count
            for folder, name, receipt in _by_folder(receipts, root):
                count += 1
                self._findings.count_compared(size_bytes=receipt.stored_size)
                if folder not in stores:
                    if len(stores) >= _MAX_STORES:
                        stores.clear()
                    try:
                        stores[folder] = self._stores.open(folder, "destination")
                    except UsageError as error:
                        yield partial(unreadable, receipt.dst_path, error)
                        continue
                yield partial(
                    check,
                    stores[folder],
                    name,
                    receipt,
                    self._open_source,
                    deep=self._deep,
                    are_times_reliable=self._times.are_reliable,
                )

        repair = self._judge(job, checks())
        return Result(receipts=count, repair=repair)

    def package(self, job: str, sampled: SampledPackage) -> Result:
        """Compare a sample of a package's members, in place of its tar."""
        repair = self._judge(job, sampled.checks(self._open_source))
        if sampled.is_readable:
            repair |= self._judge(job, sampled.reads())
        self._findings.count_compared(files=sampled.files, size_bytes=sampled.size_bytes)
        self._findings.count_members(members=sampled.members, of_members=sampled.of_members)
        return Result(receipts=sampled.receipts, repair=repair)

    def _open_source(self, folder: str) -> Store:
        return self._stores.open(folder, "source")

    def add(self, job: str, verdict: Verdict) -> None:
        """Add a verdict to the findings if it is one."""
        if verdict.what is not None:
            self._findings.add(job, verdict.what, verdict.url, verdict.detail)

    def _judge(self, job: str, tasks: Iterable[Callable[[], Verdict]]) -> set[str]:
        """Run tasks in threads; add their verdicts in order; return the URLs to repair."""
        repair: set[str] = set()
        verdicts = in_parallel(call, tasks, threads=self._threads, on_thread=self._on_thread)
        with contextlib.closing(verdicts):
            for done, verdict in enumerate(verdicts, start=1):
                if self._watch is not None:
                    self._watch(done)
                if verdict.compared is not None:
                    self._findings.count_without_md5(verdict.compared)
                if verdict.what in _REPAIRABLE:
                    repair.add(verdict.url)
                if verdict.was_doubted_by_time:
                    self._times.count_unfounded()
                self.add(job, verdict)
        return repair


def _by_folder(receipts: Iterable[Receipt], root: str | None) -> Iterator[tuple[str, str, Receipt]]:
    """Yield each receipt with the URL of its store and the path there, in ``root`` if possible."""
    for receipt in receipts:
        path = None if root is None else inside(root, receipt.dst_path)
        if root is not None and path:
            yield root, path, receipt
        else:
            folder, name = parent_of(receipt.dst_path)
            yield folder, name, receipt
