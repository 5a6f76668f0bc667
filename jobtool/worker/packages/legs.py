"""Who brings a package to which place: each leg of all ways is moved by one job."""

from __future__ import annotations

import contextlib
import os
import secrets

import msgspec
from msgspec.structs import replace

from jobtool import typed
from jobtool.errors import JobFileError, JoblistUnavailableError, reason_of
from jobtool.jobs.atomic_write import (
    create_file,
    remove_temporaries,
    replace_file,
    sync_folder,
    target_of,
)
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.packagechain import goes_to
from jobtool.names import filename_of, quote, unquote


class Legs:
    """Which job brings a package to which place: a small file for each, in the joblist.

    A file counts as long as its job does, or will do, that leg. A killed job may have left one and
    go another way since.

    Until its job is a success a leg has a second file, by which the room is counted that is taken
    at a place. So what was brought there before isn't read again for each package that comes.
    """

    def __init__(self, joblist: JobList) -> None:
        self._joblist = joblist
        self._folder = os.path.join(joblist.packages_path, "legs")
        self._reserved = os.path.join(joblist.packages_path, "reserved")

    def take(self, package: str, place: str, job: str, size: int) -> str:
        """Take a leg for a job; return the name of the job that has it, perhaps another one.

        Raises ``JoblistUnavailableError``.
        """
        path = self._path_of(package, place)
        content = _content(job, size)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            while True:
                create_file(path, content)
                owner = self._owner(path)
                if owner == job or (owner is not None and self._does(owner, place)):
                    sync_folder(os.path.dirname(path))
                    break
                self._remove(path, owner)
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't write {quote(path)}: {reason_of(error)}"
            ) from None
        if owner == job:
            self.reserve(package, place)
        return owner

    def reserve(self, package: str, place: str) -> None:
        """Count a package as one that is on its way to a place, if a job has that leg.

        A leg's file that can't be read counts nothing. Raises ``JoblistUnavailableError``.
        """
        path = self._reserved_path_of(package, place)
        try:
            with contextlib.suppress(FileNotFoundError, JobFileError):
                leg = self._read(self._path_of(package, place))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                replace_file(path, _content(leg.job, leg.bytes))
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't write {quote(path)}: {reason_of(error)}"
            ) from None

    def owner_of(self, package: str, place: str) -> str | None:
        """Return the name of the job that has a leg, None for none. Raises ``JobFileError``."""
        return self._owner(self._path_of(package, place))

    def _owner(self, path: str) -> str | None:
        try:
            return self._read(path).job
        except FileNotFoundError:
            return None  # it was left just now

    def _does(self, owner: str, place: str) -> bool:
        """Return True if a job has brought its package to a place, or may do so yet."""
        try:
            job = self._joblist.load(filename_of(owner))[0]
        except FileNotFoundError:
            return False
        except JobFileError:
            return True  # it may be mended
        return goes_to(job, place)

    def _remove(self, path: str, owner: str | None) -> None:
        """Remove a leg's file unless it has another owner by now."""
        folder, name = os.path.split(path)
        aside = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return
        try:
            if self._owner(aside) != owner:
                with contextlib.suppress(OSError):
                    os.link(aside, path)
        finally:
            with contextlib.suppress(FileNotFoundError):  # another worker may have tidied up
                os.unlink(aside)

    def leave(self, package: str, place: str, job: str) -> None:
        """Leave a leg that a job has taken and that nothing was moved over."""
        path = self._path_of(package, place)
        with contextlib.suppress(OSError, JobFileError):
            if self._read(path).job == job:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._reserved_path_of(package, place))
                os.unlink(path)  # last: from now on another job may take the leg

    def tidy(self, package: str) -> None:
        """Remove the temporary files that killed workers have left for a package's legs.

        A worker may have been killed before the job file had the way, so all places are looked at.
        Raises nothing.
        """
        for folder in (self._folder, self._reserved):
            with contextlib.suppress(OSError):
                for place in os.listdir(folder):
                    remove_temporaries(os.path.join(folder, place), filename_of(package))

    def reserved_bytes(self, place: str, job: str) -> int:
        """Return how many bytes other jobs are bringing to a place now.

        Files of jobs that are a success are removed: their packages are there.
        """
        folder = os.path.join(self._reserved, place)
        size = 0
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(folder):
                if target_of(name) is not None:
                    continue  # a temporary file
                with contextlib.suppress(OSError, JobFileError):
                    leg = self._read(os.path.join(folder, name))
                    status = self._joblist.status_of(filename_of(leg.job))
                    if leg.job != job and status is JobStatus.ONGOING:
                        size += leg.bytes
                    elif status is JobStatus.SUCCESS:
                        os.unlink(os.path.join(folder, name))
        return size

    def _path_of(self, package: str, place: str) -> str:
        return os.path.join(self._folder, place, filename_of(package))

    def _reserved_path_of(self, package: str, place: str) -> str:
        return os.path.join(self._reserved, place, filename_of(package))

    def _read(self, path: str) -> _LegFile:
        with open(path, "rb") as file:
            try:
                found = typed.decode(file.read(1 << 20), _LegFile)
            except msgspec.DecodeError as error:
                raise JobFileError(f"{quote(path)}: {error}. Remove the file.") from None
        return replace(found, job=unquote(found.job))


def _content(job: str, size: int) -> bytes:
    return msgspec.json.encode({"job": quote(job), "bytes": size})


class _LegFile(msgspec.Struct, frozen=True):
    job: str
    bytes: int
