"""Packages on their way: which route they take, when, and what a change of the routes changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobtool.errors import InfrastructureError
from tests.commands import finish, start, unused_port, wait_for
from tests.packages.chains import (
    KIB,
    ROUTES,
    Chain,
    Clock,
    make_source,
    resize,
    small_disk,
    work_at,
)
from tests.trees import events

NIGHT = {"hours": "22:00-06:00", "time_zone": "UTC"}
RELAYS = [dict(each) for each in ROUTES]


@pytest.fixture
def chain(folder: Path) -> Chain:
    made = Chain(folder)
    make_source(made.source, 2, (0, 300, 60 * KIB))
    return made


def test_a_relay_needs_no_further_routes_and_brings_a_package_to_its_site_once(
    chain: Chain,
) -> None:
    chain.generate()
    for site in ("chile", "hub", "cologne", "bonn"):
        done = chain.work(site)
        assert (done.exit_code, done.stderr) == (0, ""), done
    chain.assert_done()
    first, second = (chain.job(f"list-0001.copy.{site}") for site in ("cologne", "bonn"))
    assert {first.package.brought_by, second.package.brought_by} in (
        {None, first.name},
        {None, second.name},
    )
    moved = [job for job in (first, second) if job.package.brought_by is None]
    assert [len(chain.receipts(job.name)) for job in moved] == [3]
    assert sum(len(chain.receipts(job.name)) for job in (first, second)) == 3
    assert chain.job("list-0001.relay.bonn.2").package.way == ("hub.buffer", "bonn.buffer")
    for site in ("chile", "hub", "cologne", "bonn"):
        chain.assert_packages(Path(chain.places[f"{site}.buffer"]))


def test_relays_within_relays_are_followed_to_the_end(chain: Chain) -> None:
    chain.places |= {"x.buffer": str(chain.folder / "x"), "y.buffer": str(chain.folder / "y")}
    for place in ("x", "y"):
        (chain.folder / place).mkdir()
    chain.routes = [
        RELAYS[1],
        {"type": "relay", "from": "chile", "to": "hub", "via": "x"},
        {"type": "relay", "from": "hub", "to": "bonn", "via": "y"},
    ]
    chain.write_sites()
    chain.generate(to=("bonn",), steps=None)
    for site in ("chile", "x", "hub", "y"):
        chain.work_ok(site)
    assert set(chain.jobs) == {
        "list-0001.copy.bonn",
        *(f"list-0001.relay.bonn.{leg}" for leg in (2, 3, 4)),
    }
    chain.assert_done(unpacked_at=())
    for place in ("x.buffer", "hub.buffer", "y.buffer", "bonn.buffer"):
        chain.assert_packages(Path(chain.places[place]))


def test_a_package_waits_for_the_hours_of_its_route(chain: Chain) -> None:
    chain.routes = [
        {
            "type": "direct",
            "from": "chile",
            "to": "bonn",
            "conditions": {"hours": "22:00-06:00", "time_zone": "UTC"},
        }
    ]
    chain.write_sites()
    chain.generate(to=("bonn",))
    clock = Clock(hour=12)
    code, said = work_at(chain, clock, "chile")
    assert code == 5, said
    assert "from 2026-11-27T22:00:00Z on: transfer-worker" in said
    job = chain.job("list-0001.copy.bonn")
    assert (str(job.status), job.failures, job.hand_backs) == ("todo", 0, 0)
    assert job.not_before == datetime(2026, 11, 27, 22, tzinfo=UTC)
    assert "hours 22:00-06:00" in chain.log(job.name)
    clock.now += timedelta(hours=9)
    assert work_at(chain, clock, "chile")[0] == 5
    assert len(events(chain.joblist / f"{job.name}.txt", "claimed")) == 1, "before its time"
    clock.now += timedelta(hours=2)
    assert work_at(chain, clock, "chile")[0] == 0
    assert work_at(chain, clock, "bonn")[0] == 0
    chain.assert_done(unpacked_at=("bonn",))


def test_the_second_part_of_a_relay_keeps_the_hours_of_the_relay(chain: Chain) -> None:
    chain.routes = [{**RELAYS[1], "conditions": NIGHT}]
    chain.write_sites()
    chain.generate(to=("bonn",))
    clock = Clock(hour=23)
    assert work_at(chain, clock, "chile")[0] == 0
    clock.now += timedelta(hours=8)  # 7 in the morning
    code, said = work_at(chain, clock, "hub")
    assert (code, "from 2026-11-28T22:00:00Z on" in said) == (5, True), said
    clock.now += timedelta(hours=16)
    assert work_at(chain, clock, "hub")[0] == 0


def test_a_change_of_the_routes_changes_what_is_still_to_be_moved(chain: Chain) -> None:
    chain.places["x.buffer"] = str(chain.folder / "x")
    (chain.folder / "x").mkdir()
    chain.write_sites()
    chain.generate()
    chain.work_ok("chile")
    before = {path: path.stat().st_ino for path in Path(chain.places["hub.buffer"]).iterdir()}
    chain.routes += [{"type": "relay", "from": "hub", "to": "bonn", "via": "x"}]
    chain.write_sites()
    for site in ("hub", "x", "cologne", "bonn"):
        chain.work_ok(site)
    chain.assert_done()
    assert chain.job("list-0001.relay.bonn.2").package.way == (
        "hub.buffer",
        "x.buffer",
        "bonn.buffer",
    )
    assert chain.job("list-0001.relay.cologne.2").package.way == ("hub.buffer", "cologne.buffer")
    chain.assert_packages(chain.folder / "x")
    after = {path: path.stat().st_ino for path in Path(chain.places["hub.buffer"]).iterdir()}
    assert after == before


def test_a_copy_that_has_begun_stays_on_its_way(chain: Chain, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "40k") as disk:
        chain.places["bonn.buffer"] = str(disk)
        chain.routes = [{"type": "custom", "from": "chile.buffer", "to": "bonn.buffer"}]
        chain.write_sites()
        chain.generate(to=("bonn",), steps=None)
        resize(disk, "1m")  # there is room by the plan, but a file in the way
        (disk / "list-0001.tar.index.parquet").mkdir()
        done = chain.work("chile")
        assert done.exit_code == 1, done
        assert chain.job("list-0001.copy.bonn").package.way == ("chile.buffer", "bonn.buffer")
        chain.routes = [RELAYS[1]]
        chain.write_sites()
        (disk / "list-0001.tar.index.parquet").rmdir()
        before = (disk / "list-0001.tar").stat().st_ino
        chain.retry()
        chain.work_ok("chile")
        chain.assert_done(unpacked_at=())
        assert chain.job("list-0001.copy.bonn").package.way == ("chile.buffer", "bonn.buffer")
        assert (disk / "list-0001.tar").stat().st_ino == before
        assert list(Path(chain.places["hub.buffer"]).iterdir()) == []


def test_a_package_waits_for_room(chain: Chain, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "200k") as disk:
        chain.places["hub.buffer"] = str(disk)
        chain.more["hub.buffer"] = {"keep_free": "100kB"}
        chain.write_sites()
        chain.generate(steps=None)
        done = chain.work("chile")
        assert (done.exit_code, done.stderr) == (5, ""), done
        assert "keep_free 100kB: hub.buffer has" in chain.log("list-0001.copy.bonn")
        assert chain.job("list-0001.copy.bonn").not_before is not None
        assert list(disk.iterdir()) == []
        resize(disk, "2m")
        chain.retry(*(word for name in chain.waiting() for word in ("--job", name)))
        chain.work_ok("chile")
        chain.work_ok("hub")
        chain.assert_done(unpacked_at=())


def test_packages_on_their_way_count_as_taken(chain: Chain, tmp_path: Path) -> None:
    """Two packages of which only one fits: what is being brought counts before it is there."""
    with small_disk(tmp_path / "disk", "1m") as disk:
        chain.places["bonn.buffer"] = str(disk)
        chain.more["bonn.buffer"] = {"keep_free": "924kB"}
        chain.routes = [{"type": "custom", "from": "chile.buffer", "to": "bonn.buffer"}]
        chain.write_sites()
        chain.generate("--package-size", "60kB", to=("bonn",), steps=None)
        assert len(chain.packages()) == 2
        slow = start(
            "transfer-worker", "-i", chain.joblist, "--bandwidth", "1kB/s", "--site", "chile"
        )
        try:
            wait_for(lambda: any("planned" in chain.log(name) for name in chain.jobs), seconds=20)
            done = chain.work("chile", "--no-share")
        finally:
            slow.kill()
            finish(slow)
        assert done.exit_code == 5, done
        (waiting,) = (name for name, status in chain.jobs.items() if status == "todo")
        assert "keep_free" in chain.log(waiting)


def test_a_store_that_does_not_answer_is_waited_for(chain: Chain) -> None:
    chain.places["bonn.buffer"] = "s3://nowhere/packages"
    endpoint = f"http://127.0.0.1:{unused_port()}"
    chain.settings["bonn.buffer"] = {"endpoint_url": endpoint}
    chain.env |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    chain.routes = [
        {
            "type": "custom",
            "from": "chile.buffer",
            "to": "bonn.buffer",
            "conditions": {"reachable": True},
        }
    ]
    chain.write_sites()
    chain.generate(to=("bonn",), steps=None)
    done = chain.work("chile")
    assert (done.exit_code, done.stderr) == (5, ""), done
    assert "bonn.buffer isn't" in chain.log("list-0001.copy.bonn")


def test_another_route_is_taken_where_the_first_can_not_be(chain: Chain) -> None:
    chain.routes = [
        {
            "type": "custom",
            "from": "chile.buffer",
            "to": "bonn.buffer",
            "conditions": {"space_left": "1000TB"},
        },
        RELAYS[1],
    ]
    chain.write_sites()
    chain.generate(to=("bonn",))
    for site in ("chile", "hub", "bonn"):
        chain.work_ok(site)
    chain.assert_done(unpacked_at=("bonn",))
    assert chain.job("list-0001.copy.bonn").package.way[1] == "hub.buffer"


def blocked_owner(chain: Chain) -> tuple[str, str]:
    """Two packages' jobs share a leg; the one that moves is in error. Return owner and other."""
    blocker = Path(chain.places["hub.buffer"]) / "list-0001.tar"
    blocker.mkdir()
    chain.generate(steps=None)
    done = chain.work("chile")
    assert done.exit_code == 1, done
    names = [f"list-0001.copy.{site}" for site in ("cologne", "bonn")]
    (owner,) = (name for name in names if chain.jobs[name] == "error")
    (other,) = (name for name in names if chain.jobs[name] == "todo")
    blocker.rmdir()
    return owner, other


def test_behind_a_leg_in_error_the_other_is_blocked_and_goes_on_once_it_is_retried(
    chain: Chain,
) -> None:
    owner, other = blocked_owner(chain)
    assert owner in chain.job(other).package.after
    done = chain.work("chile")
    assert done.exit_code == 1, done
    assert "1 after jobs in error" in done.stdout
    chain.retry()
    chain.work_ok("chile")
    chain.work_ok("hub")
    chain.assert_done(unpacked_at=())
    assert chain.job(other).package.brought_by == owner


def test_a_leg_whose_owner_goes_another_way_is_taken_by_the_other(chain: Chain) -> None:
    owner, other = blocked_owner(chain)
    site = owner.rpartition(".")[2]
    chain.routes += [{"type": "custom", "from": "chile.buffer", "to": f"{site}.buffer"}]
    chain.write_sites()
    chain.retry()
    for at in ("chile", "hub"):
        chain.work_ok(at)
    chain.assert_done(unpacked_at=())
    assert chain.job(owner).package.way == ("chile.buffer", f"{site}.buffer")
    assert chain.job(other).package.brought_by is None
    assert chain.job(other).package.way[1] == "hub.buffer"
    assert len(chain.receipts(other)) == 3


def test_a_leg_that_a_killed_job_took_and_left_does_not_hold_others_up(chain: Chain) -> None:
    """Its file names a job that goes another way now, though it never said that it left."""
    chain.generate(steps=None)
    legs = chain.joblist / "packages" / "legs" / "hub.buffer"
    legs.mkdir(parents=True)
    (legs / "list-0001").write_text('{"job": "list-0001.copy.cologne", "bytes": 1}')
    chain.routes = [
        RELAYS[1],
        {"type": "custom", "from": "chile.buffer", "to": "cologne.buffer"},
    ]
    chain.write_sites()
    for at in ("chile", "hub"):
        chain.work_ok(at)
    chain.assert_done(unpacked_at=())
    assert chain.job("list-0001.copy.bonn").package.brought_by is None


def test_a_destination_may_be_the_relay_of_another(chain: Chain) -> None:
    chain.routes = [
        {"type": "custom", "from": "chile.buffer", "to": "cologne.buffer"},
        {"type": "relay", "from": "chile", "to": "bonn", "via": "cologne"},
    ]
    chain.write_sites()
    chain.generate(steps="verify")
    for site in ("chile", "cologne", "bonn"):
        chain.work_ok(site)
    chain.assert_done(unpacked_at=())
    # Whichever job brought it, what lies there is read.
    assert "wrong=0" in chain.log("list-0001.verify.cologne")
    assert "files=3 " in chain.log("list-0001.verify.cologne")


def test_a_site_that_is_gone_from_the_file_is_named_and_nothing_is_sent_again(
    chain: Chain,
) -> None:
    chain.generate(to=("bonn",), steps=None)
    chain.work_ok("chile")
    hub = chain.places.pop("hub.buffer")
    chain.routes = []
    chain.write_sites()
    done = chain.work()
    assert done.exit_code == 1, done
    assert "hub" in done.stdout, done
    assert "Traceback" not in done.stdout + done.stderr
    chain.places["hub.buffer"] = hub
    chain.routes = [RELAYS[1]]
    chain.write_sites()
    chain.retry()
    chain.work_ok("hub")
    chain.assert_done(unpacked_at=())
    assert chain.job("list-0001.copy.bonn").attempts == 1


def test_a_file_of_sites_that_can_not_be_read_fails_no_job(chain: Chain) -> None:
    """Someone edits it while workers run."""
    chain.generate("--package-size", "1B", to=("bonn",), steps=None)
    text = chain.sites.read_text()

    class Breaking(Clock):
        """Breaks the file once the worker runs."""

        def __call__(self) -> datetime:
            chain.sites.write_text(text + "[sites.bonn\n")
            return self.now

    with pytest.raises(InfrastructureError, match="isn't valid TOML"):
        work_at(chain, Breaking(hour=12), "chile")
    assert set(chain.jobs.values()) == {"todo"}, chain.jobs
    chain.sites.write_text(text)
    chain.work_ok("chile")
    chain.work_ok("hub")
    chain.assert_done(unpacked_at=())


def test_routes_that_lead_back_are_an_error_of_the_file(chain: Chain) -> None:
    chain.generate(to=("bonn",), steps=None)
    chain.work_ok("chile")
    chain.routes = [{"type": "relay", "from": "hub", "to": "bonn", "via": "chile"}]
    chain.write_sites()
    done = chain.work("hub")
    assert done.exit_code == 5, done
    assert "where the package has been already" in chain.log("list-0001.relay.bonn.2")
