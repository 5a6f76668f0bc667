"""Sites with packages on their way: trees, a file of routes, a joblist, and what must hold."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import Receipt
from jobtool.jobs.workerstates import STATES_FOLDER
from jobtool.md5 import md5_of
from jobtool.packages.manifest import decode_manifest, index_name, manifest_name
from jobtool.worker.environment import alone
from jobtool.worker.events import WorkerFinished
from jobtool.worker.loop import Worker
from jobtool.worker.options import WorkerOptions
from tests.commands import Done, finish, run_ok, start
from tests.faults.test_faulty_world import as_root
from tests.trees import contents, statuses, write

KIB = 1024
MIB = 1024 * KIB
_PIECE = 64 * MIB
_TIME_NS = 1_700_000_000_123_456_789

ROUTES = [
    {"type": "relay", "from": "chile", "to": "cologne", "via": "hub"},
    {"type": "relay", "from": "chile", "to": "bonn", "via": "hub"},
]


def make_source(root: Path, items: int, sizes: tuple[int, ...], *, seed: int = 1) -> None:
    """Make items of files of these sizes, in folders and with names that need care."""
    chosen = random.Random(seed)
    for item in range(items):
        for number, size in enumerate(sizes):
            name = f"deep folder/f{number}" if number % 2 else f"é{number}"
            pieces = (min(_PIECE, size - start) for start in range(0, size, _PIECE))
            data = b"".join(chosen.randbytes(piece) for piece in pieces)
            path = write(root / f"item{item:02d}" / name, data)
            os.utime(path, ns=(_TIME_NS, _TIME_NS + 1000 * number))


def joined(values: Any) -> str:
    """A value as TOML has it."""
    if isinstance(values, Mapping):
        return "{" + ", ".join(f"{key} = {joined(value)}" for key, value in values.items()) + "}"
    return json.dumps(values)


@dataclass(slots=True)
class Chain:
    """Packages of ``source``, from chile to cologne and bonn, by hub.

    ``places`` are the URLs of the sites' locations; by default folders of ``folder``. ``settings``
    are those of their stores. ``steps`` are done at each destination.
    """

    folder: Path
    places: dict[str, str] = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    more: dict[str, dict[str, Any]] = field(default_factory=dict)
    routes: list[dict[str, Any]] = field(default_factory=lambda: [dict(each) for each in ROUTES])
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for place in (
            *("chile.buffer", "hub.buffer"),
            *(f"{site}.{kind}" for site in ("cologne", "bonn") for kind in _KINDS),
        ):
            self.places.setdefault(place, str(self.folder / place))
        for url in self.places.values():
            if url.startswith("/"):
                Path(url).mkdir(parents=True, exist_ok=True)
        self.write_sites()

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def joblist(self) -> Path:
        return self.folder / "list"

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog"

    @property
    def sites(self) -> Path:
        return self.folder / "sites.toml"

    @property
    def jobs(self) -> dict[str, str]:
        """The status of each job."""
        return statuses(self.joblist)

    def write_sites(self) -> None:
        """Write the file of sites and routes as the fields say."""
        lines: list[str] = []
        for place, url in self.places.items():
            table = {"url": url, **self.more.get(place, {})}
            if place in self.settings:
                table["settings"] = self.settings[place]
            lines += [f"[sites.{place}]", *(f"{key} = {joined(table[key])}" for key in table)]
        for route in self.routes:
            lines += ["[[routes]]", *(f"{key} = {joined(route[key])}" for key in route)]
        self.sites.write_text("\n".join(lines) + "\n")

    def generate(
        self,
        *options: object,
        to: tuple[str, ...] = ("cologne", "bonn"),
        steps: str | None = "unpack,verify,archive",
        backoff: float = 0,
    ) -> None:
        """Make the packages and their jobs."""
        words: list[object] = ["-i", self.source, "-o", self.joblist, "-l", "packages"]
        words += ["--sites", self.sites, "--from", "chile", "--catalog", self.catalog]
        for site in to:
            words += ["--to", site]
        if steps:
            words += ["--then", steps]
        run_ok("generate-joblist", *words, *options, env=self.env)
        settings = self.joblist / "joblist.toml"
        line = f"backoff_seconds = {float(backoff)}"
        settings.write_text(re.sub("backoff_seconds = .*", line, settings.read_text()))

    def work(self, site: str | None = None, *options: object) -> Done:
        """Run a worker at a site to its end."""
        at = () if site is None else ("--site", site)
        started = start("transfer-worker", "-i", self.joblist, *at, *options, env=self.env)
        return finish(started, timeout_seconds=60)

    def work_ok(self, site: str | None = None, *options: object) -> Done:
        """The same; it must do all that is left."""
        done = self.work(site, *options)
        assert (done.exit_code, done.stderr) == (0, ""), done
        return done

    def retry(self, *options: object) -> None:
        """Put jobs back."""
        run_ok("jobtool", "retry", "-i", self.joblist, *options)

    def job(self, name: str) -> Job:
        """A job as its file has it."""
        return JobList.open(str(self.joblist)).load(name)[0]

    def waiting(self) -> list[str]:
        """The names of the jobs that are to be left alone until some time."""
        return [name for name in self.jobs if self.job(name).not_before is not None]

    def log(self, name: str) -> str:
        """The log of a job file."""
        text = (self.joblist / f"{name}.txt").read_text(errors="surrogateescape")
        return text.partition("\n---\n")[2]

    def receipts(self, name: str) -> list[Receipt]:
        """The receipts of a job."""
        records = JobList.open(str(self.joblist)).records_of(name)
        return [record for record in records if isinstance(record, Receipt)]

    def packages(self) -> list[str]:
        """The names of the packages."""
        return sorted(
            path.name.removesuffix(".members.jsonl")
            for path in (self.joblist / "packages").glob("*.members.jsonl")
        )

    def assert_done(self, *, unpacked_at: tuple[str, ...] = ("cologne", "bonn")) -> None:
        """All jobs are done, the trees are those of the source, and nothing is left behind."""
        assert set(self.jobs.values()) == {"success"}, self.jobs
        for site in unpacked_at:
            self.assert_unpacked(Path(self.places[f"{site}.processing"]))
        self.assert_tidy()

    def assert_unpacked(self, root: Path) -> None:
        """A tree is that of the source, with its times; packages may lie beside it."""
        found = contents(root)
        for package in self.packages():
            for name in (f"{package}.tar", index_name(package), manifest_name(package)):
                found.pop(name, None)
        assert found == contents(self.source)
        for path in self.source.rglob("*"):
            if path.is_file():
                there = root / path.relative_to(self.source)
                assert there.stat().st_mtime_ns == path.stat().st_mtime_ns

    def assert_tidy(self) -> None:
        """Nothing that is temporary is in the joblist or in a folder of a site.

        A state that a killed worker was writing stays for ten minutes, as its last state does.
        """
        kept = (".members.jsonl", ".manifest.json", ".md5s")
        names = [path.name for path in (self.joblist / "packages").iterdir() if path.is_file()]
        others = [name for name in names if not name.endswith(kept)]
        assert [name for name in others if "digests" in name or "sidecar" in name] == []
        temporary = [path for path in self.joblist.rglob("*") if ".tmp" in path.name]
        states = JobList.open(str(self.joblist)).claims_path + f"/{STATES_FOLDER}/"
        assert [path for path in map(str, temporary) if not path.startswith(states)] == []
        for url in self.places.values():
            if url.startswith("/"):
                assert not [path for path in Path(url).rglob("*") if ".jobtool-" in path.name]

    def assert_packages(self, folder: Path) -> None:
        """A folder has all packages, each as its manifest says."""
        for package in self.packages():
            manifest = decode_manifest(
                (folder / f"{package}.tar.manifest.json").read_bytes(), where=""
            )
            data = (folder / f"{package}.tar").read_bytes()
            assert (manifest.tar.size, manifest.tar.md5) == (len(data), md5_of(data))
            index = (folder / f"{package}.tar.index.parquet").read_bytes()
            assert manifest.index.md5 == md5_of(index)


class Clock:
    """Time that stands still but when a test moves it."""

    def __init__(self, hour: int) -> None:
        self.now = datetime(2026, 11, 27, hour, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def work_at(chain: Chain, clock: Clock, site: str) -> tuple[int, str]:
    """Run a worker by a clock. Return its exit code and its last sentences."""
    told: list[Any] = []
    options = WorkerOptions(now=clock, site=site)
    code = Worker(JobList.open(str(chain.joblist)), alone(os.environ), options, told.append).run()
    assert isinstance(told[-1], WorkerFinished)
    return code, told[-1].text()


_KINDS = ("buffer", "processing", "archive")


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A filesystem of its own; skips the test where none can be mounted."""
    path.mkdir(exist_ok=True)
    try:
        as_root("mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", path)
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"mounting a filesystem needs root: {error}")
    try:
        yield path
    finally:
        as_root("umount", path)


def resize(path: Path, size: str) -> None:
    """Give a filesystem of ``small_disk`` another size."""
    as_root("mount", "-o", f"remount,size={size}", path)
