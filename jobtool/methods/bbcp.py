"""The method ``bbcp``: large files between this machine and SSH servers, over several connections.

bbcp starts itself on both sides, by ssh on the far one. The data then takes connections of its own,
which aren't encrypted and go to the far host directly. Facts about bbcp are from its documentation
(version 15.02.03, "BBCP Syntax", sections 1.3, 1.7 and 1.8) and its source:

- It writes in place, so it is told to write in a hidden folder (``methods.landing``), from which
  the store renames the file.
- ``-a FOLDER`` appends to what is there if the folder, which must exist, has a checkpoint of the
  same source. ``-k`` keeps both after a failure. With ``-f`` it would begin anew.
- The receiving side listens, and with ``-z`` the sending one. Here that is always the far side, so
  that no host has to reach the worker's.
- The command of ``-S`` and ``-T`` is split at spaces, and nothing quotes one. Names that are sent
  between the two sides end at white space.
- ``-P`` prints lines even if nothing moves. With ``-v`` they have the rate of the last interval.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from jobtool.errors import FileError, JoblistError, StoreError
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.methods.bbcpoutput import connection_failure
from jobtool.methods.bbcptrip import DATA, Trip, folder_of
from jobtool.methods.landing import Landing, by_folder, landing_in
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.methods.program.log import ProgramLog
from jobtool.methods.program.surroundings import environment_for, why_missing
from jobtool.methods.settings import of_method
from jobtool.methods.ssh import (
    SSH,
    SshSettings,
    ssh_command,
    ssh_settings,
    ssh_target,
    why_not_by_ssh,
)
from jobtool.names import quote
from jobtool.stores.location import is_local
from jobtool.stores.optional import TakesFiles, supports
from jobtool.stores.overssh import SshTarget
from jobtool.stores.store import Store
from jobtool.units import size_text

NAME = "bbcp"

#: How often it reports progress, in seconds.
_REPORT_SECONDS = 5

#: The exit code for a file that can't be appended to.
_CANNOT_APPEND = 22

#: How often a file is tried, as long as more of it arrives each time.
_MOST_TRIES = 5

#: After how many files in a row that weren't moved no other is tried.
_MOST_FAILURES = 3

#: The bytes a second that ``-x`` takes.
_LEAST_RATE, _MOST_RATE = 1024, 2**30

#: Longer paths may not fit its buffers of 1,024 bytes.
_LONGEST_PATH_BYTES = 900

#: Its options that may be set. The others are set here, or change what is copied.
_FREE_OPTIONS = frozenset("-4 -b -B -c -e -E -F -n -o -q -u -U -y".split())

_SSH_SECONDS = 30


class BbcpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The table ``[methods.bbcp]``.

    - ``program``: bbcp on this machine, and ``remote_program`` at the SSH server: names or paths.
    - ``streams``: how many connections the data takes.
    - ``window``: the TCP window of each, in bytes or as ``"8M"``.
    - ``ports``: the ports at which the far side may listen, ``"FIRST:LAST"``. By default its own.
    - ``smallest_bytes``: smaller files are left to the next method, by default those below 1 GiB.
      Each file takes a login.
    - ``options``: further options, each word by itself: ``["-B", "4M", "-4"]``.
    """

    program: Annotated[str, msgspec.Meta(min_length=1)] = NAME
    remote_program: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_./+@:,=-]+\Z")] = NAME
    streams: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    window: Annotated[str, msgspec.Meta(pattern=r"\A=?[0-9]+[kKmMgG]?\Z")] = "2M"
    ports: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,5}:[0-9]{1,5}\Z")] | None = None
    smallest_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1024**3
    options: tuple[str, ...] = ()


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store's files are: at an SSH server, or on this machine without a ``target``.

    ``root`` is the absolute path of the store's root there.
    """

    root: str
    target: SshTarget | None = None

    def path(self, path: str) -> str:
        """Return the absolute path of a path below the root."""
        return os.path.join(self.root, path)


class Bbcp:
    """Copies one file after another by bbcp, each under a hidden name until it is whole."""

    name = NAME

    def __init__(self) -> None:
        self._settings = BbcpSettings()
        self._ssh = SshSettings()

    def configure(self, settings: Settings) -> None:
        """Take ``[methods.bbcp]`` and ``[ssh]``."""
        self._settings = of_method(settings, NAME, BbcpSettings)
        self._ssh = ssh_settings(settings)
        for word in self._settings.options:
            if not word or (word.startswith("-") and word not in _FREE_OPTIONS):
                raise JoblistError(
                    f"{FILENAME}, table [methods.bbcp], options: expected words such as '-B', "
                    f"'4M', with options of {', '.join(sorted(_FREE_OPTIONS))}; found {word!r}"
                )

    def available(self, source: Store, destination: Store) -> str | None:
        """Return why not, unless a side is an SSH server, and the other is one or this machine."""
        if is_local(source.url) and is_local(destination.url):
            return "neither source nor destination is an SSH server"
        for store in (source, destination):
            target = ssh_target(store)
            if target is None and not is_local(store.url):
                return f"{store.url} is neither on this machine nor at an SSH server"
            why = self._why_not(target) or _why_unfit(target.path if target else store.url)
            if why is not None:
                return why
        if not supports(destination, TakesFiles):
            return f"{destination.url} doesn't take files that a program has written"
        return why_missing(self._settings.program) or why_missing(SSH)

    def explain(self, source: Store, destination: Store) -> str:
        """Return the command for a file."""
        from_side, to_side = self._side(source), self._side(destination)
        command = self._command(
            from_side,
            from_side.path("FILE"),
            to_side,
            to_side.path(f".jobtool-OWNER-incoming/TAG/{DATA}"),
            None,
        )
        return shlex.join(command)

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        """Copy each file that is large enough, and yield it once it has its name."""
        from_side, to_side = self._side(context.source), self._side(context.destination)
        with contextlib.closing(ProgramLog(context.log_path)) as log:
            for folder, group in by_folder(context.destination, files):
                kept = [
                    file
                    for file in group
                    if self._is_kept(file, from_side, to_side, folder, context)
                ]
                if not kept:
                    continue
                if context.stop.is_set():
                    return
                with landing_in(context, to_side.root, folder) as landing:
                    yield from self._move_all(kept, from_side, to_side, landing, log, context)

    def _move_all(
        self,
        files: Sequence[MethodFile],
        from_side: Side,
        to_side: Side,
        landing: Landing,
        log: ProgramLog,
        context: MethodContext,
    ) -> Iterator[int]:
        """Move files that land in one place. Raise ``StoreError`` once others would fail, too."""
        in_a_row = 0
        for file in files:
            if context.stop.is_set():
                return
            trip = Trip(file, landing, log, context)
            try:
                self._move(trip, from_side, to_side)
            except StoreError:
                if context.stop.is_set():
                    return
                raise
            except FileError as error:
                trip.discard()
                context.note(f"{quote(file.destination)}: {error}")
                in_a_row += 1
                if in_a_row == _MOST_FAILURES:
                    raise StoreError(f"{in_a_row} files in a row failed: {error}") from None
            else:
                in_a_row = 0
                yield file.number

    def _move(self, trip: Trip, from_side: Side, to_side: Side) -> None:
        """Move one file, with further tries while more of it arrives.

        Raises ``FileError`` if it can't be moved, and ``StoreError`` if no file can.
        """
        source = from_side.path(trip.file.source_path)
        has_begun_anew = False
        for number in range(_MOST_TRIES):
            trip.prepare()
            bandwidth = trip.context.bandwidth()
            command = self._command(from_side, source, to_side, trip.data, bandwidth)
            arrived = trip.progress.arrived
            running, said = trip.run(command)
            if running.why_ended is not None:
                raise StoreError(running.failure)
            if running.exit_code == 0:
                trip.publish()
                return
            hosts = [side.target.host for side in (from_side, to_side) if side.target]
            failure = connection_failure(said, hosts, self._settings.remote_program)
            if failure is not None:
                raise failure
            if running.exit_code == _CANNOT_APPEND and not has_begun_anew:
                has_begun_anew = True  # what is there was begun from another source or host
                trip.discard()
            elif trip.progress.arrived <= arrived or number == _MOST_TRIES - 1:
                break
        raise FileError(running.failure)

    def _is_kept(
        self, file: MethodFile, from_side: Side, to_side: Side, folder: str, context: MethodContext
    ) -> bool:
        """Return whether bbcp can move a file. Note why it is left to the next method."""
        why: str | None
        if file.size < self._settings.smallest_bytes:
            why = (
                f"files below {size_text(self._settings.smallest_bytes)} are left "
                "([methods.bbcp] smallest_bytes)"
            )
        else:
            landed = to_side.path(f"{folder}/{folder_of(file)}/{DATA}")
            why = _why_unfit(from_side.path(file.source_path)) or _why_unfit(landed)
        if why is not None:
            context.note(why)
        return why is None

    def _why_not(self, target: SshTarget | None) -> str | None:
        """Return why bbcp can't reach an SSH server."""
        if target is None:
            return None
        why = why_not_by_ssh(target)
        if why is not None:
            return why
        if target.proxy_jump:
            return (
                f"{target.host} is reached through {target.proxy_jump}, and bbcp's data goes to "
                f"{target.host} directly"
            )
        odd = next((word for word in ssh_command(target, self._ssh) if " " in word), None)
        if odd is not None:
            return f"bbcp can't run ssh with an argument that holds a space; found {quote(odd)}"
        return None

    def _side(self, store: Store) -> Side:
        target = ssh_target(store)
        if target is None:
            return Side(root=store.url)
        return Side(root=target.path, target=target)

    def _command(
        self, from_side: Side, source: str, to_side: Side, target: str, rate: float | None
    ) -> list[str]:
        """Return the command that copies a file. Both paths are absolute."""
        settings = self._settings
        command = [settings.program, *settings.options, "-P", str(_REPORT_SECONDS), "-v"]
        command += ["-p", "-k", "-a", os.path.dirname(target)]
        command += ["-s", str(settings.streams), "-w", settings.window]
        command += ["-Z", settings.ports] if settings.ports is not None else []
        if rate is not None:
            command += ["-x", str(round(min(max(rate, _LEAST_RATE), _MOST_RATE)))]
        if to_side.target is None:
            command.append("-z")
        command += self._starting("-S", from_side) + self._starting("-T", to_side)
        return [
            *command,
            _address(from_side, source, self._ssh),
            _address(to_side, target, self._ssh),
        ]

    def _starting(self, option: str, side: Side) -> list[str]:
        """Return the option by which bbcp starts itself at an SSH server."""
        if side.target is None:
            return []
        words = [*ssh_command(side.target, self._ssh), side.target.host]
        return [option, " ".join([*words, self._settings.remote_program])]


def _address(side: Side, path: str, settings: SshSettings) -> str:
    if side.target is None:
        return path
    host = _address_of(side.target, settings)
    return f"[{host}]:{path}" if ":" in host else f"{host}:{path}"


@functools.cache
def _address_of(target: SshTarget, settings: SshSettings) -> str:
    """Return the name or address of a host for connections without ssh: it may be an alias.

    Asks ``ssh``, which contacts nothing for that, once in a process.
    """
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [*ssh_command(target, settings), "-G", target.host],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment_for(),
            timeout=_SSH_SECONDS,
            check=True,
        )
        match = re.search(rb"^hostname (\S+)$", done.stdout, re.MULTILINE)
        if match is not None:
            return os.fsdecode(match.group(1))
    return target.host


def _why_unfit(path: str) -> str | None:
    """Return why bbcp can't take a path; None if it can."""
    data = os.fsencode(path)
    if re.search(rb"[\x00-\x20\x7f]", data):
        return f"bbcp can't take paths with spaces or control characters; found {quote(path)}"
    if len(data) > _LONGEST_PATH_BYTES:
        return f"bbcp can't take paths of more than {_LONGEST_PATH_BYTES} bytes; found one"
    return None
