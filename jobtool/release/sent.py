"""What a job sends, and where to. Links on the way to a folder make no other place of it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from jobtool.errors import FileError
from jobtool.jobs.job import Job
from jobtool.jobs.records import Receipt, planned_dst_path
from jobtool.names import quote
from jobtool.release.destinations import Copy, UnprovenError, copy_of
from jobtool.stores.location import absolute, file_below, inside, is_local, join, parent_of


class RealFolders:
    """Finds the real paths of folders of this machine, each once."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def place(self, url: str) -> str:
        """Return a location with all links on its way resolved; a URL unchanged."""
        return os.path.realpath(url) if is_local(url) else url

    def file(self, url: str) -> str:
        """Return a file's location with the links to its folder resolved; a URL unchanged."""
        if not is_local(url):
            return url
        folder, name = parent_of(url)
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        return join(self._real[folder], name)


class Sent:
    """The files that a job sends: its tree or file, or its named files.

    ``paths`` are their real locations. A job that exports rows has none.
    """

    def __init__(self, job: Job, folders: RealFolders) -> None:
        self.job = job
        self._folders = folders
        self._named: dict[str, set[str]] | None = None
        if job.export is None and job.files:
            self._named = {}
            for pair in job.files:
                source = folders.file(_file_at(job.source, pair.source))
                target = _file_at(job.destination, pair.destination)
                self._named.setdefault(source, set()).add(target)
            self.paths = tuple(self._named)
        elif job.export is None and job.source is not None:
            self.paths = (folders.place(job.source),)
        else:
            self.paths = ()

    @property
    def is_named(self) -> bool:
        """Whether the job names its files, so that it may send one to several places."""
        return self._named is not None

    def source_of(self, receipt: Receipt) -> str:
        """Return the real location of the file that a receipt is about."""
        return self._folders.file(receipt.src_path)

    def has(self, url: str) -> bool:
        """Return True if the job sends the file at a real location."""
        if self._named is not None:
            return url in self._named
        return any(inside(path, url) is not None for path in self.paths)

    def copies(self, url: str, receipts: Sequence[Receipt]) -> list[Copy]:
        """Return the copies of a file by its receipts in force.

        Raises ``UnprovenError`` if one of them is of another destination than the job's, or one of
        the job's destinations has none.
        """
        lacking = set() if self._named is None else set(self._named.get(url, ()))
        copies = []
        for receipt in receipts:
            target = planned_dst_path(receipt)
            if self._named is not None:
                is_meant = target in self._named.get(url, ())
            else:
                root = self.job.destination
                is_meant = root is not None and inside(root, target) is not None
            if not is_meant:
                raise UnprovenError(
                    f"expected a receipt of the destination of the job {quote(self.job.name)}; "
                    f"found one of {quote(receipt.dst_path)}. Did the job have another destination "
                    "when it was done? jobtool verify --repair sends it to this one."
                )
            lacking.discard(target)
            copies.append(copy_of(receipt, root=self.job.destination))
        if lacking:
            raise UnprovenError(
                f"expected a receipt of the job {quote(self.job.name)} for {quote(min(lacking))}; "
                "found none"
            )
        return copies


def _file_at(root: str | None, path: str) -> str:
    """Return the location of a named file as receipts spell it."""
    try:
        return file_below(root, path)
    except FileError:  # no transfer has taken it
        return absolute(root, path)
