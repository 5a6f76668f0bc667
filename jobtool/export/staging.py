"""The staging folder of a job: where its chunks wait for their transfer.

Files are made in a folder of this machine. With a staging place elsewhere, such as HDFS, each is
moved there first, and the methods of the joblist find it there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from jobtool.errors import FileError, JobtoolError, StoreUnavailableError, reason_of
from jobtool.jobs.exportsettings import ExportSettings
from jobtool.jobs.joblist import JobList
from jobtool.md5 import hasher_for
from jobtool.names import quote
from jobtool.steps.step import StepContext
from jobtool.stores.location import is_local, join
from jobtool.stores.store import Attributes, Entry, Store, entry_of, mismatch

_PIECE_BYTES = 8 * 1024 * 1024
_TRIES = 100


class Staging:
    """The staging place of one job. Nobody else uses it as long as the job's claim is held.

    So each method that changes it first asks if it is; all but ``close`` raise
    ``ClaimLostError``. A worker that wakes up must not touch the files of the next one.

    ``folder`` is that of this machine in which files are made, and ``source`` the store from which
    they are sent.
    """

    def __init__(
        self, joblist: JobList, job_id: str, settings: ExportSettings, context: StepContext
    ) -> None:
        own = joblist.settings.id or "export"
        place = settings.staging
        self._remote: Store | None = None
        if place is None:
            self._parents = [joblist.staging_path]
        elif is_local(place):
            self._parents = [os.path.join(place, f"jobtool-{own}")]
        else:
            self._parents = [joblist.staging_path]
            url = join(join(place, f"jobtool-{own}"), job_id)
            self._remote = context.destination(url)
            self.source = context.source(url)
        self.folder = os.path.join(self._parents[-1], job_id)
        if self._remote is None:
            self.source = context.source(self.folder)
        self._retry = context.retry
        self._require_held = context.require_held
        self._is_prepared = False

    def prepare(self) -> None:
        """Make the folders, which only this user may enter, and remove what is in them.

        Raises ``StoreUnavailableError``.
        """
        self._require_held()
        try:
            self._make_folders()
            self._is_prepared = True
            self._clear()
        except OSError as error:
            raise StoreUnavailableError(
                f"can't use the staging folder {quote(self.folder)}: {reason_of(error)}. Correct "
                "that, or export with another --staging."
            ) from None

    def stage(self, name: str) -> Entry:
        """Have a file that was made ready for its transfer; return its entry there.

        Raises the errors of stores.
        """
        self._require_held()
        if self._remote is not None:
            path = os.path.join(self.folder, name)
            self._retry.call(lambda: self._move(path, name))
            os.unlink(path)
        return entry_of(self.source, name)

    def remove(self, name: str) -> None:
        """Remove a file. One that can't be removed stays until the next attempt."""
        self._require_held()
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.folder, name))
        if self._remote is not None:
            with contextlib.suppress(FileError):
                self._remote.delete(name)

    def close(self) -> None:
        """Remove the job's folder. What can't be removed stays until the next attempt."""
        if not self._is_prepared:  # it may be another user's
            return
        try:
            self._require_held()
        except (JobtoolError, OSError):  # the claim is lost, or nobody can tell
            return
        with contextlib.suppress(OSError, StoreUnavailableError):
            self._clear()
        for folder in (self.folder, *reversed(self._parents)):
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def _make_folders(self) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                os.makedirs(os.path.dirname(self._parents[0]), exist_ok=True)
                for folder in (*self._parents, self.folder):
                    _make_private(folder)
            except FileNotFoundError:  # the worker of another job has just removed the parent
                if not tries_left:
                    raise
            else:
                return

    def _move(self, path: str, name: str) -> None:
        assert self._remote is not None
        store, found_there = self._remote, os.stat(path)
        hasher = hasher_for(found_there.st_size)

        def pieces() -> Iterator[bytes]:
            with open(path, "rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    hasher.update(piece)
                    yield piece

        proof = store.write(name, pieces(), Attributes(mtime_ns=found_there.st_mtime_ns))
        sent = hasher.hexdigest()
        found = store.digest(name) if proof is None or proof.md5 is None else proof.md5
        if found != sent:
            store.delete(name)
            raise mismatch(store.url_of(name), sent=sent, found=found)

    def _clear(self) -> None:
        for entry in os.scandir(self.folder):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
        if self._remote is None:
            return
        with contextlib.suppress(FileError):
            for child in [*self._remote.children("")]:
                self._remote.delete(getattr(child, "name", ""))


def _make_private(folder: str) -> None:
    """Make a folder that only this user may enter; keep one that is this user's.

    Raises ``OSError``, also if something else or another user's folder is there: staging places
    such as /tmp are open to all.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise NotADirectoryError(0, f"expected a folder of your own at {quote(folder)}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(folder, 0o700)
