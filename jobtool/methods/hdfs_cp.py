"""The method ``hdfs-cp``: files inside one cluster, copied by Hadoop's own client."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.settings import Settings
from jobtool.methods.hadoop.arrivals import Arrivals
from jobtool.methods.hadoop.places import HDFS_SCHEMES, cluster_of, escape, nameable, scheme_of
from jobtool.methods.hadoop.programs import Hadoop, judge
from jobtool.methods.hadoop.settings import CpSettings
from jobtool.methods.hadoop.shell import Shell, portions, why_unavailable
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.methods.settings import of_method
from jobtool.names import quote
from jobtool.stores.store import Store


class HdfsCp:
    """Runs ``hdfs dfs -cp`` once for each folder of the destination."""

    name = "hdfs-cp"

    def __init__(self) -> None:
        self._shell = Shell(self.name)
        self._settings = CpSettings()

    def configure(self, settings: Settings) -> None:
        """Take the tables ``[hadoop]`` and ``[methods.hdfs-cp]``."""
        self._settings = of_method(settings, self.name, CpSettings)
        self._shell.configure(settings, self._settings)

    @property
    def _options(self) -> list[str]:
        preserved = self._settings.preserve
        return ["-f", *([f"-p{preserved}"] if preserved else [])]

    def available(self, source: Store, destination: Store) -> str | None:
        """Return why not, unless both sides are in one cluster."""
        if scheme_of(source.url) not in HDFS_SCHEMES:
            return f"{quote(source.url)} isn't in HDFS"
        if cluster_of(source.url) != cluster_of(destination.url):
            return f"{quote(source.url)} and {quote(destination.url)} aren't in one cluster"
        return why_unavailable()

    def explain(self, source: Store, destination: Store) -> str:
        """Return the command for the files of a folder."""
        return self._shell.explain("-cp", self._options, "FILE…", destination.url)

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        """Copy the files, a folder of the destination at a time."""
        with contextlib.closing(self._shell.begin(context)) as hadoop:
            kept, reason = nameable(files, source=True, destination=True)
            folders: dict[str, list[MethodFile]] = defaultdict(list)
            for file in kept:
                folder, _, name = file.destination_path.rpartition("/")
                if file.source_path.rpartition("/")[2] == name:
                    folders[folder].append(file)
                else:
                    reason = f"{quote(file.source)}: a copy of many can't have another name"
            if (left := self._shell.why_left(context) or reason) is not None:
                context.note(left)
            if not folders or self._shell.why_left(context) is not None:
                return
            if not self._shell.make_folders(hadoop, context.destination, [*folders]):
                judge(hadoop, context, came=0, missing=len(kept))
                return
            for folder, members in folders.items():
                yield from self._copy(hadoop, folder, members, context)

    def _copy(
        self, hadoop: Hadoop, folder: str, files: list[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        target = escape(context.destination.url_of(folder))
        for members in portions(files, lambda file: escape(file.source)):
            arrivals = Arrivals(members, context)
            sources = [escape(file.source) for file in members]
            yield from self._shell.run(
                hadoop, context, arrivals, "-cp", self._options, sources, target
            )
