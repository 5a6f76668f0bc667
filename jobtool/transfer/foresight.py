"""What the transfer of a job would do, from its plan and ledger, before it does anything.

It asks the same objects as the transfer: the decision about a file, the rule for parts, the fate of
specials, the store's own refusal of a name. Nothing is written, and no file is opened.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal

import msgspec

from jobtool.errors import FileError, JobtoolError, NotFoundError
from jobtool.methods.method import SERVER_SIDE
from jobtool.names import quote
from jobtool.stores.beforehand import ChecksNames, KnowsReaders
from jobtool.stores.location import is_local
from jobtool.stores.optional import supports
from jobtool.stores.store import Store
from jobtool.transfer.decision import Action, decide
from jobtool.transfer.filetransfer import refusal
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.destination import MISSING
from jobtool.transfer.plan import MAX_FAILURES, Plan, Route
from jobtool.transfer.planning import holds_empty_folders
from jobtool.transfer.policies import Policies
from jobtool.transfer.requestcount import RequestCount, SideCounts
from jobtool.transfer.serverside import service_of
from jobtool.transfer.specials import described, fate_of

#: A file below this size costs a request more than its bytes.
SMALL_BYTES = 1024 * 1024

#: How many examples of a problem are kept.
MOST_EXAMPLES = 3

_FILES_PER_LOOK = 512

#: What a transfer would meet. ``left-out`` and ``case`` are no errors by themselves.
ProblemKind = Literal[
    "name", "clash", "case", "unreadable", "link", "missing", "unlisted", "in-the-way", "left-out"
]


class Problem(msgspec.Struct, kw_only=True):
    """Files with one kind of problem: how many, and why for the first few.

    ``is_error`` says that the files would fail. ``at_least`` says that there are more than are
    counted.
    """

    kind: str
    is_error: bool = True
    count: int = 0
    at_least: bool = False
    examples: list[str] = msgspec.field(default_factory=list)

    def add(self, reason: str, count: int = 1) -> None:
        """Count files, and keep the reason as an example."""
        self.count += count
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(reason)


class Group(msgspec.Struct, kw_only=True):
    """A number of files, and their size in bytes at the source."""

    files: int = 0
    bytes: int = 0

    def count(self, size: int) -> None:
        """Add a file."""
        self.files += 1
        self.bytes += size

    def add(self, other: Group) -> None:
        """Add the files of another group."""
        self.files += other.files
        self.bytes += other.bytes


class Foresight(msgspec.Struct, kw_only=True):
    """What a transfer would do.

    ``all`` are the files of the plan. Those ``proven`` have receipts that count. Those to
    ``compare`` are at the destination already, of the same size and without a receipt. Those to
    ``send`` are the rest that can be sent; ``kept_bytes`` of them are in parts that have arrived.
    ``small`` are those of ``all`` below ``SMALL_BYTES``. ``excluded`` are files, specials and
    folders that filters leave out. ``needs`` has what is written below each destination.
    """

    all: Group = msgspec.field(default_factory=Group)
    proven: Group = msgspec.field(default_factory=Group)
    compare: Group = msgspec.field(default_factory=Group)
    send: Group = msgspec.field(default_factory=Group)
    small: Group = msgspec.field(default_factory=Group)
    kept_bytes: int = 0
    excluded: int = 0
    largest: tuple[int, str] | None = None
    source_requests: RequestCount = msgspec.field(default_factory=RequestCount)
    destination_requests: RequestCount = msgspec.field(default_factory=RequestCount)
    problems: dict[str, Problem] = msgspec.field(default_factory=dict)
    needs: list[tuple[Store, Group]] = msgspec.field(default_factory=list)

    def problem(self, kind: ProblemKind, *, is_error: bool = True) -> Problem:
        """Return the problem of a kind, to which files are added."""
        return self.problems.setdefault(kind, Problem(kind=kind, is_error=is_error))

    def add(self, other: Foresight) -> None:
        """Add the foresight of another job. Its ``needs`` aren't kept."""
        for name in ("all", "proven", "compare", "send", "small"):
            getattr(self, name).add(getattr(other, name))
        self.kept_bytes += other.kept_bytes
        self.excluded += other.excluded
        self.largest = max(filter(None, (self.largest, other.largest)), default=None)
        self.source_requests.add(other.source_requests)
        self.destination_requests.add(other.destination_requests)
        for kind, found in other.problems.items():
            mine = self.problems.setdefault(kind, Problem(kind=kind, is_error=found.is_error))
            mine.examples += found.examples[: MOST_EXAMPLES - len(mine.examples)]
            mine.count += found.count
            mine.at_least |= found.at_least


class Foreseer:
    """Looks at one job's plan. ``ledger`` is filled as the next attempt would fill it.

    ``ignores_case`` says of a destination whether names that differ only in case are one file.
    ``require_going`` is called now and then, and its errors end the look.
    """

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        policies: Policies,
        *,
        part_bytes: int,
        ignores_case: Callable[[Store], bool],
        require_going: Callable[[], None],
    ) -> None:
        self.found = Foresight(excluded=plan.excluded, kept_bytes=ledger.parts_bytes)
        self._plan, self._ledger, self._policies = plan, ledger, policies
        self._part_bytes = part_bytes
        self._ignores_case = ignores_case
        self._require_going = require_going

    def look(self) -> Foresight:
        """Return what the transfer would do."""
        ranges = self._plan.route_ranges()
        for route, (first, last, _) in zip(self._plan.routes, ranges, strict=True):
            need = Group()
            self.found.needs.append((route.destination, need))
            self._files(route, range(first, last), need)
            self._clashes(route, range(first, last))
        self._specials()
        self._failures()
        return self.found

    def _files(self, route: Route, numbers: range, need: Group) -> None:
        found, is_tree, there = self.found, self._plan.is_tree, 0
        source = route.source if supports(route.source, KnowsReaders) else None
        checked = route.destination if supports(route.destination, ChecksNames) else None
        counts = self._counts(route)
        for number in numbers:
            if number % _FILES_PER_LOOK == 0:
                self._require_going()
            size = self._plan.size_of(number)
            found.all.count(size)
            if size < SMALL_BYTES:
                found.small.count(size)
            there += self._ledger.size_at_destination(number) > MISSING
            if found.largest is None or size > found.largest[0]:
                found.largest = size, self._plan.item(number).source_url
            if self._ledger.is_proven(number):
                found.proven.count(size)
                continue
            item = self._plan.item(number)
            if source is not None and not source.may_read(item.entry.path):
                why = f"{quote(item.source_url)}: you may not read it. Check its owner and mode"
                found.problem("unreadable").add(why)
                continue
            try:
                if checked is not None:
                    checked.require_name(item.destination_path)
            except FileError as error:
                found.problem("name").add(str(error))
                continue
            action = decide(self._ledger.known(number), self._policies.if_exists)
            if action in (Action.REFUSE, Action.LOOK):
                found.problem("in-the-way").add(str(refusal(item)))
            elif action is Action.ADOPT:
                found.compare.count(size)
                counts.compare(size)
            else:
                found.send.count(size)
                need.count(size)
                counts.send(size)
        if is_tree:
            counts.list_source(len(numbers) + found.excluded)
            counts.list_destination(there)
        else:
            counts.look(len(numbers))
        found.source_requests.add(counts.source)
        found.destination_requests.add(counts.destination)

    def _counts(self, route: Route) -> SideCounts:
        service = service_of(route.source, route.destination)
        is_inside = (
            SERVER_SIDE in self._policies.own_methods
            and service is not None
            and service.why_not_inside(route.source) is None
        )
        return SideCounts(
            route.source, route.destination, part_bytes=self._part_bytes, is_inside=is_inside
        )

    # Names that can't be at one place together.

    def _clashes(self, route: Route, numbers: range) -> None:
        has_folders = holds_empty_folders(route.destination)
        if has_folders and not holds_empty_folders(route.source):
            self._files_that_are_folders(numbers)
        is_error = self._ignores_case(route.destination)
        if is_error or not has_folders:
            self._alike(numbers, is_error=is_error)

    def _files_that_are_folders(self, numbers: range) -> None:
        """Find files with the path of a folder. In memory is one number for each folder."""
        folders: set[int] = set()
        last = ""
        for _, path in self._paths(numbers):
            folder = path.rpartition("/")[0]
            if folder != last:
                last = folder
                while folder:
                    folders.add(hash(folder))
                    folder = folder.rpartition("/")[0]
        if not folders:
            return
        for number, path in self._paths(numbers):
            if hash(path) in folders and self._has_below(number, path):
                url = quote(self._plan.item(number).source_url)
                self.found.problem("clash").add(
                    f"{url}: there are a file and a folder of this name, and the destination can "
                    "hold only one. Rename one of them"
                )

    def _has_below(self, number: int, path: str) -> bool:
        if not self._plan.is_tree:
            return True  # of named files, the few that clash by hash do so by name
        route = self._plan.routes.index(self._plan.route_of(number))
        return self._plan.has_below(route, path)

    def _alike(self, numbers: range, *, is_error: bool) -> None:
        """Find names that differ only in case. In memory are eight bytes for each file."""
        folded = array("q", (hash(path.casefold()) for _, path in self._paths(numbers)))
        ordered = sorted(folded)
        twice = {one for one, other in pairwise(ordered) if one == other}
        if not twice:
            return
        names: dict[str, str] = {}
        for index, (number, path) in enumerate(self._paths(numbers)):
            if folded[index] not in twice:
                continue
            other = names.setdefault(path.casefold(), path)
            if other != path:
                url = quote(self._plan.item(number).destination_url)
                self.found.problem("case", is_error=is_error).add(
                    f"{url}: its name differs from {quote(other)} only in case"
                )

    def _paths(self, numbers: range) -> Iterator[tuple[int, str]]:
        for number in numbers:
            if number % _FILES_PER_LOOK == 0:
                self._require_going()
            yield number, self._plan.item(number).destination_path

    # What isn't a file, or can't be one.

    def _specials(self) -> None:
        for count, (route, special) in enumerate(self._plan.specials()):
            if count % _FILES_PER_LOOK == 0:
                self._require_going()
            path = route.source.url_of(special.path)
            try:
                if fate_of(route, special, path, self._policies.links) == "left-out":
                    problem = self.found.problem("left-out", is_error=False)
                    problem.add(f"{quote(path)}: {described(special)}")
            except FileError as error:
                self.found.problem("link").add(str(error))

    def _failures(self) -> None:
        failures = self._plan.failures
        kinds: Counter[ProblemKind] = Counter()
        for failure in failures:
            kind = _kind_of(failure.path, failure.error)
            kinds[kind] += 1
            self.found.problem(kind).add(str(failure.error))
        if self._plan.is_tree and len(failures) > MAX_FAILURES:
            for kind in kinds:
                self.found.problem(kind).at_least = True


def _kind_of(path: str, error: JobtoolError) -> ProblemKind:
    if is_local(path) and os.path.islink(path):
        return "link"
    return "missing" if isinstance(error, NotFoundError) else "unlisted"
