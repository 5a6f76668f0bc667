"""Who takes part in a case, each with the settings that serve it best."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.installed import BIN, jobtool_program
from tests.benchmarks.peers.cases import Case
from tests.benchmarks.peers.servers import Server

Command = tuple[list[str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that does a case. ``prepare`` returns the command to measure.

    ``check`` returns what is wrong with what has arrived, or nothing. ``server_seconds`` returns
    the CPU time that the server has used so far.
    """

    name: str
    prepare: Callable[[], Command]
    check: Callable[[], str]
    server_seconds: Callable[[], float]


class Field:
    """Where the contenders of one case find the data, and where each brings it, anew each time."""

    def __init__(self, case: Case, data: Path, work: Path, server: Server) -> None:
        self.case, self.data, self.work, self.server = case, data, work, server
        self.bucket_source = f"{data.name}-source"
        if case.way == "down":
            server.fill(self.bucket_source, data)
        self.target = ""

    @property
    def source(self) -> str:
        """Where the data is: a folder, or the URL of a bucket."""
        return f"s3://{self.bucket_source}" if self.case.way == "down" else str(self.data)

    def clear(self) -> None:
        """Set the scene for the next contender: an unused destination, nothing of the last."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        if self.case.way == "up":
            self.server.clear()  # for the memory of the machine
            # A new bucket each time: a server may remember what it listed.
            self.target = f"s3://{self.server.new_bucket(f'b{secrets.token_hex(6)}')}"
        else:
            self.target = str(self.work / "out")

    def check(self) -> str:
        """Compare the number of files and bytes that have arrived."""
        arrived = self.work / "out"
        if self.case.way == "up":
            arrived = self.server.folder / self.target.removeprefix("s3://")
        wanted, found = _sizes(self.data), _sizes(arrived)
        return "" if wanted == found else f"expected {len(wanted)} files; found {len(found)}"


def _sizes(folder: Path) -> dict[str, int]:
    return {
        os.path.relpath(os.path.join(parent, name), folder): os.path.getsize(
            os.path.join(parent, name)
        )
        for parent, _, names in os.walk(folder)
        for name in names
    }


def contenders_of(
    case: Case, data: Path, work: Path, server: Server, *, ranks: int, threads: int | None
) -> list[Contender]:
    """Return those that are installed, jobtool first."""
    field = Field(case, data, work, server)
    makers = [("jobtool", lambda: _jobtool(field, ranks, threads))]
    if case.way == "local":
        makers += [("rclone", lambda: _rclone(field))]
        makers += [("rsync", lambda: _rsync(field)), ("fpsync", lambda: _fpsync(field))]
        makers += [("cp", lambda: _cp(field))]
    else:
        makers += [("s5cmd", lambda: _s5cmd(field)), ("rclone", lambda: _rclone(field))]
        makers += [("aws", lambda: _aws(field))]
    return [
        Contender(name, _fresh(field, make), field.check, server.cpu_seconds)
        for name, make in makers
        if name == "jobtool" or program(name) is not None
    ]


def _fresh(field: Field, make: Callable[[], Command]) -> Callable[[], Command]:
    def prepare() -> Command:
        field.clear()
        return make()

    return prepare


def program(name: str) -> str | None:
    """Return the path of a program of this environment or of the system."""
    beside = BIN / name
    return str(beside) if beside.exists() else shutil.which(name)


def _named(name: str) -> str:
    found = program(name)
    assert found is not None, name
    return found


def _jobtool(field: Field, ranks: int, threads: int | None) -> Command:
    joblist = str(field.work / "joblist")
    environment = field.server.environment
    command = ["generate-joblist", "-i", str(field.data), "-o", joblist, "-l", "tree"]
    subprocess.run(
        [jobtool_program(command[0]), *command[1:], "-d", field.target, "-v", "0"],
        env={**os.environ, **environment},
        check=True,
    )
    if field.case.way == "down":  # the layout looks at folders; its jobs are the same in a bucket
        for path in (field.work / "joblist").glob("*.txt"):
            text = path.read_text()
            path.write_text(text.replace(f"source: {field.data}", f"source: {field.source}"))
    worker = [jobtool_program("transfer-worker"), "-i", joblist, "-v", "0"]
    if threads is not None:
        worker += ["--threads", str(threads)]
    if ranks > 1:
        worker = [_named("mpirun"), "--oversubscribe", "-n", str(ranks), *worker]
        allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        environment = {**environment, **allowed}
    return worker, environment


def _s5cmd(field: Field) -> Command:
    source = f"{field.source}/*" if field.case.way == "down" else f"{field.source}/"
    command = [_named("s5cmd"), "--endpoint-url", field.server.url, "cp", source]
    return [*command, f"{field.target}/"], field.server.environment


def _rclone(field: Field) -> Command:
    def remote(url: str) -> str:
        return url.replace("s3://", "S:", 1)

    settings = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_S_TYPE": "s3",
        "RCLONE_CONFIG_S_PROVIDER": "Other",
        "RCLONE_CONFIG_S_ENV_AUTH": "true",
        "RCLONE_CONFIG_S_ENDPOINT": field.server.url,
    }
    command = [_named("rclone"), "copy", "--transfers", "16", "--checkers", "16"]
    return [*command, remote(field.source), remote(field.target)], {
        **field.server.environment,
        **settings,
    }


def _aws(field: Field) -> Command:
    config = field.work / "aws-config"
    config.write_text("[default]\ns3 =\n  preferred_transfer_client = crt\n")
    environment = {**field.server.environment, "AWS_CONFIG_FILE": str(config)}
    command = [_named("aws"), "--endpoint-url", field.server.url, "s3", "cp", "--recursive"]
    return [*command, "--only-show-errors", field.source, field.target], environment


def _rsync(field: Field) -> Command:
    return [_named("rsync"), "-a", f"{field.source}/", f"{field.target}/"], {}


def _fpsync(field: Field) -> Command:
    """Run rsync on as many parts of the tree at a time as there are CPUs."""
    jobs, lists = str(len(os.sched_getaffinity(0))), str(field.work / "fpsync")
    told = ["-n", jobs, "-f", "500", "-t", lists, "-o", "-lptgoD --numeric-ids"]
    return [_named("fpsync"), *told, f"{field.source}/", f"{field.target}/"], {}


def _cp(field: Field) -> Command:
    return [_named("cp"), "-r", field.source, field.target], {}
