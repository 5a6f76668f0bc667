"""`jobtool verify`: what is missing, changed or extra at the destination, and nothing else."""

from __future__ import annotations

import csv
import os
import shutil
import threading
from pathlib import Path

import pytest

from jobtool.audit.evidence import is_other_time
from jobtool.audit.verify import Audit
from jobtool.jobs.joblist import JobList
from jobtool.stores.registry import StoreRegistry
from tests.audit.conftest import (
    FILES,
    Place,
    make_joblist,
    send,
    tally,
    transfer,
    verify,
    without_bytes,
)
from tests.commands import assert_one_line_error, run, run_ok, run_without_superpowers
from tests.faults.proxy import Answer, Fault, Forward, Request, proxy_before
from tests.prepare import prepare
from tests.trees import make_items, make_partition, receipts, snapshot, write


def findings(what: Path, place: Place, *options: object) -> list[object]:
    """Verify a destination that must have findings; return them."""
    code, told = verify(what, place, *options)
    assert code == 1
    return sorted(told[:-1])


@pytest.mark.parametrize("deep", [(), ("--deep",)], ids=["listing", "deep"])
def test_a_finished_joblist_is_as_its_receipts_say(
    tmp_path: Path, joblist: Path, place: Place, deep: tuple[str, ...]
) -> None:
    before = snapshot(joblist), snapshot(tmp_path / "in"), place.contents()
    code, told = verify(joblist, place, *deep)
    size = sum(len(data) for data in place.contents().values())
    assert (code, told) == (0, [{**tally(), "bytes": size}])
    after = snapshot(joblist), snapshot(tmp_path / "in"), place.contents()
    assert after == before, "it only reads"


def test_people_read_a_line_for_each_finding_and_a_sum(joblist: Path, place: Place) -> None:
    assert run_ok("jobtool", "verify", joblist, env=place.env).lines == [
        "💡 Verified 9 file(s), 720 B: 0 missing, 0 changed, 0 extra."
    ]
    place.delete("item001/0.bin")
    done = run("jobtool", "verify", joblist, "-v", 0, env=place.env)
    assert done.exit_code == 1
    assert done.lines == [
        f"❌ missing: {place.url}/item001/0.bin",
        "💡 Verified 9 file(s), 720 B: 1 missing, 0 changed, 0 extra.",
    ]


@pytest.mark.parametrize("deep", [(), ("--deep",)], ids=["listing", "deep"])
def test_missing_changed_and_extra_are_told_apart(
    joblist: Path, place: Place, deep: tuple[str, ...]
) -> None:
    place.delete("item000/0.bin")
    place.raw.write("item000/1.bin", b"of another size")
    place.raw.write("item001/new\n \u2713 %2F -> file", b"nobody sent this")
    place.raw.write("not-a-job/0.bin", b"and this is under no job's prefix")
    place.raw.write("item0010/0.bin", b"nor is this")
    code, told = verify(joblist, place, *deep)
    assert code == 1
    assert sorted(told[:-1]) == [
        ("changed", f"{place.url}/item000/1.bin"),
        ("extra", f"{place.url}/item001/new\n \u2713 %2F -> file"),
        ("missing", f"{place.url}/item000/0.bin"),
    ]
    assert without_bytes(told[-1]) == tally(missing=1, changed=1, extra=1)


def test_a_flipped_bit_is_found_by_reading_and_on_s3_by_its_etag(
    joblist: Path, place: Place
) -> None:
    place.flip_a_bit("item001/2.bin")
    changed = [("changed", f"{place.url}/item001/2.bin")]
    assert findings(joblist, place, "--deep") == changed
    code, told = verify(joblist, place)
    assert (code, told[:-1]) == ((0, []) if place.is_local else (1, changed))


def test_an_empty_destination_misses_everything(joblist: Path, place: Place) -> None:
    paths = place.raw.paths()
    if place.is_local:
        shutil.rmtree(place.url)
    else:
        for path in paths:
            place.delete(path)
    assert findings(joblist, place, "--deep") == [
        ("missing", f"{place.url}/{path}") for path in sorted(paths)
    ]


def test_files_in_parts_are_verified_like_others(tmp_path: Path, place: Place) -> None:
    write(tmp_path / "in" / "item" / "big", bytes(range(256)) * 24 * 1024)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", place.url, "-l", "tree")
    prepare("generate-joblist", *paths)
    joblist = tmp_path / "list"
    with (joblist / "joblist.toml").open("a") as file:
        file.write("\n[transfer]\npart_size_bytes = 5242880\n")
    send(joblist, place)
    assert verify(joblist, place)[0] == 0
    assert verify(joblist, place, "--deep")[0] == 0
    place.flip_a_bit("item/big")
    assert findings(joblist, place, "--deep") == [("changed", f"{place.url}/item/big")]


@pytest.fixture
def manifest(tmp_path: Path, place: Place) -> Path:
    """Jobs of two named files, all in one folder of the destination; done."""
    make_items(tmp_path / "in", 4, files=1)
    with (tmp_path / "files.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["src_path", "dst_path"])
        for number in range(4):
            table.writerow([f"in/item{number:03d}/0.bin", f"all/{number}"])
    paths = ("-i", tmp_path / "files.csv", "-o", tmp_path / "list", "-d", place.url)
    prepare("generate-joblist", *paths, "--set", "max_files=2")
    send(tmp_path / "list", place)
    return tmp_path / "list"


@pytest.mark.parametrize("deep", [(), ("--deep",)], ids=["listing", "deep"])
def test_named_files_are_looked_up_one_by_one_and_their_neighbours_are_none_of_ours(
    manifest: Path, place: Place, deep: tuple[str, ...]
) -> None:
    place.raw.write("all/of somebody else", b"x")
    assert verify(manifest, place, *deep)[0] == 0
    place.delete("all/1")
    place.raw.write("all/2", b"of another size")
    assert findings(manifest, place, *deep) == [
        ("changed", f"{place.url}/all/2"),
        ("missing", f"{place.url}/all/1"),
    ]


@pytest.mark.parametrize("form", ["joblist", "table"])
def test_a_flipped_bit_in_a_named_file_is_found_by_reading_and_on_s3_by_its_etag(
    tmp_path: Path, manifest: Path, place: Place, form: str
) -> None:
    what = manifest
    if form == "table":
        what = tmp_path / "all.parquet"
        run_ok("jobtool", "receipts", manifest, "-o", what)
    place.flip_a_bit("all/3")
    changed = [("changed", f"{place.url}/all/3")]
    assert findings(what, place, "--deep") == changed
    code, told = verify(what, place)
    assert (code, told[:-1]) == ((0, []) if place.is_local else (1, changed))


def overwrite(path: Path, *, content: bytes | None = None) -> None:
    """Write a local file anew, with other bytes or the same, at another time."""
    data = path.read_bytes()
    path.write_bytes(data[::-1] if content is None else content)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 3_600_000_000_000))


def test_a_local_file_of_the_same_size_with_another_time_is_read(
    tmp_path: Path, local: Place
) -> None:
    joblist = make_joblist(tmp_path, local)
    send(joblist, local)
    table = tmp_path / "all.parquet"
    run_ok("jobtool", "receipts", joblist, "-o", table)
    spoilt, touched = (Path(local.url, "item000", f"{number}.bin") for number in range(2))
    overwrite(spoilt)
    overwrite(touched, content=touched.read_bytes())
    for what in joblist, table:
        assert findings(what, local) == [("changed", str(spoilt))]


@pytest.mark.parametrize("grain_ns", [1000, 1_000_000_000, 2_000_000_000])
def test_a_filesystem_with_coarse_times_raises_no_doubt(grain_ns: int) -> None:
    exact_ns = 1_700_000_001_987_654_321
    assert not is_other_time(exact_ns, exact_ns - exact_ns % grain_ns)
    assert is_other_time(exact_ns, exact_ns - exact_ns % grain_ns - 2 * grain_ns)


def test_where_no_file_has_its_time_few_are_read(tmp_path: Path, local: Place) -> None:
    make_items(tmp_path / "in", 1, files=300)
    joblist = make_joblist(tmp_path, local, count=1, files=300)
    send(joblist, local)
    for path in Path(local.url).rglob("*.bin"):
        os.utime(path, ns=(1, 1))
    done = run_ok("jobtool", "verify", joblist)
    assert done.lines[0].startswith("❗ 100 files differ from their receipts in modification time")
    assert done.lines[1].startswith("💡 Verified 300 file(s)")
    counted: list[int] = []
    audit = Audit(StoreRegistry(), lambda event: None, deep=False, threads=4, watch=counted.append)
    assert audit.joblist(JobList.open(str(joblist))).exit_code == 0
    assert counted[-1] < 150


def test_named_files_are_looked_up_many_at_a_time_and_told_in_order(
    tmp_path: Path, s3: Place, rclone_s3
) -> None:
    make_items(tmp_path / "in", 1, files=60)
    rows = "".join(f"in/item000/{number}.bin,all/{number:02d}\n" for number in range(60))
    write(tmp_path / "files.csv", f"src_path,dst_path\n{rows}".encode())
    paths = ("-i", tmp_path / "files.csv", "-o", tmp_path / "list", "-d", s3.url)
    prepare("generate-joblist", *paths)
    send(tmp_path / "list", s3)
    order = [receipt.dst_path for receipt in receipts(tmp_path / "list")]
    gone = [order[number] for number in (3, 30, 31, 59)]
    for url in gone:
        s3.delete(url.removeprefix(f"{s3.url}/"))
    lock = threading.Condition()
    in_flight, most = 0, 0

    def slowly(request: Request, forward: Forward) -> Answer:
        nonlocal in_flight, most
        with lock:
            in_flight += 1
            most = max(most, in_flight)
            lock.notify_all()
            # The first calls wait for others at the same time; if none come, each waits a moment.
            lock.wait_for(lambda: most >= 8, timeout=0.5)
        try:
            return forward(request)
        finally:
            with lock:
                in_flight -= 1

    heads = Fault(lambda request: request.method == "HEAD", slowly, times=1000)
    with proxy_before(rclone_s3.endpoint_url, heads) as proxy:
        env = {**s3.env, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        done = run("jobtool", "verify", tmp_path / "list", "--threads", 8, env=env)
    assert done.lines[:-1] == [f"❌ missing: {url}" for url in gone]
    assert heads.hits >= 60
    assert most == 8, "as many as there are threads, and no more"


def test_partitions_in_two_stores_are_verified_in_both(
    tmp_path: Path, local: Place, s3: Place
) -> None:
    make_partition(tmp_path / "in", "a", 0)
    folders = {"dst_image_folder": s3.url, "dst_error_folder": local.url}
    values = [f"--set={name}={value}" for name, value in folders.items()]
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", *values)
    send(tmp_path / "list", s3)
    assert verify(tmp_path / "list", s3, "--deep")[0] == 0
    (image,), (error,) = s3.raw.paths(), local.raw.paths()
    s3.delete(image)
    local.flip_a_bit(error)
    assert findings(tmp_path / "list", s3, "--deep") == [
        ("changed", f"{local.url}/{error}"),
        ("missing", f"{s3.url}/{image}"),
    ]


def test_a_job_of_one_file_is_verified(tmp_path: Path, place: Place) -> None:
    write(tmp_path / "in" / "alone", b"a job of its own")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", place.url, "-l", "tree")
    prepare("generate-joblist", *paths)
    send(tmp_path / "list", place)
    assert verify(tmp_path / "list", place, "--deep")[0] == 0
    place.flip_a_bit("alone")
    assert findings(tmp_path / "list", place, "--deep") == [("changed", f"{place.url}/alone")]
    place.delete("alone")
    assert findings(tmp_path / "list", place) == [("missing", f"{place.url}/alone")]


def test_jobs_that_are_not_finished_are_counted_and_exit_with_3(
    tmp_path: Path, joblist: Path, place: Place
) -> None:
    make_items(tmp_path / "in", 4, files=FILES)
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", joblist)
    write(joblist / "typo.txt", b"succes\n")
    code, told = verify(joblist, place)
    assert (code, without_bytes(told[0])) == (3, tally(unfinished_jobs=2))
    assert verify(joblist, place, "--job", "item000")[0] == 0
    assert verify(joblist, place, "--job", "item003")[0] == 3
    place.delete("item000/0.bin")
    assert verify(joblist, place)[0] == 1, "what is off counts for more"


def test_only_the_named_jobs_are_looked_at(joblist: Path, place: Place) -> None:
    place.delete("item000/0.bin")
    place.delete("item002/0.bin")
    code, told = verify(joblist, place, "--job", "item001")
    assert (code, without_bytes(told[0])) == (0, tally(files=FILES))
    code, told = verify(joblist, place, "--job", "item001", "--job", "item002")
    assert (code, told[0]) == (1, ("missing", f"{place.url}/item002/0.bin"))
    assert without_bytes(told[1]) == tally(files=2 * FILES, missing=1)
    done = run("jobtool", "verify", joblist, "--job", "item00", env=place.env)
    assert_one_line_error(done, 2, "item00", str(joblist))


def test_a_lost_table_of_receipts_leaves_its_files_unproven(
    tmp_path: Path, joblist: Path, place: Place
) -> None:
    (joblist / "receipts" / "item001.parquet").unlink()
    code, told = verify(joblist, place, "--repair")
    assert code == 1
    assert ("unproven", f"{place.url}/item001") in told
    assert without_bytes(told[-1]) == tally(files=2 * FILES, extra=FILES, unproven=1)
    names = [f"{place.url}/item001/{number}.bin" for number in range(FILES)]
    assert sorted(transfer(joblist, place)) == names
    assert verify(joblist, place, "--deep")[0] == 0


def test_a_file_that_can_not_be_read_is_told_as_such(tmp_path: Path, local: Place) -> None:
    joblist = make_joblist(tmp_path, local)
    send(joblist, local)
    Path(local.url, "item000", "0.bin").chmod(0)
    done = run_without_superpowers("jobtool", "verify", joblist, "--deep")
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.lines[0].startswith(f"❌ unreadable: {local.url}/item000/0.bin (")
    assert "1 unreadable" in done.lines[1]


def test_the_merged_table_needs_neither_the_joblist_nor_the_source(
    tmp_path: Path, joblist: Path, place: Place
) -> None:
    table = tmp_path / "archive" / "all.parquet"
    table.parent.mkdir()
    run_ok("jobtool", "receipts", joblist, "-o", table)
    shutil.rmtree(tmp_path / "in")
    shutil.rmtree(joblist)
    for deep in (), ("--deep",):
        code, told = verify(table, place, *deep)
        assert (code, [without_bytes(event) for event in told]) == (0, [tally()])
    place.raw.write("item000/extra", b"can't be told from a table")
    place.delete("item001/0.bin")
    place.flip_a_bit("item001/1.bin")
    place.raw.write("item002/2.bin", b"of another size")
    assert findings(table, place, "--deep") == [
        ("changed", f"{place.url}/item001/1.bin"),
        ("changed", f"{place.url}/item002/2.bin"),
        ("missing", f"{place.url}/item001/0.bin"),
    ]


def test_what_is_no_table_of_receipts_is_refused(tmp_path: Path, local: Place) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    run_ok("jobtool", "receipts", joblist, "-o", tmp_path / "all.parquet")
    for options in ("--repair",), ("--job", "item000"):
        done = run("jobtool", "verify", tmp_path / "all.parquet", *options)
        assert_one_line_error(done, 2, "expected a joblist")
    other = write(tmp_path / "other.parquet", b"PAR1 and not much else")
    assert_one_line_error(run("jobtool", "verify", other), 1, str(other))
    assert_one_line_error(run("jobtool", "verify", tmp_path / "none.parquet"), 2, "none.parquet")
    assert_one_line_error(run("jobtool", "verify", tmp_path / "in"), 2, "joblist")


def test_a_server_that_refuses_us_is_no_finding(tmp_path: Path, s3: Place) -> None:
    joblist = make_joblist(tmp_path, s3, count=1)
    send(joblist, s3)
    env = {**s3.env, "AWS_SECRET_ACCESS_KEY": "not the key"}
    done = run("jobtool", "verify", joblist, env=env)
    assert_one_line_error(done, 4, "SignatureDoesNotMatch")
    assert done.stdout == ""
