"""The method ``hdfs-get``: files of HDFS, copied to this machine by Hadoop's own client."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.settings import Settings
from jobtool.methods.hadoop.places import (
    COPYING,
    HDFS_SCHEMES,
    escape,
    local_url,
    nameable,
    scheme_of,
)
from jobtool.methods.hadoop.programs import Hadoop, judge, nothing
from jobtool.methods.hadoop.shell import Shell, portions, why_unavailable
from jobtool.methods.landing import Landing, by_folder, landing_in
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.names import quote
from jobtool.stores.location import is_local
from jobtool.stores.optional import TakesFiles, supports
from jobtool.stores.store import Store


class HdfsGet:
    """Runs ``hdfs dfs -get`` for files with different names, into a hidden folder (``Landing``).

    The store gives each complete file its name. Files of the same name are in different calls.
    """

    name = "hdfs-get"

    def __init__(self) -> None:
        self._shell = Shell(self.name)

    def configure(self, settings: Settings) -> None:
        """Take the tables ``[hadoop]`` and ``[methods.hdfs-get]``."""
        self._shell.configure(settings)

    def available(self, source: Store, destination: Store) -> str | None:
        """Return why not, unless files go from HDFS to this machine."""
        if scheme_of(source.url) not in HDFS_SCHEMES:
            return f"{quote(source.url)} isn't in HDFS"
        if not is_local(destination.url):
            return f"{quote(destination.url)} isn't on this machine"
        if not supports(destination, TakesFiles):
            return f"{quote(destination.url)} doesn't take files that a program has written"
        return why_unavailable()

    def explain(self, source: Store, destination: Store) -> str:
        """Return the command for many files."""
        return self._shell.explain(
            "-get", [], "FILE…", f"{destination.url}/.jobtool-OWNER-incoming"
        )

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        """Copy the files. Each is renamed once it is complete."""
        with contextlib.closing(self._shell.begin(context)) as hadoop:
            kept, reason = nameable(files, source=True, destination=False)
            if (left := self._shell.why_left(context) or reason) is not None:
                context.note(left)
            if not kept or self._shell.why_left(context) is not None:
                return
            for folder, group in by_folder(context.destination, kept):
                for some in _of_different_names(group):
                    for members in portions(some, lambda file: escape(file.source)):
                        if context.stop.is_set():
                            return
                        yield from self._get(hadoop, members, context, folder)

    def _get(
        self, hadoop: Hadoop, files: list[MethodFile], context: MethodContext, folder: str
    ) -> Iterator[int]:
        # The program refuses to write over what an earlier one has left.
        with landing_in(context, context.destination.url, folder, is_empty=True) as landing:
            stage = _Stage(files, context, landing)
            urls = [escape(file.source) for file in files]
            arguments = [*urls, local_url(landing.full_path)]
            is_again = False
            while True:
                command = self._shell.call(context, "-get", arguments)
                for line, program in hadoop.run(command):
                    if line is None:
                        yield from stage.look(program.moved)
                yield from stage.look(nothing)
                if is_again or not self._shell.lacks_threads(hadoop):
                    break
                is_again = True
        missing = len(stage.files)
        judge(hadoop, context, came=len(files) - missing, missing=missing)


class _Stage:
    """The files in the folder into which a program writes. ``files`` are left, by their names."""

    def __init__(
        self, files: Sequence[MethodFile], context: MethodContext, landing: Landing
    ) -> None:
        self.files = {_name_of(file): file for file in files}
        self._context = context
        self._landing = landing
        self._sizes: dict[str, int] = {}

    def look(self, moved: Callable[[], None]) -> Iterator[int]:
        """Put complete files in their places, and yield their numbers. Note what has arrived."""
        if self._context.stop.is_set():
            return
        with os.scandir(self._landing.full_path) as found:
            entries = [*found]
        for each in entries:
            if each.name in self.files:
                moved()
                file = self.files.pop(each.name)
                if self._landing.take(file, each.name):
                    yield file.number
                elif self._landing.size_of(each.name) != file.size:
                    self._context.note(f"{quote(file.source)}: it hasn't arrived with its size")
                continue
            file_of_part = self.files.get(each.name.removesuffix(COPYING))
            if file_of_part is not None:
                self._note_part(each, file_of_part, moved)

    def _note_part(
        self, part: os.DirEntry[str], file: MethodFile, moved: Callable[[], None]
    ) -> None:
        try:
            size = os.stat(part.path, follow_symlinks=False).st_size
        except OSError:
            return  # renamed by now
        more = size - self._sizes.get(part.name, 0)
        if more > 0:
            self._sizes[part.name] = size
            self._context.arrived(file.number, more)
            moved()


def _of_different_names(files: Sequence[MethodFile]) -> Iterator[list[MethodFile]]:
    """Yield files in groups, in each of which no name is there twice."""
    groups: list[list[MethodFile]] = []
    counts: dict[str, int] = {}
    for file in files:
        name = _name_of(file)
        count = counts[name] = counts.get(name, -1) + 1
        if count == len(groups):
            groups.append([])
        groups[count].append(file)
    yield from groups


def _name_of(file: MethodFile) -> str:
    return file.source_path.rpartition("/")[2]
