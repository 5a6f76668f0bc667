"""A tree compared with its receipts, by one listing of the destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator
from typing import TYPE_CHECKING

from jobtool.audit.evidence import Expected
from jobtool.audit.files import HOLLOW
from jobtool.audit.verdict import Verdict, failure
from jobtool.errors import FileError
from jobtool.jobs.lastreceipts import digest_of, last_of_each
from jobtool.jobs.records import Receipt
from jobtool.stores.store import Entry, Special, Store, Unlisted, entry_of, kind_of

if TYPE_CHECKING:
    from jobtool.filters.selection import Selection

_MISSING, _LISTED, _HIDDEN = 0, 1, 2


class Tree:
    """Compares a job's receipts with the listing of its destination.

    ``receipts`` yields them anew with each call. ``dropped`` are destinations whose files may lack
    a receipt. A file that the ``selection`` leaves out isn't extra. ``add`` is called with each
    verdict. Afterwards ``count`` is the number of files with
    a receipt. ``compared`` is the number of them that were listed or are missing, ``size_bytes``
    their size. ``off`` holds the URLs that differ from their receipts.
    """

    def __init__(
        self,
        store: Store,
        receipts: Callable[[], Iterator[Receipt]],
        *,
        dropped: Container[str],
        selection: Selection | None = None,
        add: Callable[[Verdict], None],
    ) -> None:
        self._store = store
        self._receipts = receipts
        self._dropped = dropped
        self._selection = selection
        self._add = add
        self._inside = store.url_of("x")[:-1]
        self._expected = Expected(self._inner())
        self._state = bytearray(len(self._expected.sizes))
        self._links: set[str] = set()
        self._unlisted: dict[str, FileError] = {}  # folders whose files may be there
        self._odd: dict[str, FileError] = {}  # single entries that can't be represented
        self._other_etag: set[str] = set()
        self._other_time: set[str] = set()
        self.off: set[str] = set()
        self.count = self.compared = len(self._state)
        self.size_bytes = sum(self._expected.sizes)

    def _inner(self) -> Iterator[Receipt]:
        # If a job's destination was changed by hand, receipts for the old one remain.
        inside = self._inside
        return (receipt for receipt in self._receipts() if receipt.dst_path.startswith(inside))

    def compare(self) -> None:
        """List the destination and add a verdict for each finding. Unlisted files aren't judged."""
        for url in sorted(self._expected.hollow):
            self._add_off(Verdict(url=url, what="unproven", detail=HOLLOW))
        try:
            if kind_of(self._store, "") == "folder":
                for entry in self._store.list():
                    self._listed(entry)
        except FileError as error:
            self._unlisted[""] = error
        self._judge_the_rest()

    def doubted(
        self, *, deep: bool, are_times_reliable: Callable[[], bool]
    ) -> Iterator[tuple[str, Receipt, bool]]:
        """Yield the files to read: path, receipt, and whether the time is the only reason."""
        if not (deep or self._other_etag or self._other_time):
            return
        for receipt in last_of_each(self._inner):
            url = receipt.dst_path
            number = self._expected.numbers[digest_of(url)]
            if self._state[number] != _LISTED or url in self.off:
                continue
            path = url[len(self._inside) :]
            if deep or url in self._other_etag:
                yield path, receipt, False
            elif url in self._other_time and are_times_reliable():
                yield path, receipt, True

    def _listed(self, entry: Entry | Special | Unlisted) -> None:
        if isinstance(entry, Special):
            if entry.what == "link":
                self._links.add(entry.path)
            return
        if isinstance(entry, Unlisted):
            if entry.is_folder:
                self._unlisted[entry.path] = entry.error
            else:
                self._odd[entry.path] = entry.error
            return
        url = self._inside + entry.path
        number = self._expected.numbers.get(digest_of(url))
        if number is None:
            is_left_out = self._selection is not None and self._selection.excludes_path(entry.path)
            if url not in self._dropped and not is_left_out:
                self._add(Verdict(url=url, what="extra"))
            return
        self._state[number] = _LISTED
        size = self._expected.sizes[number]
        if url in self.off:
            return
        if entry.size != size:
            detail = f"{size} -> {entry.size} bytes"
            self._add_off(Verdict(url=url, what="changed", detail=detail))
        elif self._expected.has_other_etag(number, entry):
            self._other_etag.add(url)
        elif self._expected.has_other_time(number, entry):
            self._other_time.add(url)

    def _judge_the_rest(self) -> None:
        """Add a verdict for files that weren't listed: missing, unreadable, or below a link."""
        hidden: Counter[str] = Counter()
        for receipt in self._inner():
            url = receipt.dst_path
            number = self._expected.numbers[digest_of(url)]
            if self._state[number] != _MISSING or url in self.off:
                continue
            path = url[len(self._inside) :]
            above = _first_above(path, self._unlisted) if self._unlisted else None
            if above is not None:
                hidden[above] += 1
                self._state[number] = _HIDDEN
                self.compared -= 1
                self.size_bytes -= self._expected.sizes[number]
            elif _is_below(path, self._links):
                self._add_off(self._behind_link(path))
            else:
                self._add_off(Verdict(url=url, what="missing"))
        for path, error in self._unlisted.items():
            count = f"{hidden[path]} file(s) of the job there were not compared: "
            self._add(
                Verdict(
                    url=self._store.url_of(path),
                    what="unreadable",
                    detail=(count if hidden[path] else "") + str(error),
                )
            )
        for path, error in self._odd.items():
            self._add(Verdict(url=self._store.url_of(path), what="unreadable", detail=str(error)))

    def _behind_link(self, path: str) -> Verdict:
        """Judge a file below a folder that is a link: its target isn't at the destination."""
        url = self._inside + path
        try:
            entry_of(self._store, path)
        except FileError as error:
            return failure(url, error)
        # The link was replaced by a folder meanwhile.
        return Verdict(url=url, what="missing", detail="it was not there when listed")

    def _add_off(self, verdict: Verdict) -> None:
        self.off.add(verdict.url)
        self._add(verdict)


def _first_above(path: str, folders: Container[str]) -> str | None:
    """Return the first of ``path`` and its parents that is among ``folders``."""
    parts = path.split("/")
    above = ("/".join(parts[:depth]) for depth in range(len(parts) + 1))
    return next((folder for folder in above if folder in folders), None)


def _is_below(path: str, folders: Container[str]) -> bool:
    """Return True if one of the folders is above ``path``."""
    parts = path.split("/")
    return any("/".join(parts[:depth]) in folders for depth in range(1, len(parts)))
