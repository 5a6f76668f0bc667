"""Steps of packages that are put back once they, and later ones, were done."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from jobtool.jobs.joblist import JobList
from jobtool.worker.packages.way import SitesUnreadableError, sites_now
from tests.packages.chains import KIB, ROUTES, Chain, make_source
from tests.trees import events


@pytest.fixture
def chain(folder: Path) -> Chain:
    made = Chain(folder)
    make_source(made.source, 2, (0, 300, 60 * KIB))
    made.routes = [dict(ROUTES[1])]
    made.write_sites()
    return made


def test_a_proven_package_is_neither_read_nor_sent_again(chain: Chain) -> None:
    """Its source and the buffers that it has passed may be empty by now."""
    chain.generate("--release", "buffers", to=("bonn",))
    chain.work_ok()
    assert not list(Path(chain.places["hub.buffer"]).glob("*.tar"))
    moved = [name for name in chain.jobs if ".copy." in name or ".relay." in name]
    assert len(moved) == 2
    chain.source.rename(chain.folder / "elsewhere")
    for name in moved:
        chain.retry("--job", name)
    chain.work_ok()
    assert set(chain.jobs.values()) == {"success"}
    assert not list(Path(chain.places["hub.buffer"]).glob("*.tar"))


def test_a_buffer_stays_for_a_step_that_was_put_back(chain: Chain) -> None:
    chain.generate("--release", "buffers", to=("bonn",), steps="unpack,archive")
    chain.work_ok("chile")
    assert chain.work("hub").exit_code == 5  # its release comes last
    release = chain.joblist / "list-0001.release.bonn.txt"
    aside = release.rename(chain.folder / "aside")
    chain.work_ok("bonn")
    aside.rename(release)
    chain.retry("--job", "list-0001.unpack.bonn")
    item = next(Path(chain.places["bonn.processing"]).iterdir())
    item.rename(chain.folder / "item")
    done = chain.work("bonn")
    assert done.exit_code == 5, done
    assert "list-0001.unpack.bonn" in chain.log("list-0001.release.bonn")
    assert len(list(Path(chain.places["bonn.buffer"]).glob("*.tar"))) == 1
    assert chain.jobs["list-0001.unpack.bonn"] == "success"
    chain.retry("--job", "list-0001.release.bonn")
    chain.work_ok("bonn")
    assert not list(Path(chain.places["bonn.buffer"]).glob("*.tar"))


def test_a_job_whose_package_is_nowhere_isnt_claimed_again_at_once(chain: Chain) -> None:
    chain.generate(to=("bonn",), steps="unpack,verify")
    chain.work_ok("chile")
    chain.work_ok("hub")
    path = chain.joblist / "list-0001.relay.bonn.2.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("package.way")))
    done = chain.work("bonn")
    assert done.exit_code == 5, done
    assert len(events(chain.joblist / "list-0001.unpack.bonn.txt", "claimed")) == 1
    assert "hasn't arrived" in chain.log("list-0001.unpack.bonn")


def test_a_file_of_sites_that_is_being_written_is_read_again(chain: Chain) -> None:
    chain.generate(to=("bonn",))
    joblist = JobList.open(str(chain.joblist))
    whole = chain.sites.read_text()
    chain.sites.write_text(whole[: len(whole) // 2] + "[")
    writer = threading.Timer(0.5, chain.sites.write_text, (whole,))
    writer.start()
    found = sites_now(joblist)
    writer.join()
    assert found is not None
    assert "bonn" in found.sites
    os.unlink(chain.sites)
    with pytest.raises(SitesUnreadableError, match="No such file"):
        sites_now(joblist)


def test_a_proven_package_that_is_gone_is_sent_again(chain: Chain) -> None:
    """It was removed by somebody else: no record says that it was released."""
    chain.generate(to=("bonn",))
    chain.work_ok()
    Path(chain.places["bonn.buffer"], "list-0001.tar").unlink()
    chain.retry("--job", "list-0001.relay.bonn.2")
    chain.work_ok()
    chain.assert_packages(Path(chain.places["bonn.buffer"]))
