"""``jobtool verify --sample``: which files are drawn, and what is read of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobtool
from jobtool.audit.sample import Share, draw
from jobtool.jobs.records import Receipt
from tests.commands import assert_one_line_error, run, run_ok
from tests.packages.made import index_of, opened
from tests.prepare import prepare
from tests.receiving.worlds import World
from tests.trees import make_items, statuses, write

SEEDS = [f"2026-11-{day:02}" for day in range(1, 31)]


def receipt(path: str) -> Receipt:
    return Receipt(
        src_path=path,
        dst_path=path,
        size=1,
        mtime_ns=0,
        hashsum_src="a" * 32,
        hashsum_dst="a" * 32,
        verified_by="read-back",
        verified_at="2026-11-27T00:00:00Z",
        worker="w",
        attempt=1,
    )


def sampled(share: Share, seed: str, sizes: list[int]) -> dict[str, list[str]]:
    """The drawn files of jobs with so many files, by the job."""
    jobs = {f"job {job}": [receipt(f"/{job}/{n}") for n in range(c)] for job, c in enumerate(sizes)}
    drawn = draw(share, seed, jobs.items())
    assert drawn.files == sum(sizes)
    found = {name: drawn.of_job(name, receipts) for name, receipts in jobs.items()}
    return {name: [each.dst_path for each in receipts] for name, receipts in found.items()}


def number_of(found: dict[str, list[str]]) -> int:
    return sum(map(len, found.values()))


@given(st.integers(1, 60), st.text(max_size=3), st.lists(st.integers(0, 30), max_size=8))
def test_a_number_of_files_is_what_is_drawn_each_once(files, seed, sizes):
    found = sampled(Share(files=files), seed, sizes)
    assert found == sampled(Share(files=files), seed, sizes)
    assert all(len(set(paths)) == len(paths) for paths in found.values())
    if files >= sum(sizes):
        assert number_of(found) == sum(sizes)
    else:
        # a job that is drawn may have no file left that isn't drawn anyway
        assert files - min(files // 2, len(sizes)) <= number_of(found) <= files


@given(st.floats(0.001, 1), st.text(max_size=3), st.lists(st.integers(0, 30), max_size=8))
def test_a_part_is_drawn_again_by_its_seed(fraction, seed, sizes):
    share = Share(fraction=fraction)
    found = sampled(share, seed, sizes)
    assert found == sampled(share, seed, sizes)
    assert sum(sizes) == 0 or number_of(found) > 0 or fraction < 1
    assert fraction < 1 or number_of(found) == sum(sizes)


def test_small_jobs_are_reached_beside_a_large_one():
    sizes = [2_000, *[1] * 50]
    runs = [sampled(Share(fraction=0.01), seed, sizes) for seed in SEEDS]
    reached = {job for found in runs for job, paths in found.items() if paths}
    # Each run draws 10 of the 51 jobs, and 11 of the files.
    assert reached == {f"job {number}" for number in range(51)}
    assert 15 < sum(map(number_of, runs)) / len(runs) < 25


@pytest.mark.parametrize("text", ["0", "-1", "0%", "101%", "1.5", "nan%", "inf%", "", "%", "x"])
def test_a_share_that_can_not_be(text, tmp_path):
    with pytest.raises(ValueError, match="such as 1%"):
        Share.parse(text)


def verified(joblist: Path, sample: str | int | None = None, seed: str | None = None, **options):
    """The sum of a verification, its findings, its exit code."""
    found = jobtool.verify_jobs(joblist, sample=sample, seed=seed, **options)
    return found.counts, found.discrepancies, found.exit_code


def json_of(*command: object) -> list[dict]:
    """The JSON lines that a command prints."""
    return [json.loads(line) for line in run_ok(*command).lines]


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("copied")
    items = make_items(folder / "in", 5, files=20)
    write(folder / "in/item_9/only", b"one")
    prepare("generate-joblist", "-i", items, "-o", folder / "list", "-d", folder / "out")
    prepare("transfer-worker", "-i", folder / "list", "-v", 0)
    return folder


def test_a_sample_says_how_many_of_how_many_and_finds_damage_in_the_end(copied):
    joblist = copied / "list"
    total, findings, code = verified(joblist, 10, "x")
    files = total.of_files
    assert (files, code, findings) == (101, 0, ())
    assert 5 < total.files <= 10
    assert verified(joblist, 10, "x")[0] == total
    (event,) = json_of("jobtool", "verify", joblist, "--sample", 10, "--seed", "x", "--json")
    assert (event["files"], event["of_files"], event["seed"]) == (total.files, 101, "x")
    text = run_ok("jobtool", "verify", joblist, "--sample", "10%").stdout
    assert f"of {files} file(s) (seed 20" in text
    whole, _, _ = verified(joblist)
    assert (whole.of_files, whole.seed, whole.files) == (None, None, files)
    victim = copied / "out/item_9/only"
    victim.write_bytes(b"two")
    os.utime(victim, ns=(1, 1))
    try:
        runs = {seed: verified(joblist, 6, seed) for seed in SEEDS}
        assert {code for _, _, code in runs.values()} == {0, 1}
        found = [findings for _, findings, code in runs.values() if code]
        assert {finding.path for findings in found for finding in findings} == {str(victim)}
    finally:
        run("jobtool", "verify", joblist, "--repair")
        prepare("transfer-worker", "-i", joblist, "-v", 0)


def test_a_table_and_single_jobs_are_sampled(copied):
    table = copied / "table.parquet"
    run_ok("jobtool", "receipts", copied / "list", "-o", table)
    total, _, code = verified(table, "20%", deep=True)
    assert (total.of_files, code) == (101, 0)
    assert 0 < total.files < 60
    total, _, _ = verified(copied / "list", 3, jobs=["item_9"])
    assert (total.of_files, total.files) == (1, 1)


def test_a_seed_without_a_sample_and_a_wrong_sample_are_refused(copied):
    done = run("jobtool", "verify", copied / "list", "--seed", "x")
    assert_one_line_error(done, 2, "Give --sample")
    assert_one_line_error(run("jobtool", "verify", copied / "list", "--sample", "2x"), 2, "'2x'")


@pytest.fixture
def archived(tmp_path) -> World:
    """A package of 150 members that was archived."""
    world = World(tmp_path)
    world.package("p", {"a": 100, "b": 50})
    world.receive(*world.at_cologne, "--then", "archive")
    prepare("transfer-worker", "-i", world.joblist, "-v", 0)
    return world


def damage(tar: Path, member: str) -> None:
    """Change a byte of a member, and no time."""
    times = tar.stat()
    (placed,) = [each for each in opened(tar).members() if each.row.path == member]
    with tar.open("r+b") as file:
        file.seek(placed.row.offset + 7)
        file.write(b"\0")
    os.utime(tar, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_of_a_package_single_members_are_read(archived):
    joblist = archived.joblist
    total, _, code = verified(joblist, "10%", "1", deep=True)
    assert (code, total.of_members, total.of_files) == (0, 150, 3)
    assert 3 < total.members < 40
    tar = archived.folder / "cologne/arc/p.tar"
    assert total.bytes < tar.stat().st_size / 2
    damage(tar, "a/50")
    runs = {}
    for seed in map(str, range(500)):  # what is drawn depends on the folder's name, too
        runs[seed] = verified(joblist, "10%", seed, deep=True)
        if {code for _, _, code in runs.values()} == {0, 1}:  # what isn't drawn isn't read
            break
    seed = next(seed for seed, (_, _, code) in runs.items() if code)
    (finding,) = runs[seed][1]
    assert (finding.what, finding.path) == ("changed", str(tar))
    assert finding.detail.startswith("member a/50: MD5 ")
    verified(joblist, "10%", seed, deep=True, repair=True)
    assert statuses(archived.joblist) == {"p.archive.cologne": "todo"}
    prepare("transfer-worker", "-i", archived.joblist, "-v", 0)
    assert tar.read_bytes() == (archived.buffer / "p.tar").read_bytes()
    assert verified(joblist, deep=True)[2] == 0


def test_a_number_of_files_reads_one_member_of_a_package(archived):
    for seed in SEEDS:
        total, _, code = verified(archived.joblist, 2, seed, deep=True)
        assert code == 0
        if total.members:
            assert (total.members, total.of_members) == (1, 150)
            return
    pytest.fail("the tar was never drawn")


def test_an_index_that_is_not_the_one_of_its_receipt_proves_nothing(archived):
    tar = archived.folder / "cologne/arc/p.tar"
    data = index_of(tar).read_bytes()
    index_of(tar).write_bytes(data[:99] + bytes([data[99] ^ 1]) + data[100:])
    total, (finding,), code = verified(archived.joblist, "1%", deep=True)
    assert (code, finding.what, finding.path) == (1, "changed", str(index_of(tar)))
    assert total.of_members == 0
    tar.unlink()
    _, findings, _ = verified(archived.joblist, "1%", deep=True)
    assert {finding.what for finding in findings} == {"changed", "missing"}


def test_a_job_that_writes_no_files_lacks_no_receipts(tmp_path):
    world = World(tmp_path)
    world.package("p", {"a": 2})
    world.receive(*world.at_cologne, "--then", "unpack,verify")
    prepare("transfer-worker", "-i", world.joblist, "-v", 0)
    assert verified(world.joblist)[2] == 0
