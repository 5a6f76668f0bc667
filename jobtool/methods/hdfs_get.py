"""The method ``hdfs-get``: files of HDFS, copied to this machine by Hadoop's own client."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence

from jobtool.errors import FileError, StoreError, reason_of
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
from jobtool.methods.hadoop.programs import Hadoop, earlier_lines, judge
from jobtool.methods.hadoop.shell import Shell, portions, why_unavailable
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.names import quote
from jobtool.stores.beneath import Beneath
from jobtool.stores.location import is_local
from jobtool.stores.store import Store

#: The log's line for the folder into which a program writes.
_STAGE_LINE = "[hdfs writes into the folder {}]"
_STAGE = re.compile(r"\[hdfs writes into the folder (.*/\.jobtool-get-[0-9a-f]{16})\]", re.DOTALL)


class HdfsGet:
    """Runs ``hdfs dfs -get`` for files with different names, into a folder at the destination.

    Each complete file is renamed to its place. Files of the same name are in different calls.
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
        return why_unavailable()

    def explain(self, source: Store, destination: Store) -> str:
        """Return the command for many files."""
        return self._shell.explain("-get", [], "FILE…", f"{destination.url}/.jobtool-get-…")

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        """Copy the files. Each is renamed once it is complete."""
        _remove_left(context)
        with contextlib.closing(self._shell.begin(context)) as hadoop:
            kept, reason = nameable(files, source=True, destination=False)
            if (left := self._shell.why_left(context) or reason) is not None:
                context.note(left)
            if not kept or self._shell.why_left(context) is not None:
                return
            for some in _of_different_names(kept):
                for members in portions(some, lambda file: escape(file.source)):
                    if context.stop.is_set():
                        return
                    yield from self._get(hadoop, members, context)

    def _get(
        self, hadoop: Hadoop, files: list[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        with _stage(files, context, hadoop) as folder:
            stage = _Stage(files, context, folder)
            arguments = [*(escape(file.source) for file in files), local_url(folder)]
            is_again = False
            while True:
                command = self._shell.call(context, "-get", arguments)
                for line, program in hadoop.run(command):
                    if line is None:
                        yield from stage.look(program.moved)
                yield from stage.look(lambda: None)
                if is_again or not self._shell.lacks_threads(hadoop):
                    break
                is_again = True
        missing = len(stage.files)
        judge(hadoop, context, came=len(files) - missing, missing=missing)


class _Stage:
    """The files in the folder into which a program writes. ``files`` are left, by their names."""

    def __init__(self, files: Sequence[MethodFile], context: MethodContext, folder: str) -> None:
        self.files = {_name_of(file): file for file in files}
        self._context = context
        self._folder = folder
        self._beneath = Beneath(context.destination.url)
        self._sizes: dict[str, int] = {}

    def look(self, moved: Callable[[], None]) -> Iterator[int]:
        """Put complete files in their places, and yield their numbers. Note what has arrived."""
        if self._context.stop.is_set():
            return
        with os.scandir(self._folder) as found:
            entries = [*found]
        for each in entries:
            if each.name in self.files:
                moved()
                file = self.files.pop(each.name)
                if self._place(each.path, file):
                    yield file.number
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

    def _place(self, path: str, file: MethodFile) -> bool:
        """Rename a file to its place. No link below the destination is followed."""
        folder, _, name = file.destination_path.rpartition("/")
        try:
            self._context.require_held()
            with self._beneath.folder(folder, make=True) as descriptor:
                os.replace(path, name, dst_dir_fd=descriptor)
        except OSError as error:
            self._context.note(f"{quote(file.destination)}: {reason_of(error)}")
            return False
        except FileError as error:
            self._context.note(str(error))
            return False
        return True


@contextlib.contextmanager
def _stage(files: Sequence[MethodFile], context: MethodContext, hadoop: Hadoop) -> Iterator[str]:
    """Make a folder at the destination, in the filesystem of the files. Remove it afterwards."""
    root, below = context.destination.url, ""
    if root == "/":
        below = os.path.commonpath([os.path.dirname(file.destination) for file in files])
    name = f".jobtool-get-{secrets.token_hex(8)}"
    folder = os.path.join(root, below, name)
    hadoop.log.add(_STAGE_LINE.format(folder))
    context.require_held()
    try:
        with Beneath(root).folder(below.strip("/"), make=True) as descriptor:
            os.mkdir(name, 0o700, dir_fd=descriptor)
    except OSError as error:
        raise StoreError(f"can't make {quote(folder)}: {reason_of(error)}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left(context: MethodContext) -> None:
    """Remove the folders of killed workers, which their logs name."""
    root = context.destination.url.rstrip("/") + "/"
    for line in earlier_lines(context.log_path):
        found = _STAGE.fullmatch(line)
        if found is not None and found.group(1).startswith(root):
            shutil.rmtree(found.group(1), ignore_errors=True)


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
