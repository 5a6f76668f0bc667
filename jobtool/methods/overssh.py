"""What the methods rsync and scp have in common.

Each copies between a folder of this machine and one of an SSH server, by a program that uses ssh.
"""

from __future__ import annotations

import contextlib
import functools
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

import msgspec

from jobtool.errors import StoreError
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.settings import Settings
from jobtool.methods.landing import Landing, by_folder, landing_in
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.methods.program.log import ProgramLog
from jobtool.methods.program.surroundings import environment_for, why_missing
from jobtool.methods.settings import of_method
from jobtool.methods.ssh import (
    SSH,
    SshSettings,
    ssh_failure,
    ssh_settings,
    ssh_target,
    why_not_by_ssh,
)
from jobtool.names import in_one_line
from jobtool.stores.location import is_local
from jobtool.stores.optional import TakesFiles, supports
from jobtool.stores.overssh import SshTarget
from jobtool.stores.store import Store

_VERSION_SECONDS = 20


class Sides(msgspec.Struct, frozen=True):
    """The side on a server, and whether it is the destination."""

    target: SshTarget
    is_upload: bool

    def destination_root(self, destination: Store) -> str:
        """Return the absolute path of the destination's root on its machine."""
        return self.target.path if self.is_upload else destination.url


def sides_of(source: Store, destination: Store) -> Sides | str:
    """Return the two sides, or why a program can't copy between them, as a clause."""
    there, here = ssh_target(destination), source
    is_upload = there is not None
    if there is None:
        there, here = ssh_target(source), destination
    if there is None:
        return "neither side is a folder of an SSH server (sftp://)"
    if is_upload and ssh_target(source) is not None:
        return (
            "both sides are on SSH servers, and it copies only from or to this machine: run the "
            "worker on one of them, or use the method stream"
        )
    if not is_local(here.url):
        return f"{here.url} isn't a folder of this machine"
    if not supports(destination, TakesFiles):
        return f"{destination.url} doesn't take files that a program has written"
    return why_not_by_ssh(there) or Sides(there, is_upload)


class NoSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The tables ``[methods.rsync]`` and ``[methods.scp]``, which have no keys."""


class ProgramOverSsh:
    """A method that runs a program over ssh. Subclasses say which, and how it copies.

    ``name`` is the program's, and the method's. With ``needs_empty_landing`` the program can't
    resume, nor tell what an earlier attempt has left from what it has brought itself.
    """

    name: ClassVar[str]
    needs_empty_landing: ClassVar[bool] = False

    def __init__(self) -> None:
        self._ssh = SshSettings()

    def configure(self, settings: Settings) -> None:
        """Take the table ``[ssh]``."""
        of_method(settings, self.name, NoSettings)
        self._ssh = ssh_settings(settings)

    def available(self, source: Store, destination: Store) -> str | None:
        """Return why not, unless one side is on an SSH server and the other here."""
        sides = sides_of(source, destination)
        return sides if isinstance(sides, str) else self._why_not_here

    def run(
        self, claimed_job: ClaimedJob, files: Sequence[MethodFile], context: MethodContext
    ) -> Iterator[int]:
        """Copy files into a hidden folder. Yield the number of each once it has its name."""
        sides = sides_of(context.source, context.destination)
        assert not isinstance(sides, str)
        root = sides.destination_root(context.destination)
        with contextlib.closing(ProgramLog(context.log_path)) as log:
            for folder, group in by_folder(context.destination, files):
                if context.stop.is_set():
                    return
                is_empty = self.needs_empty_landing
                with landing_in(context, root, folder, is_empty=is_empty) as landing:
                    yield from self._copy(sides, landing, group, context, log)

    @functools.cached_property
    def _why_not_here(self) -> str | None:
        """Why the program can't be run over ssh here, as a clause; None if it can."""
        return why_missing(self.name) or why_missing(SSH) or self._why_too_old()

    def _why_too_old(self) -> str | None:
        """Return why the installed program can't be used, as a clause; None if it can."""
        raise NotImplementedError

    def _copy(
        self,
        sides: Sides,
        landing: Landing,
        files: Sequence[MethodFile],
        context: MethodContext,
        log: ProgramLog,
    ) -> Iterator[int]:
        """Copy files that land in one folder. Raise ``StoreError`` if that fails as a whole."""
        raise NotImplementedError


def version_of(command: Sequence[str]) -> str:
    """Return what a program prints when it is asked for its version; empty if it can't be run."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment_for(),
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode(errors="replace")


def failure_over_ssh(said: Iterable[str], failure: str, host: str, program: str) -> StoreError:
    """Return the error for a program that has failed as a whole, by what it ``said``."""
    said = [*said]
    known = ssh_failure(said, host)
    if known is not None:
        return StoreError(f"{program}: {known}")
    missing = re.compile(
        rf"\b{program}: (command )?not found|(command not found|unknown command):? {program}", re.I
    )
    for line in said:
        if missing.search(line):
            return StoreError(f"{program} isn't installed on {host} ({in_one_line(line)})")
    return StoreError(failure)
