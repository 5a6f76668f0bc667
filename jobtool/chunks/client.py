"""The client: files are submitted, run, and looked at while they run."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, get_args

from msgspec.structs import replace

from jobtool.api.background import Call, in_background
from jobtool.chunks.errors import StateFileError, TransferError
from jobtool.chunks.records import (
    CHUNK_STATES,
    FILE_STATES,
    MAX_CHUNKS,
    Chunk,
    File,
    FileState,
    Key,
    offsets_of,
)
from jobtool.chunks.run import Run
from jobtool.chunks.sides import Side
from jobtool.chunks.statefile import FileRecord, State, StateFile
from jobtool.chunks.states import StateManager
from jobtool.chunks.work import Begun, Merge, Prepare, Transfer, Verify, Work
from jobtool.errors import NotFoundError, UsageError
from jobtool.names import quote
from jobtool.stop import Stop

#: Which paths are local files, not files of ``fs``.
Local = Literal["source", "target", "both"]


class TransferClient:
    """Transfers files in chunks by two functions of yours, in threads, and resumes.

    ``transfer(fs, src, dst, offset, size, buffersize, blocksize, shutdown_event=...)`` copies
    ``size`` bytes from ``offset`` of ``src`` and returns how many bytes it wrote. With ``merge`` it
    writes them into a new file ``dst``, which is a temporary one. Without it writes them at
    ``offset`` of ``dst``, and leaves the rest of that file as it is.

    ``merge(fs, outfile, files, shutdown_event=...)`` makes ``outfile``, in place of any that is
    there, of the bytes of ``files``, in that order. It may remove these. If it ends early because
    of the event it raises an exception or returns False.

    Both may be called from several threads at once, and again for the same chunk or file. The
    event is a ``threading.Event``. It is set when a shutdown is requested. A function without such
    a parameter is called without it.

    Args:
        fs: Passed on to all functions. Sizes and versions of files are asked of its ``info`` or
            ``size``, as fsspec has them. None if there are local files only.
        transfer: See above.
        merge: See above.
        nthreads: How many calls may run at a time.
        chunksize: Bytes in a chunk.
        buffersize: Bytes; passed on to ``transfer``.
        blocksize: Bytes; passed on to ``transfer``.
        local: ``"source"`` for an upload of local files to ``fs``, ``"target"`` for a download,
            ``"both"`` if ``fs`` isn't asked at all.
        prepare: ``prepare(fs, dst, length)`` is called before the first chunk of a file that starts
            from its beginning. Without ``merge`` it must leave a ``dst`` that chunks can be written
            into. If ``dst`` is a local file, by default it is made empty.
        verify: ``verify(fs, chunk)`` returns whether the bytes at ``chunk.position`` of
            ``chunk.path`` are those of the source. Chunks that an earlier run has finished are
            passed to it, and all chunks of a file before that counts as finished.
        progress_callback: ``progress_callback(done_bytes, total_bytes)`` is called in the thread
            that called ``run``. An exception from it stops the run, and ``run`` raises it.
        persist_path: The state file. It is written about once a second.
        name: Names the transfer in the state file, such as by its account. A state file of another
            name is refused.
        retries: How often a failed chunk is tried again.
        backoff_seconds: The pause before the first of these; it doubles each time.

    Raises ``UsageError`` for an argument that makes no sense.
    """

    def __init__(
        self,
        fs: Any,
        transfer: Transfer,
        merge: Merge | None = None,
        *,
        nthreads: int = 8,
        chunksize: int = 2**28,
        buffersize: int = 2**25,
        blocksize: int = 2**25,
        local: Local | None = None,
        prepare: Prepare | None = None,
        verify: Verify | None = None,
        progress_callback: Callable[[int, int], object] | None = None,
        persist_path: str | os.PathLike[str] | None = None,
        name: str = "",
        retries: int = 3,
        backoff_seconds: float = 0.5,
    ) -> None:
        sizes = {"chunksize": chunksize, "buffersize": buffersize, "blocksize": blocksize}
        for what, number in {"nthreads": nthreads, **sizes, "retries": retries + 1}.items():
            if number < 1:
                least = 0 if what == "retries" else 1
                raise UsageError(f"{what}: expected {least} or more; found {number + least - 1}")
        if local not in (None, *get_args(Local)):
            raise UsageError(f"local: expected source, target, both or None; found {local!r}")
        self._work = Work(
            fs=fs,
            transfer=transfer,
            merge=merge,
            verify=verify,
            prepare=prepare,
            source=Side(None if local in ("source", "both") else fs),
            target=Side(None if local in ("target", "both") else fs),
            chunksize=chunksize,
            buffersize=buffersize,
            blocksize=blocksize,
            retries=retries,
            backoff_seconds=backoff_seconds,
        )
        self._nthreads = nthreads
        self._progress_callback = progress_callback
        self._persist_path = None if persist_path is None else os.fspath(persist_path)
        self._name = name
        #: The state of each file by (src, dst).
        self._fstates: StateManager[Key] = StateManager(*FILE_STATES)
        self._files: dict[Key, FileState] = {}
        self._sources: dict[str, str] = {}  # by destination
        self._records: dict[Key, FileRecord] = {}
        self._stop, self._event = Stop(), threading.Event()
        self._running = threading.Lock()

    def submit(
        self,
        src: str | os.PathLike[str],
        dst: str | os.PathLike[str],
        length: int | None = None,
    ) -> None:
        """Add a file to those that ``run`` transfers. By default its length is looked up.

        Raises ``NotFoundError``, ``UsageError`` if the file can't be added, and what ``fs`` raises.
        """
        key = os.fsdecode(src), os.fsdecode(dst)
        size = length
        if size is None:
            found = self._work.source.look(key[0])
            if found is None:
                raise NotFoundError(f"{quote(key[0])}: expected a file; found none")
            size = found.size
        if size is None or size < 0:
            raise UsageError(
                f"{quote(key[0])}: expected a length of 0 or more bytes, as fs can't tell it; "
                f"found {size}"
            )
        with self._not_running():
            self._add(key, size, is_given=length is not None)

    def _add(self, key: Key, length: int, *, is_given: bool) -> None:
        src, dst = key
        chunks = len(offsets_of(length, self._work.chunksize))
        if chunks > MAX_CHUNKS:
            raise UsageError(
                f"{quote(src)}: expected at most {MAX_CHUNKS} chunks; found {chunks}. Use a "
                f"chunksize of {-(-length // MAX_CHUNKS)} or more."
            )
        if src == dst and self._work.source.is_local == self._work.target.is_local:
            raise UsageError(
                f"{quote(dst)}: source and destination are the same file. Name another one."
            )
        if self._sources.setdefault(dst, src) != src:
            raise UsageError(
                f"{quote(dst)}: expected one source; found {quote(self._sources[dst])} and "
                f"{quote(src)}"
            )
        self._files[key] = FileState(
            length=length,
            cstates=StateManager(*CHUNK_STATES),
            exception=None,
            errors={},
            source="",
            given=is_given,
        )
        self._fstates[key] = "pending"

    def run(self, nthreads: int | None = None, *, raise_on_error: bool = False) -> bool:
        """Transfer all files; return True if all are finished.

        With a state file, go on from what it records. If nothing was submitted, its files are
        transferred, else those that were submitted. Files that failed are tried again. What is
        recorded as finished is transferred again unless it is still there, and so is a file whose
        source has changed.

        An exception in this thread, such as ``KeyboardInterrupt``, sets the functions' event. It is
        raised once the calls under way have ended and the state is written.

        Raises ``StateFileError`` if the state file can't be used, and, with ``raise_on_error``,
        ``TransferError`` if a file failed.
        """
        with self._not_running():
            try:
                in_background(lambda call: self._run(call, nthreads or self._nthreads), self._stop)
            finally:
                self._stop, self._event = Stop(), threading.Event()
        errors = self.errors
        if errors and raise_on_error:
            raise TransferError(errors, len(self._files))
        return self.successful()

    @contextlib.contextmanager
    def _not_running(self) -> Iterator[None]:
        if not self._running.acquire(blocking=False):
            raise UsageError("this client is running. Wait until run has returned.")
        try:
            yield
        finally:
            self._running.release()

    def _run(self, call: Callable[[Call], None], threads: int) -> None:
        state_file = None if self._persist_path is None else StateFile(self._persist_path)
        try:
            if state_file is not None:
                self._take_up(state_file.path, state_file.open())
            for key in self._files:
                self._fstates[key] = "pending"
            callback = self._progress_callback

            def progress(done: int, total: int) -> None:
                if callback is not None:
                    call(partial(_call, callback, done, total))

            Run(
                self._work,
                self._files,
                self._fstates,
                self._records,
                threads=threads,
                stop=self._stop,
                event=self._event,
                save=lambda: None if state_file is None else state_file.write(self._state()),
                is_due=lambda: state_file is not None and state_file.is_due(),
                progress=progress,
            ).work()
        finally:
            if state_file is not None:
                state_file.close()

    def _state(self) -> State:
        return State(
            name=self._name,
            chunksize=self._work.chunksize,
            merges=self._work.merge is not None,
            files=[*self._records.values()],
        )

    def _take_up(self, path: str, state: State | None) -> None:
        """Take over what a state file records. Refuse that of another transfer."""
        self._records = {} if state is None else state.by_key()
        if state is None:
            return
        ours = self._state()
        named = f"state file {quote(path)} is of another transfer"
        advice = "Name another file, or remove this one to start anew."
        for what in ("name", "chunksize", "merges"):
            expected, found = getattr(ours, what), getattr(state, what)
            if expected != found:
                raise StateFileError(
                    f"{named}: expected {what} {expected}; found {found}. {advice}"
                )
        if not self._files:
            for key, record in self._records.items():
                self._add(key, record.length, is_given=False)
            return
        for src, dst in self._records:
            if self._sources.get(dst, src) != src:
                raise StateFileError(
                    f"{named}: expected {quote(dst)} from {quote(self._sources[dst])}; found it "
                    f"from {quote(src)}. {advice}"
                )
        if self._records and not self._files.keys() & self._records.keys():
            raise StateFileError(f"{named}: it has none of the files submitted. {advice}")

    def shutdown(self) -> None:
        """Ask ``run`` to end: set the functions' event, begin nothing more.

        ``run`` returns once the calls under way have ended and the state is written. Any thread, or
        a signal handler, may call this. Before ``run`` it ends the next one at once.
        """
        self._stop.set()
        self._event.set()

    @property
    def errors(self) -> dict[Key, Exception]:
        """The exception of each file that failed in the last run."""
        return {key: its["exception"] for key, its in self._files.items() if its["exception"]}

    def successful(self) -> bool:
        """Return True if all files are finished."""
        return not self._files or self._fstates.contains_all("finished")

    @property
    def progress(self) -> list[File]:
        """All files with all their chunks. It may be called while ``run`` works."""
        return [self._file(key) for key in [*self._files]]

    def _file(self, key: Key) -> File:
        its, state = self._files[key], self._fstates[key]
        begun = Begun(its["length"], its["source"], None)
        states, is_finished = its["cstates"], state == "finished"
        chunks: list[Chunk] = []
        for offset in offsets_of(its["length"], self._work.chunksize):
            chunk = self._work.chunk(key, begun, offset, is_merged=is_finished)
            found = "finished" if is_finished else states.get(offset, "pending")
            chunks.append(replace(chunk, state=found, exception=its["errors"].get(offset)))
        return File(
            src=key[0],
            dst=key[1],
            length=its["length"],
            state=state,
            chunks=chunks,
            exception=its["exception"],
        )


def _call(callback: Callable[[int, int], object], done: int, total: int) -> None:
    callback(done, total)


#: The name that users of Azure Data Lake know.
ADLTransferClient = TransferClient
