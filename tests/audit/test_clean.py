"""`jobtool clean`: what killed workers left unfinished, and nothing that isn't theirs."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from jobtool.audit.clean import clean
from jobtool.audit.events import LeftAlone, Leftover
from jobtool.errors import RefusedError
from jobtool.jobs.joblist import JobList
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import UploadRecord
from jobtool.stores.local.temporaries import Temporaries
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Store
from jobtool.testing.faults import Fault
from jobtool.testing.faulty_store import FaultyStore
from tests.audit.conftest import Place, make_joblist, send, transfer, words
from tests.commands import finish, run, run_ok, start
from tests.gate import gate_before
from tests.prepare import prepare
from tests.trees import contents, status_of, write

PART = 5 * 1024 * 1024


def make_big_joblist(folder: Path, url: str, size: int, *, name: str = "item/big") -> Path:
    """A joblist of one file, in parts of 5 MiB."""
    write(folder / "in" / name, b"")
    with (folder / "in" / name).open("r+b") as file:
        file.truncate(size)
    paths = ("-i", folder / "in", "-o", folder / "list", "-d", url, "-l", "tree")
    prepare("generate-joblist", *paths)
    with (folder / "list" / "joblist.toml").open("a") as file:
        file.write(f"\n[transfer]\npart_size_bytes = {PART}\n")
    return folder / "list"


def leftovers(joblist: Path, place: Place, *options: str) -> list[tuple[str, str, bool]]:
    done = run_ok("jobtool", "clean", joblist, "--json", *options, env=place.env)
    events = [json.loads(line) for line in done.lines]
    assert all((event["event"], event["job"]) == ("leftover", "item") for event in events)
    return [(event["what"], event["path"], event["removed"]) for event in events]


def uploads(place: Place) -> set[tuple[str, str]]:
    """The unfinished uploads of a bucket, by another client."""
    answer = place.raw.client.list_multipart_uploads(Bucket=place.raw.bucket)
    return {(found["Key"], found["UploadId"]) for found in answer.get("Uploads", ())}


def temporaries(folder: Path) -> set[Path]:
    return set(folder.rglob(".jobtool-*"))


def test_uploads_of_a_killed_worker_are_listed_then_aborted_and_foreign_ones_stay(
    tmp_path: Path, s3: Place, rclone_s3
) -> None:
    joblist = make_big_joblist(tmp_path, s3.url, 3 * PART + 1)
    begin = s3.raw.client.create_multipart_upload
    key = f"{s3.raw.prefix}item/big"
    foreign = {
        (name, begin(Bucket=s3.raw.bucket, Key=name)["UploadId"]) for name in (key, key + "ger")
    }
    with gate_before(rclone_s3.endpoint_url, allowed=2) as gate:
        env = {**s3.env, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("transfer-worker", "-i", joblist, "--threads", 1, env=env)
        gate.wait_until_held()
        held = run_ok("jobtool", "clean", joblist, "--yes", env=s3.env)
        assert words(held)[0] == "item: left as it is: a worker is on it"
        assert len(uploads(s3)) == 3
        process.kill()
        finish(process)
    before = uploads(s3)
    assert len(before - foreign) == 1

    found = ("an unfinished upload", f"{s3.url}/item/big")
    assert leftovers(joblist, s3) == [(*found, False)]
    assert uploads(s3) == before, "listing removes nothing"
    assert leftovers(joblist, s3, "--yes") == [(*found, True)]
    assert uploads(s3) == foreign
    assert leftovers(joblist, s3, "--yes") == []

    assert status_of(joblist / "item.txt") == "ongoing"
    assert transfer(joblist, s3) == [f"{s3.url}/item/big"]
    assert s3.contents() == contents(tmp_path / "in")
    assert leftovers(joblist, s3) == []


def kill_in_the_middle(joblist: Path, out: Path) -> Path:
    """Kill a worker that is writing a large file; return what it left."""
    process = start("transfer-worker", "-i", joblist, "--threads", 1)
    deadline = time.monotonic() + 60
    while not temporaries(out):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.kill()
    finish(process)
    (left,) = temporaries(out)
    return left


@pytest.mark.parametrize("name", ["item/big", "item"], ids=["tree", "one-file"])
def test_temporary_files_of_a_killed_worker_are_listed_then_removed_and_others_stay(
    tmp_path: Path, local: Place, name: str
) -> None:
    out = Path(local.url)
    joblist = make_big_joblist(tmp_path, local.url, 100 * PART, name=name)
    left = kill_in_the_middle(joblist, out)
    assert left.parent == (out / name).parent
    # Files with such names that another job, another joblist or another program made.
    owners = ["", f"{joblist}\0another", f"{joblist}2\0item"]
    foreign = {left.with_name(Temporaries(owner).new()) for owner in owners}
    foreign |= {left.with_name(left.name + ".bak"), left.with_name(".jobtool-notes.part")}
    foreign |= {out / "mine.part", out / "item.part"}
    for path in foreign:
        write(path)
    kept = contents(out) | {}
    kept.pop(str(left.relative_to(out)))

    found = ("a temporary file", str(left))
    assert leftovers(joblist, local) == [(*found, False)]
    assert left.exists(), "listing removes nothing"
    assert leftovers(joblist, local, "--yes") == [(*found, True)]
    assert not left.exists()
    assert contents(out) == kept
    assert leftovers(joblist, local, "--yes") == []


def test_relative_names_of_a_job_are_below_its_destination(tmp_path: Path, local: Place) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    jobfile = joblist / "item000.txt"
    text = jobfile.read_text().replace("---\n", "file: 0.bin -> sub/0\nfile: 1.bin -> 1\n---\n")
    jobfile.write_text(text)
    owner = JobList.open(str(joblist)).owner_of("item000")
    folders = [Path(local.url, "item000"), Path(local.url, "item000", "sub")]
    for folder in folders:
        write(folder / Temporaries(owner).new())
    done = run_ok("jobtool", "clean", joblist, "--yes")
    assert words(done)[-1] == "Removed 2 leftover(s)."
    assert temporaries(Path(local.url)) == set()


def test_a_joblist_without_leftovers_has_none(joblist: Path, place: Place) -> None:
    before = place.contents()
    assert words(run_ok("jobtool", "clean", joblist, env=place.env)) == ["Found 0 leftover(s)."]
    run_ok("jobtool", "clean", joblist, "--yes", env=place.env)
    assert place.contents() == before


def test_one_job_that_can_not_be_looked_at_is_told_and_the_others_are_cleaned(
    tmp_path: Path, local: Place, s3: Place
) -> None:
    joblist = make_joblist(tmp_path, local, count=4)
    missing = "s3://there-is-no-such-bucket"
    for number in 0, 1:
        jobfile = joblist / f"item00{number}.txt"
        jobfile.write_text(jobfile.read_text().replace(f"{local.url}/", f"{missing}/"))
    folder = JobList.open(str(joblist))
    journal = folder.journal_of("item000")
    url = f"{missing}/item000/0.bin"
    journal.append(
        UploadRecord(src_path="/x", dst_path=url, size=1, mtime_ns=1, part_size=1, token="x")
    )
    journal.close()
    write(joblist / "item002.txt", b"error\nno such header\n")
    left = Path(local.url) / "item003"
    left /= Temporaries(folder.owner_of("item003")).new()
    write(left)
    done = run("jobtool", "clean", joblist, "--yes", "--json", env=s3.env)
    assert (done.exit_code, done.stderr) == (4, "")
    told = [json.loads(line) for line in done.lines]
    assert [(event["event"], event["job"]) for event in told] == [
        ("left-alone", "item000"),
        ("left-alone", "item001"),
        ("left-alone", "item002"),
        ("leftover", "item003"),
    ]
    assert [event.get("exit_code") for event in told] == [4, 4, 1, None]
    assert "there-is-no-such-bucket" in told[0]["reason"]
    assert told[1]["reason"] == told[0]["reason"], "the bucket was tried once"
    assert not left.exists()


def test_uploads_that_a_helper_has_begun_are_aborted_before_its_journal_goes(
    tmp_path: Path, s3: Place
) -> None:
    joblist = make_joblist(tmp_path, s3, count=1)
    send(joblist, s3)
    key = f"{s3.raw.prefix}item000/0.bin"
    token = s3.raw.client.create_multipart_upload(Bucket=s3.raw.bucket, Key=key)["UploadId"]
    blocks = Path(JobList.open(str(joblist)).blocks_path_of("item000"))
    blocks.mkdir()
    journal = Journal(str(blocks / "000001.jsonl"))
    url = f"s3://{s3.raw.bucket}/{key}"
    journal.append(
        UploadRecord(src_path="/x", dst_path=url, size=1, mtime_ns=1, part_size=1, token=token)
    )
    journal.close()
    done = run_ok("jobtool", "clean", joblist, "--yes", env=s3.env)
    assert words(done) == [
        f"Removed an unfinished upload of item000: {url}",
        f"Removed shared batches of item000: {blocks}",
        "Removed 2 leftover(s).",
    ]
    assert uploads(s3) == set()


def test_jobs_directly_below_a_bucket_can_be_cleaned(tmp_path: Path, rclone_s3) -> None:
    write(tmp_path / "in" / "item" / "file")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-l", "tree")
    prepare("generate-joblist", *paths, "-d", f"s3://{rclone_s3.new_bucket()}")
    env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": rclone_s3.endpoint_url}
    done = run_ok("jobtool", "clean", tmp_path / "list", "--yes", env=env)
    assert done.lines[-1].endswith("Removed 0 leftover(s).")


class Stubborn(StoreRegistry):
    """Opens stores in which one file can't be deleted."""

    def __init__(self, method: str, path: str | None) -> None:
        super().__init__()
        self._fault = Fault(method=method, error=RefusedError("403"), path=path, times=1)

    def open(self, *arguments: Any, **named: Any) -> Store:
        return FaultyStore(super().open(*arguments, **named), [self._fault])


@pytest.mark.parametrize("method", ["delete", "abort"])
def test_what_can_not_be_removed_is_told_and_the_rest_is_removed(
    tmp_path: Path, local: Place, method: str
) -> None:
    joblist = JobList.open(str(make_joblist(tmp_path, local, count=1)))
    send(Path(joblist.path), local)
    if method == "abort":
        pairs = f"file: {tmp_path}/in/item000/0.bin -> item000/0.bin\n---"
        jobfile = Path(joblist.path, "item000.txt")
        text = re.sub(r"(?m)^source: .*\n|/item000$", "", jobfile.read_text(), count=2)
        jobfile.write_text(text.replace("---", pairs, 1))
    owner = joblist.owner_of("item000")
    left = [write(Path(local.url, "item000", Temporaries(owner).new())) for _ in range(3)]
    told = list(clean(joblist, Stubborn(method, None), remove=True))
    assert sorted(event.kind for event in told) == ["left-alone", "leftover", "leftover"]
    assert [event.reason for event in told if isinstance(event, LeftAlone)] == ["403"]
    removed = {event.path for event in told if isinstance(event, Leftover)}
    assert removed == {str(path) for path in left if not path.exists()}
    assert len(removed) == 2
