"""The step ``release``: what keeps it from freeing anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from jobtool.catalog.catalog import Catalog
from jobtool.catalog.rebuild import rebuild
from jobtool.jobs.joblist import JobList
from jobtool.jobs.stamps import stamp_of
from jobtool.jobs.table import read_table, write_table
from jobtool.worker.packages.copies import copies_of_joblist
from tests.commands import run
from tests.packages.chains import KIB, Chain, make_source
from tests.trees import contents

TAR = "list-0001.tar"
NAME = "list-0001.release.bonn"


@pytest.fixture
def arrived(folder: Path) -> Chain:
    """At bonn all is done but the release of its buffer."""
    chain = Chain(folder)
    make_source(chain.source, 2, (0, 300, 60 * KIB))
    chain.routes = [{"type": "custom", "from": "chile.buffer", "to": "bonn.buffer"}]
    chain.write_sites()
    chain.generate("--release", "buffers", to=("bonn",), steps="unpack,archive")
    chain.work_ok("chile")
    for _ in range(2):
        chain.work("bonn", "--max-jobs", "1")
    assert chain.jobs[NAME] == "todo"
    return chain


def buffer(chain: Chain) -> Path:
    return Path(chain.places["bonn.buffer"])


@pytest.mark.parametrize(
    "what", ["list-0001.archive.bonn.txt", "receipts", "packages/list-0001.manifest.json"]
)
def test_nothing_goes_by_what_others_could_have_written(arrived: Chain, what: str) -> None:
    """Among it the receipts of another job than the one that releases."""
    before = contents(buffer(arrived))
    path = arrived.joblist / what
    path.chmod(path.stat().st_mode | 0o020)
    done = arrived.work("bonn")
    assert contents(buffer(arrived)) == before
    assert arrived.jobs[NAME] != "success"
    assert "that others could have written" in done.stdout + done.stderr + arrived.log(NAME)
    assert path.name in done.stdout + done.stderr + arrived.log(NAME)
    path.chmod(path.stat().st_mode & ~0o020)
    arrived.retry()
    arrived.work_ok("bonn")
    assert contents(buffer(arrived)) == {}


def test_a_buffer_that_is_not_mounted_is_not_called_freed(arrived: Chain) -> None:
    hidden = arrived.folder / "hidden"
    buffer(arrived).rename(hidden)
    buffer(arrived).mkdir()
    arrived.work("bonn", "--max-jobs", "1")
    assert arrived.jobs[NAME] != "success"
    assert "Is its filesystem mounted here?" in arrived.log(NAME)
    buffer(arrived).rmdir()
    hidden.rename(buffer(arrived))
    arrived.retry()
    arrived.work_ok("bonn")
    assert contents(buffer(arrived)) == {}


def test_an_archive_with_another_tar_of_the_size_frees_nothing(arrived: Chain) -> None:
    tar = Path(arrived.places["bonn.archive"]) / TAR
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 1
    tar.write_bytes(data)
    before = contents(buffer(arrived))
    arrived.work("bonn", "--max-jobs", "1")
    assert contents(buffer(arrived)) == before
    assert arrived.jobs[NAME] != "success"
    listed = run("jobtool", "copies", arrived.catalog, "--json")
    assert '"released"' not in listed.stdout


def test_a_dry_run_says_what_would_go_and_what_is_waited_for(arrived: Chain) -> None:
    before = contents(buffer(arrived))
    done = run("jobtool", "release", arrived.joblist)
    assert (done.exit_code, contents(buffer(arrived))) == (0, before), done
    assert f"{NAME}: 3 file(s)" in done.stdout
    (arrived.joblist / "list-0001.archive.bonn.txt").rename(arrived.folder / "aside")
    done = run("jobtool", "release", arrived.joblist)
    assert done.exit_code == 1
    assert "list-0001.archive.bonn" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_clock_that_is_ahead_where_the_package_arrived(arrived: Chain) -> None:
    """What is freed is released in the catalog, though its receipt is of a later time."""
    table = str(arrived.joblist / "receipts" / "list-0001.copy.bonn.parquet")
    late = stamp_of(datetime.now(UTC) + timedelta(hours=3))
    found = [*read_table(table)]
    write_table(table, [msgspec.structs.replace(one, verified_at=late) for one in found])
    arrived.work_ok("bonn")
    again = arrived.folder / "again"
    rebuild(copies_of_joblist(JobList.open(str(arrived.joblist))), str(again))
    states = {copy.place: copy.state for copy in Catalog(str(again)).copies()}
    assert states["bonn.buffer"] == "released"
    assert states["bonn.archive"] == "present"
