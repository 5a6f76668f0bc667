"""The method ``hdfs-put``: files of this machine, copied into HDFS by Hadoop's own client."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence

from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.settings import Settings
from jobtool.methods.hadoop.arrivals import Arrivals
from jobtool.methods.hadoop.places import HDFS_SCHEMES, escape, local_url, nameable, scheme_of
from jobtool.methods.hadoop.programs import Hadoop, judge, work_folder
from jobtool.methods.hadoop.shell import Shell, why_unavailable
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.names import quote
from jobtool.stores.location import is_local
from jobtool.stores.store import Store


class HdfsPut:
    """Runs ``hdfs dfs -put`` once for all files of a call, whatever their folders.

    It is given a tree of links to the sources, which has the shape of what shall arrive.
    """

    name = "hdfs-put"

    def __init__(self) -> None:
        self._shell = Shell(self.name)

    def configure(self, settings: Settings) -> None:
        """Take the tables ``[hadoop]`` and ``[methods.hdfs-put]``."""
        self._shell.configure(settings)

    def available(self, source: Store, destination: Store) -> str | None:
        """Return why not, unless files go from this machine into HDFS."""
        if not is_local(source.url):
            return f"{quote(source.url)} isn't on this machine"
        if scheme_of(destination.url) not in HDFS_SCHEMES:
            return f"{quote(destination.url)} isn't in HDFS"
        return why_unavailable()

    def explain(self, source: Store, destination: Store) -> str:
        """Return the command for many files."""
        return self._shell.explain("-put", ["-f"], "TREE-OF-LINKS", destination.url)

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        """Copy the files. Each is renamed once it is complete."""
        with contextlib.closing(self._shell.begin(context)) as hadoop:
            kept, reason = nameable(files, source=False, destination=True)
            kept, reason = _without_sums(kept, reason)
            if (left := self._shell.why_left(context) or reason) is not None:
                context.note(left)
            if not kept or self._shell.why_left(context) is not None:
                return
            with work_folder(context.log_path) as folder:
                yield from self._put(hadoop, kept, context, os.path.join(folder, "tree"))

    def _put(
        self, hadoop: Hadoop, files: list[MethodFile], context: MethodContext, tree: str
    ) -> Iterator[int]:
        arrivals = Arrivals(files, context)
        some_folder = max(os.path.dirname(file.destination_path) for file in files)
        if not self._shell.make_folders(hadoop, context.destination, [some_folder, ""]):
            judge(hadoop, context, came=0, missing=len(files))
            return
        _link(files, tree)
        urls = [local_url(os.path.join(tree, name)) for name in sorted(os.listdir(tree))]
        target = escape(context.destination.url)
        yield from self._shell.run(hadoop, context, arrivals, "-put", ["-f"], urls, target)
        shutil.rmtree(tree, ignore_errors=True)


def _link(files: Sequence[MethodFile], tree: str) -> None:
    """Make a tree of links to the sources, with the paths of the destination."""
    for file in files:
        path = os.path.join(tree, file.destination_path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(file.source, path)


def _without_sums(
    files: list[MethodFile], reason: str | None
) -> tuple[list[MethodFile], str | None]:
    """Leave out files that Hadoop takes for its own checksums (class ``ChecksumFileSystem``)."""
    kept = []
    for file in files:
        name = file.destination_path.rpartition("/")[2]
        if name.startswith(".") and name.endswith(".crc"):
            reason = reason or f"{quote(file.source)}: Hadoop takes it for its own checksums"
        else:
            kept.append(file)
    return kept, reason
