"""The method ``distcp``: files between clusters, copied by Hadoop's maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.settings import Settings
from jobtool.methods.hadoop.applications import (
    Started,
    end_all,
    ended_line,
    left_by_others,
    target_line,
)
from jobtool.methods.hadoop.arrivals import Arrivals
from jobtool.methods.hadoop.listings import Call, calls, still_there, write_lists
from jobtool.methods.hadoop.places import (
    HDFS_SCHEMES,
    cluster_of,
    hadoop_url,
    nameable,
    scheme_of,
)
from jobtool.methods.hadoop.programs import Hadoop, judge, nothing, seen, work_folder
from jobtool.methods.hadoop.settings import (
    DistcpSettings,
    HadoopSettings,
    hadoop_settings,
    properties,
    require_harmless,
)
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.methods.program.surroundings import why_missing
from jobtool.methods.settings import of_method
from jobtool.names import quote
from jobtool.stores.store import Store

_PROGRAM = "hadoop"

_MEBIBYTE = 1024 * 1024

#: distcp reads no slower, in MiB/s for each map.
_LEAST_BANDWIDTH = 0.001

#: What is told of a job's number must be seen: a site may show warnings alone.
_DEFAULTS = {"HADOOP_ROOT_LOGGER": "INFO,console"}


class Distcp:
    """Runs ``hadoop distcp``: by MapReduce of YARN, or in one process if none is configured."""

    name = "distcp"

    def __init__(self) -> None:
        self._hadoop = HadoopSettings()
        self._settings = DistcpSettings()

    def configure(self, settings: Settings) -> None:
        """Take the tables ``[hadoop]`` and ``[methods.distcp]``."""
        self._hadoop = hadoop_settings(settings)
        self._settings = of_method(settings, self.name, DistcpSettings)
        require_harmless(self._settings.options)

    def available(self, source: Store, destination: Store) -> str | None:
        """Return why not, unless both sides are of Hadoop, and the program is there."""
        for store in (source, destination):
            scheme = scheme_of(store.url)
            if scheme == "s3" and not self._settings.s3a:
                return (
                    f"{quote(store.url)} is in S3, which Hadoop has to be set up for: then set "
                    "s3a = true in [methods.distcp]"
                )
            if scheme not in (*HDFS_SCHEMES, "s3"):
                return f"{quote(store.url)} isn't in HDFS"
        is_one = cluster_of(source.url) == cluster_of(destination.url)
        if is_one and not self._settings.same_cluster:
            return (
                "both sides are in one cluster, where hdfs-cp copies; or set same_cluster = true "
                "in [methods.distcp]"
            )
        return why_missing(_PROGRAM)

    def explain(self, source: Store, destination: Store) -> str:
        """Return the command for many files."""
        command = self._command(
            ["-f", "LISTING"], self._settings.maps, None, _skips_crc(source, destination)
        )
        return " ".join([*command, hadoop_url(destination.url)])

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        """Copy the files, by as few calls of distcp as bring them to their places."""
        kept, reason = nameable(files, source=True, destination=True, lists=True)
        wanted, renamed = calls(context.source, kept)
        if renamed:
            reason = f"{quote(renamed[0].source)}: distcp can't give it another name"
        if reason is not None:
            context.note(reason)
        sides = (context.source.url, context.destination.url)
        aws = ("AWS_",) if "s3" in map(scheme_of, sides) else ()
        hadoop = Hadoop(self._hadoop, context, more_prefixes=aws, defaults=_DEFAULTS)
        with contextlib.closing(hadoop):
            end_all(hadoop, left_by_others(context.log_path), context.destination)
            with work_folder(context.log_path) as folder:
                for each in wanted:
                    if context.stop.is_set():
                        return
                    call = still_there(context.source, each)
                    if len(call.files) < len(each.files):
                        context.note("files of the source are gone")
                    if call.files:
                        yield from self._run_call(hadoop, call, context, folder)

    def _run_call(
        self, hadoop: Hadoop, call: Call, context: MethodContext, folder: str
    ) -> Iterator[int]:
        """Run distcp once. Whatever happens, no application of it is left in YARN."""
        arrivals = Arrivals(call.files, context)
        lists = write_lists(context.source, call, folder)
        maps = min(self._settings.maps, len(call.files))
        skips_crc = _skips_crc(context.source, context.destination)
        command = self._command(lists, maps, context.bandwidth(), skips_crc)
        command.append(hadoop_url(context.destination.url_of(call.target)))
        hadoop.log.add(target_line(call.temporary_folder))
        started = Started(folders={call.temporary_folder})
        try:
            for line, program in hadoop.run(command):
                if line is not None:
                    started.read(line)
                elif arrivals.is_due:
                    yield from seen(arrivals, program)
            if hadoop.exit_code == 0:
                for job in started.jobs:
                    hadoop.log.add(ended_line(job))
                started.jobs.clear()
        finally:
            end_all(hadoop, started, context.destination)
        if context.stop.is_set():
            return
        yield from arrivals.look(nothing)
        if hadoop.exit_code == 0:
            yield from arrivals.unchanged()
        judge(hadoop, context, came=len(call.files) - arrivals.missing, missing=arrivals.missing)

    def _command(
        self, lists: list[str], maps: int, bandwidth: float | None, skips_crc: bool
    ) -> list[str]:
        """Return the program and its arguments, but for the target."""
        settings = self._settings
        own = {
            "dfs.checksum.combine.mode": "COMPOSITE_CRC",  # the same for all sizes of blocks
        }
        command = [_PROGRAM, "distcp", *properties(self._hadoop, own)]
        command += ["-update", "-i", "-strategy", settings.strategy, "-m", str(maps)]
        if settings.skip_crc or skips_crc:
            command.append("-skipcrccheck")
        elif settings.append:  # which needs checksums
            command.append("-append")
        if settings.preserve:
            command.append(f"-p{settings.preserve}")
        if bandwidth is not None:
            each = max(bandwidth / maps / _MEBIBYTE, _LEAST_BANDWIDTH)
            command += ["-bandwidth", f"{each:.3f}"]
        return [*command, *settings.options, *lists]


def _skips_crc(*sides: Store) -> bool:
    """Return whether distcp can't compare checksums: those of WebHDFS and S3 are of other kinds."""
    return any(scheme_of(side.url) != "hdfs" for side in sides)
