"""Batches: pieces of a job's work that its holder shares with workers that have nothing to do.

They lie in a folder beside the job's journal::

    source_8__J1__A1170383.blocks/
    ├── node3-812-9f3c1a.helper   a worker offers its help
    ├── 000001.block              what is to be done
    ├── 000001.jsonl              the records of whoever did it
    ├── 000001.done               it is over; who did it, or nobody
    ├── stay                      there may be something to share later
    └── closed                    there is nothing more to share

A batch is claimed like a job. Its files or parts are done by whoever holds that claim and by nobody
else; what is missing when it is over is the holder's business again. So a helper can neither
finish nor fail a job, and one that dies costs its last batch. The names on disk keep an older word
for a batch, ``block``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from jobtool.errors import JobFileError, JoblistUnavailableError
from jobtool.jobs.atomic_write import replace_file
from jobtool.jobs.claim import Claim, Claims
from jobtool.jobs.journal import JOURNAL_SUFFIX, Journal
from jobtool.jobs.records import Record, UploadRecord
from jobtool.names import quote, unquote

#: How long a holder's listing of the folder serves, in seconds: without helpers, and with.
LOOK_SECONDS = 2.0
LOOK_SECONDS_WITH_HELPERS = 0.5

_TRIES = 5

_STAY = "stay"
_CLOSED = "closed"
_HELPER_SUFFIX = ".helper"
_BATCH_NAME = re.compile(r"(\d{6})\.(block|done)")


#: What ``preserve`` says where nothing was asked for.
WORDS_BY_DEFAULT = "mode,times"


class BatchFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of a batch, by absolute paths or URLs, as its holder has listed it.

    ``existing_size`` is what the destination held of that name, -1 for nothing, -2 if that isn't
    known; ``ours`` tells whether a record of the job says that what is there is the job's own.
    """

    src_path: str
    dst_path: str
    size: int
    mtime_ns: int
    existing_size: int = -1
    ours: bool = False


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whole ``files``, or the parts of one ``upload`` from ``first_part`` to ``last_part``.

    ``attempt`` is the holder's; ``if_exists``, ``verify`` and ``preserve`` are its policies.
    """

    attempt: int
    if_exists: str
    verify: str
    preserve: str = WORDS_BY_DEFAULT
    files: tuple[BatchFile, ...] = ()
    upload: UploadRecord | None = None
    first_part: int = 0
    last_part: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A batch in the hands of a helper."""

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
        self._looked_at = monotonic()  # a job that is done sooner is never looked at
        self._last = 0
        self._refused: set[int] = set()

    # What the holder of the job does.

    @property
    def helpers(self) -> int:
        """How many workers offer their help, by a look that may be a moment old."""
        return sum(name.endswith(_HELPER_SUFFIX) for name in self._look())

    @property
    def exist(self) -> bool:
        """Whether this or an earlier attempt has shared anything, as far as was looked."""
        return bool(self._names)

    def look(self) -> None:
        """Look afresh."""
        self._looked_at = float("-inf")
        self._look()

    def publish(self, batch: Batch) -> int:
        """Offer a batch; return its number."""
        if not self._last:
            # One that is over may be left alone by who died while removing it.
            self._last = max((*self._numbers("block"), *self._numbers("done")), default=0)
        self._last += 1
        self._write(f"{self._last:06d}.block", msgspec.json.encode(_quoted(batch)))
        return self._last

    def is_done(self, number: int) -> bool:
        """Tell whether a batch is over, by a look that may be a moment old."""
        return f"{number:06d}.done" in self._look()

    def take_back(self, number: int) -> bool:
        """End a batch that nobody works on; False if somebody does, or may."""
        claim = self._claims.take(f"{number:06d}")
        if claim is None:
            return False
        with claim:
            claim.remove_older()
            # Whoever has done it may have said so since we looked.
            if not os.path.exists(self._file(number, "done")):
                claim.require_held()
                self._mark_done(number, "")
        return True

    def open_numbers(self) -> list[int]:
        """Return the batches that aren't over, by a fresh look."""
        self.look()
        return sorted(set(self._numbers("block")) - set(self._numbers("done")))

    def worker_of(self, number: int) -> str:
        """Return who has done a batch that is over; empty if nobody has."""
        with contextlib.suppress(OSError), open(self._file(number, "done"), "rb") as file:
            return os.fsdecode(file.read())
        return ""

    def records(self, number: int) -> Iterator[Record]:
        """Yield what was recorded of a batch, oldest first."""
        return Journal(self._file(number, JOURNAL_SUFFIX[1:])).read()

    def forget(self, number: int) -> None:
        """Remove a batch that is over and whose records are kept elsewhere."""
        for name in self._names_of(number):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._path, name))

    def _names_of(self, number: int) -> list[str]:
        # The mark that it is over goes last: who looks meanwhile must not take it up.
        self._look()
        names = [name for name in self._names if name.startswith(f"{number:06d}.")]
        return sorted(names, key=lambda name: name.endswith(".done"))

    def ask_to_stay(self) -> None:
        """Tell helpers that something may be shared later."""
        if _STAY not in self._look():
            self._write(_STAY, b"")

    def close(self) -> None:
        """Tell helpers that nothing more will be shared."""
        if _CLOSED not in self._look():
            self._write(_CLOSED, b"")

    def reopen(self) -> None:
        """Take that back, for another attempt."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._path, _CLOSED))

    def remove(self) -> None:
        """Remove all of it; the job is over."""
        shutil.rmtree(self._path, ignore_errors=True)

    # What a helper does.

    def offer(self, name: str) -> None:
        """Offer help; in vain if the folder is removed again and again meanwhile."""
        for _ in range(_TRIES):
            # Between the two, another helper or the end of the job may remove it.
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                os.makedirs(self._path, exist_ok=True)
                with open(os.path.join(self._path, name + _HELPER_SUFFIX), "wb"):
                    return

    def withdraw(self, name: str) -> None:
        """Take the offer back, and leave no empty folder."""
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._path, name + _HELPER_SUFFIX))
            os.rmdir(self._path)

    def withdraw_all(self) -> None:
        """Take every offer back, of whomever; one whose helper lives is missed by nobody."""
        self.look()
        for name in self._names:
            if name.endswith(_HELPER_SUFFIX):
                self.withdraw(name.removesuffix(_HELPER_SUFFIX))

    @property
    def is_asked_to_stay(self) -> bool:
        """Whether something may be shared later, if its holder lives."""
        return _STAY in self._look()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will be shared, or the job is over."""
        return _CLOSED in self._look() or not self._names

    def take(self, accepts: Callable[[Batch], bool], on_loss: Callable[[], None]) -> Taken | None:
        """Take a batch that nobody works on and ``accepts`` likes; None if there is none."""
        self.look()
        for number in self._numbers("block"):
            if number in self._refused or f"{number:06d}.done" in self._names:
                continue
            claim = self._claims.take(f"{number:06d}", on_loss=on_loss)
            if claim is None:
                continue
            claim.remove_older()  # so that one that held it before finds out that it was lost
            batch = self._read(number)
            if batch is None or os.path.exists(self._file(number, "done")) or not accepts(batch):
                self._refused.add(number)
                claim.release()
                continue
            journal = Journal(self._file(number, JOURNAL_SUFFIX[1:]), claim.require_held)
            return Taken(number=number, batch=batch, claim=claim, journal=journal)
        return None

    def finish(self, taken: Taken, worker: str) -> None:
        """End a batch whose records are in its journal."""
        taken.claim.require_held()
        self._mark_done(taken.number, worker)

    def _mark_done(self, number: int, worker: str) -> None:
        self._write(f"{number:06d}.done", os.fsencode(worker))
        self._looked_at = float("-inf")

    def _read(self, number: int) -> Batch | None:
        try:
            with open(self._file(number, "block"), "rb") as file:
                return _unquoted(msgspec.json.decode(file.read(), type=Batch))
        except (OSError, msgspec.DecodeError, JobFileError):
            return None  # taken away meanwhile, or not ours

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
