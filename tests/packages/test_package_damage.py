"""Packages that are damaged, or in each other's way: what is refused, named and mended."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from jobtool.failpoints import install
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
from tests.trees import contents, events, write

TAR = "list-0001.tar"


@pytest.fixture
def chain(folder: Path) -> Chain:
    made = Chain(folder)
    make_source(made.source, 2, (0, 300, 60 * KIB))
    return made


@pytest.fixture
def direct(chain: Chain) -> Chain:
    """To bonn without a relay."""
    chain.routes = [{"type": "custom", "from": "chile.buffer", "to": "bonn.buffer"}]
    chain.write_sites()
    return chain


def flip(path: Path, at: int | None = None) -> None:
    """Change one bit of a file, and none of its times."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_tar_that_is_damaged_at_the_relay_is_refused_there(chain: Chain) -> None:
    chain.routes = [dict(ROUTES[1])]
    chain.write_sites()
    chain.generate(to=("bonn",))
    chain.work_ok("chile")
    tar = Path(chain.places["hub.buffer"]) / TAR
    intact = tar.read_bytes()
    flip(tar)
    done = chain.work("hub")
    assert done.exit_code == 1, done
    assert f"hub.buffer/{TAR}" in done.stdout
    assert "as its manifest says" in done.stdout
    bonn = Path(chain.places["bonn.buffer"])
    assert not list(bonn.glob("*.manifest.json"))
    job = chain.job("list-0001.relay.bonn.2")
    assert (str(job.status), job.failures) == ("error", 1)
    done = chain.work("bonn")
    assert done.exit_code == 1, done
    assert not list(Path(chain.places["bonn.processing"]).iterdir())
    # It is mended there, with the same time or another one.
    tar.write_bytes(intact)
    chain.retry()
    chain.work_ok("hub")
    chain.work_ok("bonn")
    chain.assert_done(unpacked_at=("bonn",))
    chain.assert_packages(bonn)
    assert chain.job("list-0001.copy.bonn").attempts == 1


def test_a_tar_that_was_mended_by_a_copy_again_goes_on(chain: Chain) -> None:
    chain.routes = [dict(ROUTES[1])]
    chain.write_sites()
    chain.generate(to=("bonn",))
    chain.work_ok("chile")
    flip(Path(chain.places["hub.buffer"]) / TAR)
    assert chain.work("hub").exit_code == 1
    (Path(chain.places["hub.buffer"]) / TAR).unlink()
    chain.retry("--job", "list-0001.copy.bonn", "--job", "list-0001.relay.bonn.2")
    for site in ("chile", "hub", "bonn"):
        done = chain.work(site)
    chain.assert_done(unpacked_at=("bonn",))
    assert done.exit_code == 0


@pytest.mark.parametrize("suffix", [".index.parquet", ".manifest.json"])
def test_a_damaged_index_or_manifest_is_named(direct: Chain, suffix: str) -> None:
    direct.generate(to=("bonn",), steps="unpack")
    direct.work_ok("chile")
    damaged = Path(direct.places["bonn.buffer"]) / f"{TAR}{suffix}"
    intact = damaged.read_bytes()
    damaged.write_bytes(intact[: len(intact) // 2])
    done = direct.work("bonn")
    assert done.exit_code == 1, done
    assert f"{TAR}{suffix}" in done.stdout
    assert "unexpected" not in done.stdout
    assert contents(Path(direct.places["bonn.processing"])) == {}
    damaged.write_bytes(intact)
    direct.retry()
    direct.work_ok("bonn")
    direct.assert_done(unpacked_at=("bonn",))


def test_a_damaged_member_gets_no_name(direct: Chain) -> None:
    direct.generate(to=("bonn",), steps="unpack")
    direct.work_ok("chile")
    tar = Path(direct.places["bonn.buffer"]) / TAR
    flip(tar, tar.stat().st_size // 3)
    done = direct.work("bonn")
    assert done.exit_code == 1, done
    found = contents(Path(direct.places["bonn.processing"]))
    wanted = contents(direct.source)
    assert found.items() < wanted.items()
    assert len(wanted) - len(found) == 1
    (missing,) = wanted.keys() - found.keys()
    assert missing.rpartition("/")[2] in done.stdout
    flip(tar, tar.stat().st_size // 3)
    direct.retry()
    direct.work_ok("bonn")
    direct.assert_done(unpacked_at=("bonn",))


def test_another_package_of_the_name_is_refused(direct: Chain) -> None:
    direct.generate(to=("bonn",), steps=None)
    (direct.folder / "other").mkdir()
    bonn = Path(direct.places["bonn.buffer"])
    other = Chain(direct.folder / "other", routes=direct.routes)
    make_source(other.source, 1, (10, 20))
    other.generate("--name", "list", to=("bonn",), steps=None)
    other.places["bonn.buffer"] = str(bonn)
    other.write_sites()
    other.work_ok("chile")
    before = contents(bonn)
    done = direct.work("chile")
    assert done.exit_code == 1, done
    assert "expected no other package list-0001" in done.stdout
    assert "--name" in done.stdout
    assert contents(bonn) == before
    for path in bonn.iterdir():
        path.unlink()
    direct.retry()
    direct.work_ok("chile")
    direct.assert_packages(bonn)


@pytest.mark.parametrize("pack", ["stream", "buffer"])
def test_a_member_that_changed_or_is_gone_is_named(direct: Chain, pack: str) -> None:
    direct.generate("--pack", pack, to=("bonn",), steps=None)
    changed = direct.source / "item01" / "deep folder" / "f1"
    intact, times = changed.read_bytes(), changed.stat()
    write(changed, b"other")
    done = direct.work("chile")
    assert done.exit_code == 1, done
    assert "deep folder/f1" in done.stdout
    name = "list-0001.pack" if pack == "buffer" else "list-0001.copy.bonn"
    assert direct.jobs[name] == "error"
    changed.unlink()
    direct.retry()
    done = direct.work("chile")
    assert done.exit_code == 1, done
    assert "deep folder/f1" in done.stdout
    assert not list(Path(direct.places["bonn.buffer"]).glob("*.manifest.json"))
    write(changed, intact)
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    direct.retry()
    direct.work_ok("chile")
    direct.assert_done(unpacked_at=())
    direct.assert_packages(Path(direct.places["bonn.buffer"]))


def test_a_file_that_changed_after_it_was_unpacked_is_unpacked_again(direct: Chain) -> None:
    direct.generate(to=("bonn",), steps="unpack,verify,archive")
    direct.work_ok("chile")
    stop_after_unpack = direct.work("bonn", "--max-jobs", "1")
    assert direct.jobs["list-0001.unpack.bonn"] == "success", stop_after_unpack
    damaged = Path(direct.places["bonn.processing"]) / "item00" / "deep folder" / "f1"
    flip(damaged)
    tar = Path(direct.places["bonn.buffer"]) / TAR
    before = tar.stat()
    direct.work_ok("bonn")
    direct.assert_done(unpacked_at=("bonn",))
    assert direct.job("list-0001.copy.bonn").attempts == 1
    assert direct.job("list-0001.unpack.bonn").attempts == 2
    assert "wrong=1" in direct.log("list-0001.verify.bonn")
    after = tar.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_step_that_fails_thrice_requires_intervention_and_nothing_is_sent_again(
    direct: Chain,
) -> None:
    """What is unpacked is damaged again and again. Each try waits twice as long as the last."""
    direct.generate(to=("bonn",), steps="unpack,verify", backoff=400)
    direct.work_ok("chile")
    tar = Path(direct.places["bonn.buffer"]) / TAR
    before = tar.stat()
    member = Path(direct.places["bonn.processing"]) / "item00" / "deep folder" / "f1"

    def damage(point: str, *subjects: object) -> None:
        if point == "after the journal is removed" and member.exists():
            flip(member)

    clock, waits, tries = Clock(hour=12), [], 0
    install(damage)
    try:
        while direct.jobs["list-0001.verify.bonn"] != "error":
            began = clock.now
            code, _ = work_at(direct, clock, "bonn")
            until = direct.job("list-0001.verify.bonn").not_before
            if until is not None:
                assert code == 5
                waits.append((until - began).total_seconds())
                clock.now = until
            tries += 1
            assert tries < 9, direct.log("list-0001.verify.bonn")
    finally:
        install(None)
    assert waits == [400, 800]
    job = direct.job("list-0001.verify.bonn")
    assert (job.failures, job.requires_intervention) == (3, True)
    direct.retry()
    while work_at(direct, clock, "bonn")[0]:  # the last damage is found first
        clock.now += timedelta(seconds=400)
        assert not direct.job("list-0001.verify.bonn").requires_intervention
    direct.assert_done(unpacked_at=("bonn",))
    assert direct.job("list-0001.copy.bonn").attempts == 1
    after = tar.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_full_destination_fails_the_unpack_and_nothing_is_sent_again(
    direct: Chain, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "60k") as disk:
        direct.places["bonn.processing"] = str(disk)
        direct.write_sites()
        direct.generate(to=("bonn",), steps="unpack,archive")
        direct.work_ok("chile")
        before = (Path(direct.places["bonn.buffer"]) / TAR).stat()
        for _ in range(2):
            done = direct.work("bonn")
            assert done.exit_code == 4, done
            assert "No space left" in done.stderr
            assert direct.jobs["list-0001.unpack.bonn"] == "todo"
        resize(disk, "1m")
        direct.work_ok("bonn")
        direct.assert_done(unpacked_at=("bonn",))
    after = (Path(direct.places["bonn.buffer"]) / TAR).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(events(direct.joblist / "list-0001.copy.bonn.txt", "claimed")) == 1
