"""What rsync and scp have in common: a folder here and one on an SSH server, and how files land.

A program puts files into a hidden folder of the destination (``TakesFiles``), and the store gives
each its name once it is complete. So no reader sees half a file, names of files are never words of
a command there, and what a killed worker leaves is found by the next.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from jobtool.errors import FileError, StoreError
from jobtool.methods.method import MethodContext, MethodFile
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


class Landing:
    """The hidden folder for the files of a call, made for all that are bound for one place.

    ``folder`` is its path below the store's root, ``full_path`` its absolute path on its machine.
    """

    def __init__(self, context: MethodContext, sides: Sides, folder: str) -> None:
        assert supports(context.destination, TakesFiles)
        self.folder = folder
        self._store: TakesFiles = context.destination
        self._require_held = context.require_held
        self._note = context.note
        root = sides.target.path if sides.is_upload else self._store.url
        self.full_path = os.path.join(root, folder)

    def make(self) -> None:
        """Make the folder, or keep what an earlier attempt has left in it."""
        self._require_held()
        self._store.make_incoming(self.folder)

    def take(self, file: MethodFile, path: str) -> bool:
        """Give a file its name if it is complete. ``path`` is its path in the folder.

        Return False if it isn't complete, or if this one file can't be written, which is noted.
        """
        try:
            return self._store.take(f"{self.folder}/{path}", file.destination_path, file.size)
        except StoreError:
            raise
        except FileError as error:
            self._note(str(error))
            return False

    def size_of(self, path: str) -> int | None:
        """Return how large a file in the folder is by now, in bytes; None if it isn't there."""
        found = self._store.stat(f"{self.folder}/{path}", file_only=True)
        return None if isinstance(found, str) else found.size

    def remove(self) -> None:
        """Remove the folder."""
        self._store.remove_incoming(self.folder)


def by_folder(store: Store, files: Sequence[MethodFile]) -> Iterator[tuple[str, list[MethodFile]]]:
    """Yield the files of a call by the folder that they land in."""
    assert supports(store, TakesFiles)
    groups: dict[str, list[MethodFile]] = {}
    for file in files:
        groups.setdefault(store.incoming_for(file.destination_path), []).append(file)
    yield from groups.items()


@contextlib.contextmanager
def landing_in(context: MethodContext, sides: Sides, folder: str) -> Iterator[Landing]:
    """Make a folder for files to land in.

    It is removed afterwards, unless the worker stops or has lost the job: then it stays, so that
    the next attempt can resume.
    """
    landing = Landing(context, sides, folder)
    landing.make()
    try:
        yield landing
    finally:
        if not context.stop.is_set():
            with contextlib.suppress(FileError):  # it is removed at the end of the job, too
                landing.remove()


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
