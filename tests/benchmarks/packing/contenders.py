"""Who moves or reads the plates, packed or file by file: each by the commands that people use."""

from __future__ import annotations

import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.packing.data import sizes
from tests.benchmarks.peers.contenders import program
from tests.benchmarks.peers.servers import Server

Argv = list[str]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a case. ``commands`` yields its commands, which are run and measured in turn.

    ``check`` returns what is wrong with the result, or nothing.
    """

    name: str
    commands: Callable[[Server], Iterator[Argv]]
    check: Callable[[], str]


@dataclass(slots=True)
class Field:
    """The plates, where they lie, and a place for what arrives, which is emptied each time.

    ``data`` is the folder of the plates ``names``. The buckets ``FILES`` and ``PACKAGES`` of the
    server hold them as they are, and packed.
    """

    data: Path
    work: Path
    server: Server
    names: list[str]
    package_bytes: int
    read_plates: int
    target: str = ""
    wanted: dict[str, int] = field(init=False)

    FILES = "plates"
    PACKAGES = "packages"

    def __post_init__(self) -> None:
        self.wanted = sizes(self.data)

    def clear(self) -> None:
        """Remove what the last contender left, and make a bucket for the next."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        self.server.clear()
        self.target = self.server.new_bucket(f"b{secrets.token_hex(6)}")

    @property
    def out(self) -> Path:
        """The folder for what arrives at a local destination."""
        return self.work / "out"

    def fill(self) -> None:
        """Put the plates into the buckets, as they are and packed by jobtool."""
        files, packages = (self.server.new_bucket(name) for name in (self.FILES, self.PACKAGES))
        subprocess.run(["cp", "-rl", f"{self.data}/.", str(self.server.folder / files)], check=True)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        joblist = str(self.work / "joblist")
        made = self._pack(joblist, str(self.server.folder / packages))
        for command in (made, [named("transfer-worker"), joblist, "-v", "0"]):
            subprocess.run(command, check=True)

    def _pack(self, joblist: str, destination: str) -> Argv:
        command = [named("generate-joblist"), str(self.data), "-o", joblist, "-d", destination]
        size = str(self.package_bytes)
        return [*command, "-l", "packages", "--package-size", size, "--name", "p", "-v", "0"]

    @property
    def packages(self) -> list[str]:
        """The URLs of the tars in the bucket ``PACKAGES``."""
        folder = self.server.folder / self.PACKAGES
        return [f"s3://{self.PACKAGES}/{path.name}" for path in sorted(folder.glob("*.tar"))]

    # To S3

    def up(self) -> list[Contender]:
        """All plates to S3."""
        files, packed = self._check_files, self._check_packages

        def by_jobtool(ranks: int) -> Callable[[Server], Iterator[Argv]]:
            def commands(_: Server) -> Iterator[Argv]:
                joblist = str(self.work / "joblist")
                command = [named("generate-joblist"), str(self.data), "-o", joblist, "-l", "tree"]
                yield [*command, "-d", f"s3://{self.target}", "-v", "0"]
                yield _worker(joblist, ranks)

            return commands

        def by_packages(ranks: int) -> Callable[[Server], Iterator[Argv]]:
            def commands(_: Server) -> Iterator[Argv]:
                joblist = str(self.work / "joblist")
                yield self._pack(joblist, f"s3://{self.target}")
                yield _worker(joblist, ranks)

            return commands

        def by_s5cmd(server: Server) -> Iterator[Argv]:
            yield [*_s5cmd(server), "cp", f"{self.data}/", f"s3://{self.target}/"]

        def by_tar(server: Server) -> Iterator[Argv]:
            tar = f"tar --format=posix -C {shlex.quote(str(self.data))} -cf - ."
            send = shlex.join([*_s5cmd(server), "pipe", f"s3://{self.target}/p.tar"])
            yield ["bash", "-c", f"set -o pipefail; {tar} | {send}"]

        return [
            Contender("files, jobtool", by_jobtool(1), files),
            Contender("files, jobtool, 2 ranks", by_jobtool(2), files),
            Contender("files, s5cmd", by_s5cmd, files),
            Contender("packed, jobtool", by_packages(1), packed),
            Contender("packed, jobtool, 2 ranks", by_packages(2), packed),
            Contender("packed, tar | s5cmd", by_tar, self._check_tar),
        ]

    def _check_files(self) -> str:
        found = sizes(self.server.folder / self.target)
        return "" if found == self.wanted else f"expected {len(self.wanted)} files: {len(found)}"

    def _check_packages(self) -> str:
        found: list[str] = []
        for tar in sorted((self.server.folder / self.target).glob("*.tar")):
            listed = subprocess.run(["tar", "-tf", tar], capture_output=True, text=True)
            found += listed.stdout.splitlines()
        count = len(self.wanted)
        return "" if sorted(found) == sorted(self.wanted) else f"expected {count}: {len(found)}"

    def _check_tar(self) -> str:
        tar = self.server.folder / self.target / "p.tar"
        listed = subprocess.run(["tar", "-tf", tar], capture_output=True, text=True).stdout
        found = sum(1 for name in listed.splitlines() if not name.endswith("/"))
        return "" if found == len(self.wanted) else f"expected {len(self.wanted)} files: {found}"

    # From S3 to a folder

    def down(self) -> list[Contender]:
        """All plates from S3 to a folder, as files."""

        def by_jobtool(ranks: int) -> Callable[[Server], Iterator[Argv]]:
            def commands(_: Server) -> Iterator[Argv]:
                joblist = self.work / "joblist"
                command = [named("generate-joblist"), str(self.data), "-o", str(joblist)]
                yield [*command, "-l", "tree", "-d", str(self.out), "-v", "0"]
                for path in joblist.glob("*.txt"):  # its jobs are the same in a bucket
                    old, new = f"source: {self.data}", f"source: s3://{self.FILES}"
                    path.write_text(path.read_text().replace(old, new))
                yield _worker(str(joblist), ranks)

            return commands

        def by_unpack(ranks: int) -> Callable[[Server], Iterator[Argv]]:
            def commands(_: Server) -> Iterator[Argv]:
                joblist = str(self.work / "joblist")
                command = [named("jobtool"), "receive", f"s3://{self.PACKAGES}", "-o", joblist]
                yield [*command, "--unpack", str(self.out), "-v", "0"]
                yield _worker(joblist, ranks)

            return commands

        def by_get(_: Server) -> Iterator[Argv]:
            for url in self.packages:
                yield [named("jobtool"), "get", url, "--all", "-d", str(self.out), "-v", "0"]

        def by_s5cmd(server: Server) -> Iterator[Argv]:
            yield [*_s5cmd(server), "cp", f"s3://{self.FILES}/*", f"{self.out}/"]

        def by_tar(server: Server) -> Iterator[Argv]:
            self.out.mkdir()
            for url in self.packages:
                get = shlex.join([*_s5cmd(server), "cat", url])
                into = shlex.quote(str(self.out))
                yield ["bash", "-c", f"set -o pipefail; {get} | tar -C {into} -xf -"]

        return [
            Contender("files, jobtool", by_jobtool(1), self._check_out),
            Contender("files, jobtool, 2 ranks", by_jobtool(2), self._check_out),
            Contender("files, s5cmd", by_s5cmd, self._check_out),
            Contender("packed, jobtool get", by_get, self._check_out),
            Contender("packed, unpack", by_unpack(1), self._check_out),
            Contender("packed, unpack, 2 ranks", by_unpack(2), self._check_out),
            Contender("packed, s5cmd | tar", by_tar, self._check_out),
        ]

    def _check_out(self) -> str:
        found = sizes(self.out)
        return "" if found == self.wanted else f"expected {len(self.wanted)} files: {len(found)}"

    # Reading in place

    def one(self) -> list[Contender]:
        """One chunk, printed."""
        member = f"{self.names[0]}/c/7/7"

        def by_cat(_: Server) -> Iterator[Argv]:
            yield [named("jobtool"), "cat", self.packages[0], member]

        def by_s5cmd(server: Server) -> Iterator[Argv]:
            yield [*_s5cmd(server), "cat", f"s3://{self.FILES}/{member}"]

        return [
            Contender("files, s5cmd cat", by_s5cmd, str),
            Contender("packed, jobtool cat", by_cat, str),
        ]

    def zarr(self) -> list[Contender]:
        """All chunks of some plates, by zarr."""
        names = self.names[: self.read_plates]
        read = [sys.executable, "-m", "tests.benchmarks.packing.zarr_read", *names]

        def by_objects(_: Server) -> Iterator[Argv]:
            yield [*read, "--bucket", self.FILES]

        def by_references(_: Server) -> Iterator[Argv]:
            references = str(self.work / "references.json")
            yield [named("jobtool"), "refs", *self.packages, "-o", references, "-v", "0"]
            yield [*read, "--references", references]

        return [
            Contender("files, zarr", by_objects, str),
            Contender("packed, zarr by references", by_references, str),
        ]


def named(name: str) -> str:
    """Return the path of a program that must be there."""
    found = program(name)
    assert found is not None, f"{name} isn't installed"
    return found


def _worker(joblist: str, ranks: int) -> Argv:
    worker = [named("transfer-worker"), joblist, "-v", "0"]
    return worker if ranks == 1 else [named("mpirun"), "--oversubscribe", "-n", str(ranks), *worker]


def _s5cmd(server: Server) -> Argv:
    return [named("s5cmd"), "--log", "error", "--endpoint-url", server.url]
