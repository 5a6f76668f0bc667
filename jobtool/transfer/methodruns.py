"""Runs of methods other than jobtool's own: what they claim is proven while they run."""

from __future__ import annotations

import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from jobtool.errors import (
    ClaimLostError,
    FileError,
    InfrastructureError,
    JobtoolError,
    NotFoundError,
    StoppedError,
    StoreError,
)
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.liveness import Liveness
from jobtool.methods.method import Method, MethodContext, MethodFile
from jobtool.names import quote
from jobtool.stop import Stop
from jobtool.stores.store import Entry
from jobtool.transfer.decision import Action, decide, may_be_given
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.filethreads import FileThreads
from jobtool.transfer.filetransfer import refusal
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.look import look_at
from jobtool.transfer.methodshare import MethodShare
from jobtool.transfer.methoduse import MethodUse, in_short
from jobtool.transfer.plan import Item, Route
from jobtool.transfer.policies import IfExists
from jobtool.transfer.progress import Tally
from jobtool.transfer.retry import Retry
from jobtool.transfer.throttle import Throttle

#: How many files a method is given in one call.
FILES_IN_CALL = 4096

_LOOK_SECONDS = 0.1


class MethodOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The methods of a job that come before jobtool's own, in their order.

    With ``leaves_rest``, jobtool's own methods get what they leave. ``require_held`` raises
    ``ClaimLostError`` once another worker may have the job. ``log_path_of`` gives the path of the
    file for what a method's programs print. They share the limits of ``throttle``. A program that
    makes no progress for ``stall_seconds`` is ended.
    """

    claimed_job: ClaimedJob
    methods: Sequence[Method]
    leaves_rest: bool
    require_held: Callable[[], None]
    log_path_of: Callable[[str], str]
    stall_seconds: float
    throttle: Throttle


class MethodRuns:
    """Runs the methods of an order for the files of a ledger; ``threads`` prove what they claim.

    A method that raises isn't used again. ``uses`` has the result of each.
    """

    def __init__(
        self,
        order: MethodOrder,
        ledger: Ledger,
        threads: FileThreads,
        *,
        if_exists: IfExists,
        thread_count: int,
        stop: Stop,
        retry: Retry,
        liveness: Liveness,
        tally: Tally,
    ) -> None:
        self.uses = [MethodUse(name=method.name) for method in order.methods]
        self._order = order
        self._ledger = ledger
        self._plan = ledger.plan
        self._threads = threads
        self._if_exists = if_exists
        self._thread_count = thread_count
        self._stop = stop
        self._retry = retry
        self._liveness = liveness
        self._tally = tally
        self._ended: set[str] = set()  # methods that have raised
        self._available: dict[tuple[str, int], bool] = {}  # by the method and the route's identity
        self._refused: set[int] = set()

    @property
    def leaves_rest(self) -> bool:
        """Whether jobtool's own methods get what these leave."""
        return self._order.leaves_rest

    def run_phase(self, phase: array[int], on_tick: Callable[[], None]) -> None:
        """Have the methods move the files of a phase that aren't proven yet.

        Files that they leave go to jobtool's own methods; without those they are in error.
        ``on_tick`` is called in this thread several times a second. Raises
        ``InfrastructureError``, ``ClaimLostError`` and what ``on_tick`` raises.
        """
        self._compare(phase, on_tick)
        for route, numbers in self._calls(phase):
            left = self._givable(route, numbers)
            for method, use in zip(self._order.methods, self.uses, strict=True):
                left = [*self._ledger.undone(left)]
                if not left or not self._threads.may_go_on:
                    break
                if self._is_available(method, use, route):
                    self._run(method, use, route, left, on_tick)
        if not self._threads.may_go_on:
            return
        if self._order.leaves_rest:
            self._ledger.methods.take_back(self._ledger.undone(phase))
        else:
            self._fail(self._ledger.undone(phase))

    def _compare(self, phase: array[int], on_tick: Callable[[], None]) -> None:
        """Keep files that are there and the same, such as those of a killed worker's method."""
        numbers = array("Q")
        for number in self._ledger.undone(phase):
            if decide(self._ledger.known(number), self._if_exists) is Action.ADOPT:
                self._ledger.methods.claim(number)
                numbers.append(number)
        queue = FileQueue(numbers)
        self._threads.run(queue.pop_first, min(self._thread_count, len(queue)), on_tick=on_tick)

    def _calls(self, phase: array[int]) -> Iterator[tuple[Route, list[int]]]:
        """Yield the files of each call: of one route, at most ``FILES_IN_CALL``."""
        numbers: list[int] = []
        current: Route | None = None
        for number in phase:
            route = self._plan.route_of(number)
            if current is not None and (route is not current or len(numbers) == FILES_IN_CALL):
                yield current, numbers
                numbers = []
            current = route
            numbers.append(number)
        if current is not None:
            yield current, numbers

    def _givable(self, route: Route, numbers: list[int]) -> list[int]:
        """Return the files that a method may be given; see ``may_be_given``.

        With ``if_exists`` ``error`` the destination is asked now, since it was listed a while ago.
        """
        undone = [*self._ledger.undone(numbers)]
        is_there: dict[int, bool | None] = {}
        if self._if_exists == "error":
            asked = [number for number in undone if not self._ledger.known(number).is_ours]
            paths = [self._plan.item(number).destination_path for number in asked]
            try:
                found = [*look_at(route.destination, paths, self._retry)]
            except StoppedError:
                return []
            for number, one in zip(asked, found, strict=True):
                if isinstance(one, Entry | NotFoundError):
                    is_there[number] = isinstance(one, Entry)
        givable = []
        for number in undone:
            known = replace(self._ledger.known(number), is_there=is_there.get(number))
            if may_be_given(known, self._if_exists):
                givable.append(number)
            elif known.is_there or decide(known, self._if_exists) is Action.REFUSE:
                self._refused.add(number)
        return givable

    def _is_available(self, method: Method, use: MethodUse, route: Route) -> bool:
        key = (method.name, id(route))
        if method.name in self._ended:
            return False
        if key not in self._available:
            try:
                reason = method.available(route.source, route.destination)
            except (Exception, SystemExit) as error:
                self._end(method, use, error)
                return False
            self._available[key] = reason is None
            if reason is not None:
                use.reason = use.reason or in_short(f"not available: {reason}")
        return self._available[key]

    def _run(
        self,
        method: Method,
        use: MethodUse,
        route: Route,
        numbers: list[int],
        on_tick: Callable[[], None],
    ) -> None:
        """Give files to a method, and prove what it claims while it runs."""
        self._ledger.methods.give(numbers, method.name)
        given = set(numbers)
        claims = _Claims(may_go_on=lambda: self._threads.may_go_on)
        stop = Stop(parent=self._stop)
        share = MethodShare(self._order.throttle, stop)
        use.log_path = self._order.log_path_of(method.name)

        def note(reason: str) -> None:
            use.reason = in_short(reason)

        def arrived(number: int, size: int) -> None:
            if number in given:  # else it is being proven, or was never given
                self._tally.arrive(number, size)

        context = MethodContext(
            source=route.source,
            destination=route.destination,
            stop=stop,
            threads=self._thread_count,
            require_held=self._order.require_held,
            log_path=use.log_path,
            stall_seconds=self._order.stall_seconds,
            bandwidth=share.bytes_per_second,
            arrived=arrived,
            note=note,
        )
        errors: list[BaseException] = []

        def work() -> None:
            try:
                files = [_file_of(number, self._plan.item(number)) for number in numbers]
                with self._liveness.working(f"method {method.name}"):
                    for number in method.run(self._order.claimed_job, files, context):
                        if number not in given:
                            raise ValueError(f"it claims {number!r}: not given, or claimed before")
                        given.remove(number)
                        self._tally.settle(number)
                        self._ledger.methods.claim(number)
                        claims.add(number)
                        if stop.is_set():
                            break
            except BaseException as error:  # judged in the main thread
                errors.append(error)
            finally:
                share.end()
                claims.end()

        started = time.monotonic()
        thread = threading.Thread(target=work, name=f"method-{method.name}")
        thread.start()
        try:
            count = min(self._thread_count, len(numbers))
            self._threads.run(claims.get, count, on_tick=share.kept_at(on_tick))
        finally:
            stop.set("no more files are wanted")
            with self._liveness.aside():
                thread.join()
        for number in numbers:
            self._tally.settle(number)
        use.seconds += time.monotonic() - started
        proven = [number for number in numbers if self._ledger.is_proven(number)]
        use.files += len(proven)
        self._tally.send(files=len(proven), size=sum(map(self._plan.size_of, proven)))
        if errors:
            self._end(method, use, errors[0])

    def _end(self, method: Method, use: MethodUse, error: BaseException) -> None:
        """Stop using a method that has raised. Raises an error that ends the attempt."""
        if isinstance(error, InfrastructureError | ClaimLostError):
            raise error
        if isinstance(error, StoppedError) and self._stop.is_set():
            return
        self._ended.add(method.name)
        if isinstance(error, JobtoolError):
            use.reason = in_short(str(error))
        else:
            plugin = f"{type(method).__module__}:{type(method).__qualname__}"
            use.reason = in_short(f"{plugin} raised {type(error).__name__}: {error}")

    def _fail(self, numbers: Iterator[int]) -> None:
        """Record files that no method has moved as in error."""
        tried = ", ".join(
            use.name + (f" ({use.reason})" if use.reason else "") for use in self.uses
        )
        may_pass = any(use.seconds for use in self.uses)  # else none is available
        for number in [*numbers]:
            if not self._threads.may_go_on:
                return
            item = self._plan.item(number)
            text = f"{quote(item.destination_url)}: no method has moved the file: {tried}"
            error = StoreError(text) if may_pass else FileError(text)
            self._threads.fail(number, refusal(item) if number in self._refused else error)


class _Claims:
    """Files that a method has claimed. Its thread adds them, others take them."""

    def __init__(self, *, may_go_on: Callable[[], bool]) -> None:
        self._may_go_on = may_go_on
        self._numbers: deque[int] = deque()
        self._is_over = False
        self._changed = threading.Condition()

    def add(self, number: int) -> None:
        """Add a file."""
        with self._changed:
            self._numbers.append(number)
            self._changed.notify()

    def end(self) -> None:
        """Record that no more files will be added."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def get(self, most: int) -> Sequence[int]:
        """Wait for the next files and return at most ``most``; none once no more will come."""
        with self._changed:
            while self._may_go_on():
                if self._numbers:
                    count = min(most, len(self._numbers))
                    return [self._numbers.popleft() for _ in range(count)]
                if self._is_over:
                    break
                self._changed.wait(_LOOK_SECONDS)
            return ()


def _file_of(number: int, item: Item) -> MethodFile:
    return MethodFile(
        number=number,
        source=item.source_url,
        destination=item.destination_url,
        source_path=item.entry.path,
        destination_path=item.destination_path,
        size=item.entry.size,
        mtime_ns=item.entry.mtime_ns,
    )
