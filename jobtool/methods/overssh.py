"""What rsync and scp have in common: a folder here and one on an SSH server, and their failures."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence

import msgspec

from jobtool.errors import StoreError
from jobtool.methods.program.surroundings import environment_for, why_missing
from jobtool.methods.ssh import SSH, ssh_failure, ssh_target, why_not_by_ssh
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


def why_not_here(program: str) -> str | None:
    """Return why ``program`` can't be run over ssh here, as a clause; None if it can."""
    return why_missing(program) or why_missing(SSH)


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
