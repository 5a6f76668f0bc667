"""Batches: pieces of a job's work that its holder shares with idle workers.

They are in a folder beside the job's journal::

    source_8__J1__A1170383.blocks/
    ├── node3-812-9f3c1a.helper   a worker offers its help
    ├── 000001.block              the work to do
    ├── 000001.jsonl              the records of the helper that did it
    ├── 000001.done               the batch is over; names the helper that did it, if any
    ├── stay                      there may be more to share later
    └── closed                    there is nothing more to share

A batch is claimed like a job. Only the holder of that claim does its files or parts. The job's
holder does what is still undone when the batch is over. So a helper can neither finish nor fail a
job, and a helper that dies costs one batch at most. The names on disk keep an older word for a
batch, ``block``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator

import msgspec

from jobtool import typed
from jobtool.errors import JobFileError, JoblistUnavailableError
from jobtool.jobs.atomic_write import replace_file
from jobtool.jobs.claim import Claim, Claims
from jobtool.jobs.forms import Compression
from jobtool.jobs.journal import JOURNAL_SUFFIX, Journal
from jobtool.jobs.records import Record, UploadRecord
from jobtool.names import quote, unquote

#: How long a holder uses a listing of the folder, in seconds: without helpers, and with.
LOOK_SECONDS = 2.0
LOOK_SECONDS_WITH_HELPERS = 0.5

_TRIES = 5

_STAY = "stay"
_CLOSED = "closed"
_HELPER_SUFFIX = ".helper"
_BATCH_NAME = re.compile(r"(\d{6})\.(block|done)")


#: The default of ``preserve``.
WORDS_BY_DEFAULT = "mode,times"


class BatchFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of a batch, by absolute paths or URLs, as its holder has listed it.

    ``existing_size`` is the size in bytes of the file at the destination, -1 if there is none, -2
    if that isn't known. ``ours`` is True if a record says that the job wrote that file.
    ``existing_other_size`` is the size of the file in the form that ``compression`` gives it.
    ``as_it_is`` says that it gets none.
    """

    src_path: str
    dst_path: str
    size: int
    mtime_ns: int
    existing_size: int = -1
    ours: bool = False
    existing_other_size: int = -1
    as_it_is: bool = False


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whole ``files``, or the parts of one ``upload`` from ``first_part`` to ``last_part``.

    ``attempt`` is the holder's; ``if_exists``, ``verify``, ``preserve`` and ``compression`` are its
    policies.
    """

    attempt: int
    if_exists: str
    verify: str
    preserve: str = WORDS_BY_DEFAULT
    compression: Compression = "none"
    files: tuple[BatchFile, ...] = ()
    upload: UploadRecord | None = None
    first_part: int = 0
    last_part: int = 0


class ClaimedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that a helper has claimed."""

    number: int
    batch: Batch
    claim: Claim
    journal: Journal


class Batches:
    """The batches of one job. ``path`` is their folder, which exists only while there are any."""

    def __init__(
        self, path: str, claims: Claims, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._claims = claims.within(path)
        self._monotonic = monotonic
        self._names: frozenset[str] = frozenset()
        self._looked_at = monotonic()  # the folder of a short job is never listed
        self._last = 0
        self._refused: set[int] = set()

    # For the holder of the job.

    @property
    def helpers(self) -> int:
        """How many workers offer help, by a listing that may be a moment old."""
        return sum(name.endswith(_HELPER_SUFFIX) for name in self._look())

    @property
    def exist(self) -> bool:
        """Whether the last listing showed anything that this or an earlier attempt shared."""
        return bool(self._names)

    def look(self) -> None:
        """List the folder again."""
        self._looked_at = float("-inf")
        self._look()

    def publish(self, batch: Batch) -> int:
        """Offer a batch; return its number."""
        if not self._last:
            # A worker that died while removing a batch may have left only its ``done`` file.
            self._last = max((*self._numbers("block"), *self._numbers("done")), default=0)
        self._last += 1
        self._write(f"{self._last:06d}.block", msgspec.json.encode(_quoted(batch)))
        return self._last

    def is_done(self, number: int) -> bool:
        """Return True if a batch is over, by a listing that may be a moment old."""
        return f"{number:06d}.done" in self._look()

    def reclaim(self, number: int) -> bool:
        """End a batch that no helper works on; return False if one does, or may."""
        claim = self._claims.acquire(f"{number:06d}")
        if claim is None:
            return False
        with claim:
            claim.remove_older()
            # Its helper may have finished it since the last listing.
            if not os.path.exists(self._file(number, "done")):
                claim.require_held()
                self._mark_done(number, "")
        return True

    def open_numbers(self) -> list[int]:
        """Return the numbers of the batches that aren't over, by a new listing."""
        self.look()
        return sorted(set(self._numbers("block")) - set(self._numbers("done")))

    def worker_of(self, number: int) -> str:
        """Return the name of the helper that did a batch that is over; empty if none did."""
        with contextlib.suppress(OSError), open(self._file(number, "done"), "rb") as file:
            return os.fsdecode(file.read())
        return ""

    def records(self, number: int) -> Iterator[Record]:
        """Yield the records of a batch, oldest first."""
        return Journal(self._file(number, JOURNAL_SUFFIX[1:])).read()

    def forget(self, number: int) -> None:
        """Remove a batch that is over and whose records the job's journal has."""
        for name in self._names_of(number):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._path, name))

    def _names_of(self, number: int) -> list[str]:
        # The ``done`` file goes last: a helper that looks meanwhile must not take the batch.
        self._look()
        names = [name for name in self._names if name.startswith(f"{number:06d}.")]
        return sorted(names, key=lambda name: name.endswith(".done"))

    def ask_to_stay(self) -> None:
        """Signal to helpers that more may be shared later."""
        if _STAY not in self._look():
            self._write(_STAY, b"")

    def close(self) -> None:
        """Signal to helpers that nothing more will be shared."""
        if _CLOSED not in self._look():
            self._write(_CLOSED, b"")

    def reopen(self) -> None:
        """Undo ``close``, for another attempt."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._path, _CLOSED))

    def remove(self) -> None:
        """Remove the folder of a job that is over."""
        shutil.rmtree(self._path, ignore_errors=True)

    # For a helper.

    def offer(self, name: str) -> None:
        """Offer help. Give up silently if the folder is removed again and again meanwhile."""
        for _ in range(_TRIES):
            # Another helper or the end of the job may remove the folder between the two calls.
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                os.makedirs(self._path, exist_ok=True)
                with open(os.path.join(self._path, name + _HELPER_SUFFIX), "wb"):
                    return

    def withdraw(self, name: str) -> None:
        """Withdraw the offer, and remove the folder if it is empty."""
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._path, name + _HELPER_SUFFIX))
            os.rmdir(self._path)

    def withdraw_all(self) -> None:
        """Withdraw the offers of all helpers. That does no harm to helpers that still run."""
        self.look()
        for name in self._names:
            if name.endswith(_HELPER_SUFFIX):
                self.withdraw(name.removesuffix(_HELPER_SUFFIX))

    @property
    def is_asked_to_stay(self) -> bool:
        """Whether more may be shared later, if the job's holder still runs."""
        return _STAY in self._look()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will be shared, or the job is over."""
        return _CLOSED in self._look() or not self._names

    def acquire(
        self, accepts: Callable[[Batch], bool], on_loss: Callable[[], None]
    ) -> ClaimedBatch | None:
        """Acquire a batch that no helper works on and for which ``accepts`` returns True.

        Return None if there is none. ``on_loss`` is called from another thread when a lease on the
        batch is found to be lost.
        """
        self.look()
        for number in self._numbers("block"):
            if number in self._refused or f"{number:06d}.done" in self._names:
                continue
            claim = self._claims.acquire(f"{number:06d}", on_loss=on_loss)
            if claim is None:
                continue
            claim.remove_older()  # so that an earlier holder detects the loss of its claim
            batch = self._read(number)
            if batch is None or os.path.exists(self._file(number, "done")) or not accepts(batch):
                self._refused.add(number)
                claim.release()
                continue
            journal = Journal(self._file(number, JOURNAL_SUFFIX[1:]), claim.require_held)
            return ClaimedBatch(number=number, batch=batch, claim=claim, journal=journal)
        return None

    def finish(self, taken: ClaimedBatch, worker: str) -> None:
        """End a batch whose records are in its journal."""
        taken.claim.require_held()
        self._mark_done(taken.number, worker)

    def _mark_done(self, number: int, worker: str) -> None:
        self._write(f"{number:06d}.done", os.fsencode(worker))
        self._looked_at = float("-inf")

    def _read(self, number: int) -> Batch | None:
        try:
            with open(self._file(number, "block"), "rb") as file:
                return _unquoted(typed.decode(file.read(), Batch))
        except (OSError, msgspec.DecodeError, JobFileError):
            return None  # removed meanwhile, or not a batch

    def _look(self) -> frozenset[str]:
        now = self._monotonic()
        if now - self._looked_at >= (LOOK_SECONDS_WITH_HELPERS if self._names else LOOK_SECONDS):
            self._looked_at = now
            try:
                self._names = frozenset(os.listdir(self._path))
            except OSError:
                self._names = frozenset()
        return self._names

    def _numbers(self, kind: str) -> list[int]:
        found = (_BATCH_NAME.fullmatch(name) for name in self._look())
        return sorted(int(match[1]) for match in found if match and match[2] == kind)

    def _file(self, number: int, suffix: str) -> str:
        return os.path.join(self._path, f"{number:06d}.{suffix}")

    def _write(self, name: str, data: bytes) -> None:
        for _ in range(_TRIES):
            try:
                os.makedirs(self._path, exist_ok=True)
                replace_file(os.path.join(self._path, name), data)
                return
            except (FileNotFoundError, FileExistsError) as error:
                failure: OSError = error  # the last helper has just removed the empty folder
            except OSError as error:
                failure = error
                break
        raise JoblistUnavailableError(
            f"can't write in {quote(self._path)}: {failure.strerror or failure}"
        )


def _quoted(batch: Batch) -> Batch:
    return _each_path(batch, quote)


def _unquoted(batch: Batch) -> Batch:
    return _each_path(batch, unquote)


def _each_path(batch: Batch, change: Callable[[str], str]) -> Batch:
    replace = msgspec.structs.replace
    files = tuple(
        replace(file, src_path=change(file.src_path), dst_path=change(file.dst_path))
        for file in batch.files
    )
    upload = batch.upload
    if upload is not None:
        upload = replace(
            upload,
            src_path=change(upload.src_path),
            dst_path=change(upload.dst_path),
            token=change(upload.token),
        )
    return replace(batch, files=files, upload=upload)
