"""Calls of ``hdfs dfs``, which the methods ``hdfs-put``, ``hdfs-cp`` and ``hdfs-get`` make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from jobtool.jobs.settings import Settings
from jobtool.methods.hadoop.arrivals import Arrivals
from jobtool.methods.hadoop.places import escape
from jobtool.methods.hadoop.programs import Hadoop, judge
from jobtool.methods.hadoop.settings import (
    HadoopSettings,
    ShellSettings,
    hadoop_settings,
    properties,
)
from jobtool.methods.method import MethodContext
from jobtool.methods.program.surroundings import why_missing
from jobtool.methods.settings import of_method
from jobtool.stores.optional import Specials, supports
from jobtool.stores.store import Special, Store

_PROGRAM = "hdfs"

#: How many bytes the names of one call may have. Linux allows 2 MiB for all arguments.
_MOST_BYTES = 400_000

#: What versions without an option print: Hadoop's "CommandFormat".
_NO_THREADS = "Illegal option -t"

T = TypeVar("T")


class Shell:
    """The settings of a method, and its calls."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._hadoop = HadoopSettings()
        self._settings = ShellSettings()
        self._has_threads = True

    def configure(self, settings: Settings, own: ShellSettings | None = None) -> None:
        """Take the table ``[hadoop]`` and the method's own, if it isn't given.

        Raises ``JoblistError``.
        """
        self._hadoop = hadoop_settings(settings)
        self._settings = own or of_method(settings, self._name, ShellSettings)

    def begin(self, context: MethodContext) -> Hadoop:
        """Return the programs for one call of the method."""
        return Hadoop(self._hadoop, context)

    def explain(self, command: str, options: Sequence[str], sources: str, target: str) -> str:
        """Return a command for people."""
        threads = ["-t", str(self._settings.threads or "THREADS")]
        return " ".join([*self._base(command), *threads, *options, sources, target])

    def why_left(self, context: MethodContext) -> str | None:
        """Return why files are left to the next method: a limit that Hadoop's client can't keep."""
        if context.bandwidth() is not None:
            return "hdfs dfs can't be limited to a bandwidth"
        return None

    def make_folders(self, hadoop: Hadoop, store: Store, folders: Sequence[str]) -> bool:
        """Make those folders of a store that are missing. Return False if that fails.

        The store makes them, but for its root, for which a program has to be run.
        """
        wanted = [*dict.fromkeys(folders)]
        for folder in wanted:
            if folder and supports(store, Specials) and store.stat(folder) != "folder":
                store.make_special(Special(folder, "empty-folder"))
        missing = [escape(store.url_of(each)) for each in wanted if store.stat(each) != "folder"]
        return all(
            hadoop.call([*self._base("-mkdir"), "-p", *each])
            for each in portions(missing, lambda url: url)
        )

    def call(self, context: MethodContext, command: str, arguments: Sequence[str]) -> list[str]:
        """Return a program and its arguments, with as many threads as are set and allowed."""
        threads = self._settings.threads or context.threads
        told = ["-t", str(threads)] if self._has_threads and threads > 1 else []
        return [*self._base(command), *told, *arguments]

    def lacks_threads(self, hadoop: Hadoop) -> bool:
        """Return True, once, if the last call failed because this Hadoop has no option ``-t``."""
        if self._has_threads and hadoop.says(_NO_THREADS):
            self._has_threads = False
            return True
        return False

    def run(
        self,
        hadoop: Hadoop,
        context: MethodContext,
        arrivals: Arrivals,
        command: str,
        options: Sequence[str],
        sources: Sequence[str],
        target: str,
    ) -> Iterator[int]:
        """Run a command for sources, and yield the numbers of the files that have come."""
        before, is_well = arrivals.missing, True
        for some in portions(sources, lambda each: each):
            if context.stop.is_set():
                return
            arguments = [*options, *some, target]
            yield from hadoop.watch(self.call(context, command, arguments), arrivals)
            if self.lacks_threads(hadoop):
                yield from hadoop.watch(self.call(context, command, arguments), arrivals)
            is_well &= hadoop.exit_code == 0
        if is_well:
            yield from arrivals.unchanged()
        judge(hadoop, context, came=before - arrivals.missing, missing=arrivals.missing)

    def _base(self, command: str) -> list[str]:
        return [_PROGRAM, "dfs", *properties(self._hadoop), command]


def why_unavailable() -> str | None:
    """Return why ``hdfs`` can't be run here; None if it can."""
    return why_missing(_PROGRAM)


def portions(items: Sequence[T], text_of: Callable[[T], str]) -> Iterator[list[T]]:
    """Yield items in groups whose texts fit among a program's arguments."""
    group: list[T] = []
    size = 0
    for item in items:
        own = len(text_of(item).encode(errors="surrogateescape")) + 9  # its end, and a pointer
        if group and size + own > _MOST_BYTES:
            yield group
            group, size = [], 0
        group.append(item)
        size += own
    if group:
        yield group
