"""Methods that are wrong in different ways."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from jobtool.errors import StoreError, StoreUnavailableError
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.stores.store import Store

Files = Sequence[MethodFile]


class Scripted:
    """Does as its name says; ``$METHODS_FOLDER`` gets the paths that each was given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def available(self, source: Store, destination: Store) -> str | None:
        return "the robot is\non holiday" if self.name == "absent" else None

    def run(self, claimed_job: ClaimedJob, files: Files, context: MethodContext) -> Iterable[int]:
        given = Path(os.environ["METHODS_FOLDER"]) / self.name
        with given.open("a", errors="surrogateescape") as lines:
            lines.writelines(f"{file.destination_path}\n" for file in files)
        yield from getattr(self, f"_{self.name}")(files)

    def _liar(self, files: Files) -> Iterator[int]:
        """Claims a file that it didn't move; writes wrong bytes of the same size, and a folder."""
        for count, file in enumerate(files):
            target = Path(file.destination)
            if count % 3 == 1:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(b"\0" * file.size)
            if count % 3 == 2:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(b"short")
            yield file.number

    def _buggy(self, files: Files) -> Iterator[int]:
        """Moves one file, then crashes."""
        yield self._bring(files[0])
        raise ZeroDivisionError("seven\nby nought")

    def _stranger(self, files: Files) -> Iterator[int]:
        """Claims a file that it was never given."""
        yield len(files) + 1000

    def _failing(self, files: Files) -> Iterator[int]:
        yield self._bring(files[0])
        raise StoreError("the queue is full")

    def _down(self, files: Files) -> Iterator[int]:
        yield self._bring(files[0])
        raise StoreUnavailableError("the service is down")

    def _lazy(self, files: Files) -> Iterator[int]:
        """Moves all files and claims none."""
        for file in files:
            self._bring(file)
        yield from ()

    def _bring(self, file: MethodFile) -> int:
        target = Path(file.destination)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(file.source).read_bytes())
        return file.number


def absent() -> Scripted:
    return Scripted("absent")


def liar() -> Scripted:
    return Scripted("liar")


def buggy() -> Scripted:
    return Scripted("buggy")


def stranger() -> Scripted:
    return Scripted("stranger")


def failing() -> Scripted:
    return Scripted("failing")


def down() -> Scripted:
    return Scripted("down")


def lazy() -> Scripted:
    return Scripted("lazy")


def misnamed() -> Scripted:
    return Scripted("another")


def broken() -> Scripted:
    raise RuntimeError("no licence\nfound")
