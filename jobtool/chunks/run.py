"""One run: which call is next, and what its result means. All state is changed in one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Literal

from jobtool.chunks.errors import ChunkError
from jobtool.chunks.records import (
    CHUNK_STATES,
    FileState,
    Key,
    as_ranges,
    offsets_of,
)
from jobtool.chunks.statefile import FileRecord
from jobtool.chunks.states import StateManager
from jobtool.chunks.work import Begun, Interrupted, Work
from jobtool.errors import SourceChangedError
from jobtool.names import quote
from jobtool.stop import Stop

#: begin: look at both sides. check: are the chunks that were recorded still there? prepare, send:
#: the other chunks. finish: merge, sizes. prove: verify what lies at the destination. clear: remove
#: temporary files.
_Phase = Literal["begin", "check", "prepare", "send", "finish", "prove", "clear"]

_POLL_SECONDS = 0.1


class _Open:
    """A file under way."""

    def __init__(self, key: Key, record: FileRecord | None) -> None:
        self.key = key
        self.record = record
        self.phase: _Phase = "begin"
        self.todo: Iterator[int] = iter((0,))
        self.running = 0
        self.begun = Begun(0, "", None)
        self.doubtful: list[int] = []
        self.is_adopted = False  # whether the destination was already whole when it was begun
        self.done_bytes = 0
        self.error: Exception | None = None


class Run:
    """Transfers the files of a client and keeps their ``records``.

    ``save`` persists these; ``is_due`` says when it is time for that.
    """

    def __init__(
        self,
        work: Work,
        files: Mapping[Key, FileState],
        fstates: StateManager[Key],
        records: dict[Key, FileRecord],
        *,
        threads: int,
        stop: Stop,
        event: threading.Event,
        save: Callable[[], None],
        is_due: Callable[[], bool],
        progress: Callable[[int, int], None],
    ) -> None:
        self._work = work
        self._files = files
        self._fstates = fstates
        self._records = records
        self._threads = threads
        self._stop = stop
        self._event = event
        self._write = save
        self._is_due = is_due
        self._is_changed = False
        self._progress = progress
        self._waiting = iter([*files])
        self._open: dict[Key, _Open] = {}
        self._done = 0
        self._total = sum(file["length"] for file in files.values())

    def work(self) -> None:
        """Work until all is done or failed, or a stop is requested and the threads have ended."""
        try:
            with ThreadPoolExecutor(self._threads, thread_name_prefix="jobtool-chunk") as pool:
                try:
                    self._loop(pool)
                except BaseException:
                    self._event.set()
                    raise
        finally:
            self._settle()

    def _loop(self, pool: ThreadPoolExecutor) -> None:
        running: dict[Future[Any], tuple[_Open, int]] = {}
        while True:
            if self._stop.is_set():
                self._event.set()
            while len(running) < self._threads and not self._event.is_set():
                found = self._next()
                if found is None:
                    break
                file, offset, call = found
                file.running += 1
                tries = 1 if file.phase == "finish" else None
                running[pool.submit(self._work.tried, call, self._event, tries)] = file, offset
            if not running:
                return
            for future in wait(running, _POLL_SECONDS, FIRST_COMPLETED).done:
                file, offset = running.pop(future)
                file.running -= 1
                self._take(file, offset, future)
            if self._is_changed and self._is_due():
                self._save()

    def _next(self) -> tuple[_Open, int, Callable[[], Any]] | None:
        """Return the next call: of the file that was begun first, if it has one."""
        for file in [*self._open.values()]:
            while file.key in self._open:
                offset = next(file.todo, None) if file.error is None else None
                if offset is not None:
                    return file, offset, self._call(file, offset)
                if file.running:
                    break
                self._advance(file)
        key = next(self._waiting, None)
        if key is None:
            return None
        file = self._open[key] = _Open(key, self._records.get(key))
        self._files[key]["exception"] = None
        self._files[key]["errors"] = {}
        self._fstates[key] = "transferring"
        return file, next(file.todo), self._call(file, 0)

    def _call(self, file: _Open, offset: int) -> Callable[[], Any]:
        work, event, its, begun = self._work, self._event, self._files[file.key], file.begun
        if file.phase == "begin":
            length, is_given = its["length"], its["given"]
            return lambda: work.begin(file.key, length, is_given)
        chunk = work.chunk(file.key, begun, offset, is_merged=file.phase == "prove")
        if file.phase == "check":
            return lambda: work.is_there(chunk, begun.target)
        if file.phase == "prove":
            return lambda: work.verify is None or work.is_there(chunk, None)
        if file.phase == "send":
            its["cstates"][offset] = "running"
            return lambda: work.send(chunk, event)
        if file.phase == "prepare":
            prepare = work.prepare or work.target.create
            return lambda: prepare(work.fs, file.key[1], begun.length)
        names = [work.chunk(file.key, begun, one).path for one in self._offsets(file) if work.merge]
        if file.phase == "finish":
            return lambda: work.finish(file.key, begun, names, event)
        return lambda: work.clear(names)

    def _take(self, file: _Open, offset: int, future: Future[Any]) -> None:
        """Take the result of a call."""
        self._is_changed = True
        states, is_sent = self._files[file.key]["cstates"], file.phase == "send"
        try:
            result = future.result()
        except Interrupted:
            if is_sent:
                states[offset] = "pending"
            file.error = file.error or Interrupted()
            return
        except Exception as error:
            if is_sent:
                states[offset] = "errored"
                self._files[file.key]["errors"][offset] = error
            file.error = file.error or error
            return
        if file.phase == "begin":
            self._begin(file, result)
        elif file.phase in ("check", "prove") and not result:
            file.doubtful.append(offset)
        elif file.phase in ("check", "send"):
            states[offset] = "finished"
            self._tell(file, self._work.chunk(file.key, file.begun, offset).size)

    def _begin(self, file: _Open, begun: Begun) -> None:
        """Compare what was found with what is recorded. Another version starts over."""
        its, record, work = self._files[file.key], file.record, self._work
        self._total += begun.length - its["length"]
        its["length"], its["source"], file.begun = begun.length, begun.source, begun
        states: StateManager[int] = StateManager(*CHUNK_STATES)
        its["cstates"] = states
        states.set_all(self._offsets(file), "pending")
        if record is None:
            return
        chunks = [one for first, end in record.chunks for one in range(first, end)]
        size = None if begun.target is None else begun.target.size
        if (record.length, record.source) != (begun.length, begun.source):
            offsets = [one * work.chunksize for one in chunks]
            old = Begun(record.length, record.source, None)
            if work.merge is not None and not record.finished:
                work.clear([work.chunk(file.key, old, one).path for one in offsets])
            file.doubtful = offsets or [0]  # the record must go before anything is written
            return
        if record.finished:
            chunks = [*range(len(states))]
        # Without verify only sizes are looked at. What has another size than a finished file, or is
        # larger, was put there by someone else: nothing of it is believed.
        is_foreign = size is not None and (
            size > begun.length or (record.finished and size != begun.length and not work.verify)
        )
        if work.merge is None and (begun.target is None or is_foreign):
            file.doubtful = [one * work.chunksize for one in chunks]
            return
        states.set_all((one * work.chunksize for one in chunks), "finished")
        may_be_whole = size == begun.length or (size is None and begun.target is not None)
        if may_be_whole and states.contains_all("finished"):
            file.is_adopted = work.verify is not None or (record.finished and size is not None)

    def _advance(self, file: _Open) -> None:
        """Go on to a file's next phase, all calls of the last one having ended."""
        its, work, every = self._files[file.key], self._work, self._offsets(file)
        states = its["cstates"]
        if file.error is not None:
            self._close(file)
        elif file.phase == "begin":
            if file.is_adopted:
                self._enter(file, "prove", every if work.verify else ())
            else:
                self._enter(file, "check", states.in_state("finished"))
        elif file.phase == "prove" and file.doubtful and file.is_adopted:
            file.is_adopted, file.doubtful = False, []
            self._enter(file, "check", every)
        elif file.phase == "prove" and file.doubtful:
            states.set_all(every if work.merge else file.doubtful, "pending")
            self._record(file)
            self._save()
            file.error = ChunkError(
                f"{quote(file.key[1])}: verify refuses {len(file.doubtful)} of {len(every)} "
                "chunk(s). The next run sends them again."
            )
        elif file.phase == "check":
            if file.doubtful:
                # This must be on disk before anything is written: a later run that looked only at
                # sizes would take what is half written for what was finished.
                states.set_all((one for one in file.doubtful if one in states), "pending")
                file.doubtful = []
                self._record(file)
                self._save()
            is_new = not states.count("finished")
            creates = work.prepare or (work.merge is None and work.target.is_local)
            self._enter(file, "prepare", (0,) if is_new and creates else ())
        elif file.phase == "prepare":
            self._enter(file, "send", states.in_state("pending"))
        elif file.phase == "send":
            if work.merge:
                self._fstates[file.key] = "merging"
                if len(every) > 1:  # then it costs little, beside the merge
                    self._save()
            self._enter(file, "finish", (0,))
        elif file.phase == "finish":
            self._enter(file, "prove", every if work.verify else ())
        elif file.phase == "prove":
            self._enter(file, "clear", (0,) if work.merge and work.verify else ())
        else:
            self._close(file)

    def _enter(self, file: _Open, phase: _Phase, todo: Any) -> None:
        file.phase, file.todo = phase, iter(todo)

    def _close(self, file: _Open) -> None:
        """Record how a file ended."""
        its = self._files[file.key]
        if isinstance(file.error, SourceChangedError):
            its["source"] = ""
            its["cstates"] = StateManager(*CHUNK_STATES)
        if file.error is None:
            self._fstates[file.key] = "finished"
        elif isinstance(file.error, Interrupted):
            self._fstates[file.key] = "pending"
        else:
            self._fstates[file.key] = "errored"
            its["exception"] = file.error
        if file.phase != "begin":
            self._record(file)
        del self._open[file.key]
        if file.error is None:
            its["cstates"] = StateManager(*CHUNK_STATES)
            self._tell(file, its["length"] - file.done_bytes)

    def _settle(self) -> None:
        """Leave no file as if it were under way, and save."""
        for file in [*self._open.values()]:
            states = self._files[file.key]["cstates"]
            states.set_all(states.in_state("running"), "pending")
            file.error = file.error or Interrupted()
            self._close(file)
        self._save()

    def _save(self) -> None:
        for file in self._open.values():
            if file.phase not in ("begin", "check"):  # until then the earlier record holds
                self._record(file)
        self._is_changed = False
        self._write()

    def _record(self, file: _Open) -> None:
        its = self._files[file.key]
        finished = self._fstates[file.key] == "finished"
        if file.is_adopted and not finished:
            return  # the earlier record holds until it is refuted
        numbers = () if finished else (
            one // self._work.chunksize for one in its["cstates"].in_state("finished")
        )  # fmt: skip
        self._records[file.key] = FileRecord(
            src=quote(file.key[0]),
            dst=quote(file.key[1]),
            length=its["length"],
            source=its["source"],
            finished=finished,
            chunks=as_ranges(numbers),
        )

    def _tell(self, file: _Open, size: int) -> None:
        file.done_bytes += size
        self._done += size
        self._progress(self._done, self._total)

    def _offsets(self, file: _Open) -> range:
        return offsets_of(file.begun.length, self._work.chunksize)
