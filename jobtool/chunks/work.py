"""What the threads do: one call each, without touching the client's state."""

from __future__ import annotations

import inspect
import operator
import threading
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import tenacity

from jobtool.chunks.errors import ChunkError
from jobtool.chunks.records import Chunk, Key, temporary_of
from jobtool.chunks.sides import Look, Side
from jobtool.errors import FileError, JobtoolError, NotFoundError, SourceChangedError
from jobtool.names import quote

T = TypeVar("T")

Transfer = Callable[..., int]
Merge = Callable[..., Any]
Verify = Callable[[Any, Chunk], bool]
Prepare = Callable[[Any, str, int], Any]

_LONGEST_WAIT_SECONDS = 20.0


class Interrupted(Exception):  # noqa: N818 - not an error
    """A call ended early because a shutdown was requested."""


class Begun(msgspec.Struct, frozen=True):
    """What is found when a file is begun: its source's length and identity, its destination."""

    length: int
    source: str
    target: Look | None


class Work(msgspec.Struct, kw_only=True):
    """The callables and their settings; sizes are in bytes."""

    fs: Any
    transfer: Transfer
    merge: Merge | None
    verify: Verify | None
    prepare: Prepare | None
    source: Side
    target: Side
    chunksize: int
    buffersize: int
    blocksize: int
    retries: int
    backoff_seconds: float

    def chunk(self, key: Key, begun: Begun, offset: int, *, is_merged: bool = False) -> Chunk:
        """Return a chunk as it lies in its temporary file or, else or merged, the destination."""
        path, position = key[1], offset
        if self.merge is not None and not is_merged:
            path = temporary_of(key, begun.length, begun.source, self.chunksize, offset)
            position = 0
        size = min(self.chunksize, begun.length - offset)
        return Chunk(src=key[0], offset=offset, size=size, path=path, position=position)

    def tried(self, call: Callable[[], T], event: threading.Event, tries: int | None = None) -> T:
        """Return what ``call`` returns. Try again, with growing pauses, while it may help.

        It is tried ``retries`` times more by default. Raises ``Interrupted`` once the event is set.
        """
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(tries or self.retries + 1),
            wait=tenacity.wait_exponential(self.backoff_seconds, max=_LONGEST_WAIT_SECONDS)
            + tenacity.wait_random(0, self.backoff_seconds),
            retry=tenacity.retry_if_exception(lambda error: _may_pass(error, event)),
            sleep=tenacity.sleep_using_event(event),
            reraise=True,
        )
        try:
            return retrying(call)
        except Exception as error:
            if event.is_set():
                raise Interrupted from None
            _free(error)
            raise

    def begin(self, key: Key, length: int, is_given: bool) -> Begun:
        """Look at both sides of a file."""
        source = self.source.look(key[0])
        if source is None:
            raise NotFoundError(
                f"{quote(key[0])}: expected a file; found none. If it is a local file, not one of "
                "fs, pass local='source' or local='both'."
            )
        if source.size is not None and source.size != length:
            if is_given:
                raise SourceChangedError(
                    f"{quote(key[0])}: expected {length} bytes, as submitted; found {source.size}"
                )
            length = source.size
        target = self.target.look(key[1])
        if self.source.is_local and self.target.is_local and source == target:
            raise FileError(f"{quote(key[1])}: source and destination are the same file")
        return Begun(length, source.identity, target)

    def send(self, chunk: Chunk, event: threading.Event) -> None:
        """Transfer one chunk. Raises ``ChunkError`` unless all its bytes are said to be there."""
        if event.is_set():
            raise Interrupted
        written = self.transfer(
            self.fs, chunk.src, chunk.path, chunk.offset, chunk.size,
            self.buffersize, self.blocksize, **_event_for(self.transfer, event),
        )  # fmt: skip
        try:
            count = operator.index(written)
        except TypeError:
            raise ChunkError(
                f"transfer of {_named(chunk)}: expected the number of bytes written; "
                f"found {written!r:.80}"
            ) from None
        if count != chunk.size:
            raise ChunkError(
                f"transfer of {_named(chunk)}: expected {chunk.size} bytes written; found {count}"
            )

    def is_there(self, chunk: Chunk, target: Look | None) -> bool:
        """Return True if a chunk that was recorded as finished is still there.

        ``target`` is what the destination was when the file was begun. ``verify`` alone decides if
        it is given, else the size. If the size isn't known, the chunk isn't believed.
        """
        if self.verify is not None:
            return self._verified(self.verify, chunk)
        if self.merge is None:
            return _end_of(target) >= chunk.position + chunk.size
        found = self.target.look(chunk.path)
        return found is not None and found.size == chunk.size

    def _verified(self, verify: Verify, chunk: Chunk) -> bool:
        try:
            return bool(verify(self.fs, chunk))
        except FileNotFoundError:
            return False

    def finish(self, key: Key, begun: Begun, names: list[str], event: threading.Event) -> None:
        """Merge a file whose chunks are there, and check its size. ``names`` are temporary files.

        This isn't tried again: a merge that failed may have removed some of these. Raises
        ``SourceChangedError`` if the source isn't the one whose chunks were sent.
        """
        src, dst = key
        source = self.tried(lambda: self.source.look(src), event)
        size = None if source is None else source.size
        if source is None or source.identity != begun.source or size not in (None, begun.length):
            self.clear(names)
            raise SourceChangedError(
                f"{quote(src)} has changed while it was transferred. The next run starts it over."
            )
        if self.merge is not None:
            before = self.tried(lambda: self.target.look(dst), event)
            if event.is_set():
                raise Interrupted
            if self.merge(self.fs, dst, names, **_event_for(self.merge, event)) is False:
                raise ChunkError(f"merge of {quote(dst)}: it says that it hasn't merged the file")
            if event.is_set() and (not self.target.knows or self.target.look(dst) == before):
                raise Interrupted  # it may have returned early
        found = self.tried(lambda: self.target.look(dst), event)
        if found is None:
            raise ChunkError(
                f"{quote(dst)}: expected {begun.length} bytes; found no file. If it is a local "
                "file, not one of fs, pass local='target' or local='both'."
            )
        if found.size not in (None, begun.length):
            raise ChunkError(
                f"{quote(dst)}: expected {begun.length} bytes; found {found.size}. A transfer "
                "function must leave other chunks as they are, and what lay there before must be "
                "emptied by prepare, or replaced by merge."
            )
        if self.verify is None:
            self.clear(names)

    def clear(self, names: list[str]) -> None:
        """Remove the temporary files that a merge has left."""
        for name in names:
            self.target.remove(name)


def _end_of(target: Look | None) -> int:
    return -1 if target is None or target.size is None else target.size


def _may_pass(error: BaseException, event: threading.Event) -> bool:
    if event.is_set() or isinstance(error, Interrupted | SourceChangedError):
        return False
    if isinstance(error, JobtoolError):
        return error.retryable
    return isinstance(error, Exception)


def _event_for(function: Callable[..., Any], event: threading.Event) -> dict[str, Any]:
    """Return the argument ``shutdown_event``, if the function takes it."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # it can't be told of all that are written in C
        return {"shutdown_event": event}
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    return {"shutdown_event": event} if takes_any or "shutdown_event" in parameters else {}


def _free(error: BaseException) -> None:
    """Free what the frames of an exception hold, such as buffers: it may be kept for long."""
    one: BaseException | None = error
    while one is not None:
        traceback.clear_frames(one.__traceback__)
        one = one.__cause__ or one.__context__


def _named(chunk: Chunk) -> str:
    return f"{quote(chunk.src)}, {chunk.size} bytes at {chunk.offset}"
