"""`jobtool verify --repair`: the next worker sends files with findings again, and only those."""

from __future__ import annotations

from pathlib import Path

from jobtool.audit.events import LeftAlone, PutBack
from jobtool.audit.repair import Repair
from jobtool.jobs.claim import Claims
from jobtool.jobs.joblist import JobList
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt
from jobtool.jobs.table import read_table
from tests.audit.conftest import Place, make_joblist, send, transfer, verify
from tests.commands import run, run_ok, run_without_superpowers
from tests.prepare import prepare
from tests.trees import contents, events, receipts, status_of, statuses, write


def by_destination(joblist: Path) -> dict[str, Receipt]:
    found = receipts(joblist)
    assert len({receipt.dst_path for receipt in found}) == len(found)
    return {receipt.dst_path: receipt for receipt in found}


def test_one_flipped_byte_is_found_and_only_its_file_is_sent_again(
    tmp_path: Path, joblist: Path, place: Place
) -> None:
    before = by_destination(joblist)
    place.flip_a_bit("item001/1.bin")
    spoilt = f"{place.url}/item001/1.bin"

    code, told = verify(joblist, place, "--deep", "--repair")
    assert code == 1
    assert told[0] == ("changed", spoilt)
    assert told[1] == {"event": "put-back", "job": "item001", "was": "success"}
    assert statuses(joblist) == {"item000": "success", "item001": "todo", "item002": "success"}
    assert len(events(joblist / "item001.txt", "repair")) == 1
    assert verify(joblist, place, "--deep")[0] == 3, "found once, it is a job to do"

    assert transfer(joblist, place) == [spoilt]
    after = by_destination(joblist)
    assert after[spoilt].attempt == 2
    assert {path: after[path] for path in after if path != spoilt} == {
        path: before[path] for path in before if path != spoilt
    }, "the others' receipts are those of old"
    assert place.contents() == contents(tmp_path / "in")
    assert verify(joblist, place, "--deep")[0] == 0


def test_whatever_is_missing_or_changed_comes_back_and_what_is_extra_stays(
    tmp_path: Path, joblist: Path, place: Place
) -> None:
    place.delete("item000/0.bin")
    place.delete("item002/1.bin")
    place.raw.write("item002/2.bin", b"of another size")
    place.raw.write("item001/extra", b"nobody sent this")
    assert verify(joblist, place, "--repair")[0] == 1
    assert statuses(joblist) == {"item000": "todo", "item001": "success", "item002": "todo"}
    names = ("item000/0.bin", "item002/1.bin", "item002/2.bin")
    assert sorted(transfer(joblist, place)) == [f"{place.url}/{name}" for name in names]
    assert place.contents() == {**contents(tmp_path / "in"), "item001/extra": b"nobody sent this"}
    code, told = verify(joblist, place, "--deep", "--repair")
    assert (code, told[0]) == (1, ("extra", f"{place.url}/item001/extra"))
    assert set(statuses(joblist).values()) == {"success"}, "there is nothing to send"


def test_only_the_named_job_is_repaired(joblist: Path, place: Place) -> None:
    place.delete("item000/0.bin")
    place.delete("item001/0.bin")
    verify(joblist, place, "--repair", "--job", "item001")
    assert statuses(joblist) == {"item000": "success", "item001": "todo", "item002": "success"}
    assert transfer(joblist, place) == [f"{place.url}/item001/0.bin"]


def test_named_files_are_repaired_one_by_one(tmp_path: Path, place: Place) -> None:
    for name in "abc":
        write(tmp_path / "in" / name, name.encode())
    rows = "".join(f"in/{name},{name}\n" for name in "abc")
    write(tmp_path / "files.csv", f"src_path,dst_path\n{rows}".encode())
    paths = ("-i", tmp_path / "files.csv", "-o", tmp_path / "list", "-d", place.url)
    prepare("generate-joblist", *paths)
    send(tmp_path / "list", place)
    place.flip_a_bit("b")
    place.delete("c")
    assert verify(tmp_path / "list", place, "--deep", "--repair")[0] == 1
    sent = transfer(tmp_path / "list", place)
    assert sorted(sent) == [f"{place.url}/b", f"{place.url}/c"]
    assert place.contents() == contents(tmp_path / "in")


def test_what_has_left_the_source_meanwhile_can_not_come_back(tmp_path: Path, local: Place) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    send(joblist, local)
    local.delete("item000/0.bin")
    (tmp_path / "in" / "item000" / "0.bin").unlink()
    verify(joblist, local, "--repair")
    done = run("transfer-worker", "-i", joblist)
    assert done.exit_code == 1, done
    assert "item000/0.bin" in done.stdout
    assert "is gone" in done.stdout
    run_ok("jobtool", "retry", joblist)
    assert transfer(joblist, local, "--if-gone", "ignore") == []
    assert verify(joblist, local)[0] == 0, "it was told that what is gone is no longer missing"


def test_a_job_that_somebody_holds_is_left_alone(tmp_path: Path, local: Place) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    send(joblist, local)
    before = receipts(joblist)
    local.delete("item000/0.bin")
    claim = Claims.of(JobList.open(str(joblist))).acquire("item000")
    assert claim is not None
    with claim:
        done = run("jobtool", "verify", joblist, "--repair")
    assert done.exit_code == 1
    assert "❗ item000: left as it is: a worker is on it" in done.lines
    assert status_of(joblist / "item000.txt") == "success"
    assert receipts(joblist) == before


def test_the_receipts_of_a_journal_and_of_blocks_are_dropped_as_well(
    tmp_path: Path, local: Place
) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    send(joblist, local)
    folder = JobList.open(str(joblist))
    blocks = Path(folder.blocks_path_of("item000"))
    blocks.mkdir()
    for journal in folder.journal_of("item000"), Journal(str(blocks / "000001.jsonl")):
        for receipt in read_table(folder.table_path_of("item000")):
            journal.append(receipt)
        journal.close()
    local.flip_a_bit("item000/1.bin")
    verify(joblist, local, "--deep", "--repair")
    assert transfer(joblist, local) == [f"{local.url}/item000/1.bin"]
    assert local.contents() == contents(tmp_path / "in")


def test_a_file_that_can_not_be_read_keeps_its_receipt(tmp_path: Path, local: Place) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    send(joblist, local)
    before = receipts(joblist)
    Path(local.url, "item000", "0.bin").chmod(0)
    done = run_without_superpowers("jobtool", "verify", joblist, "--deep", "--repair")
    assert (done.exit_code, done.stderr) == (1, "")
    assert status_of(joblist / "item000.txt") == "success"
    assert receipts(joblist) == before


def test_a_job_that_a_worker_has_done_again_meanwhile_is_left_alone(
    tmp_path: Path, local: Place
) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    send(joblist, local)
    folder = JobList.open(str(joblist))
    job, _ = folder.load("item000")
    mending = Repair(folder)
    assert isinstance(mending.job("item000", job, {f"{local.url}/item000/0.bin"}), PutBack)
    send(joblist, local)
    before = receipts(joblist)
    told = mending.job("item000", job, {f"{local.url}/item000/1.bin"})
    assert isinstance(told, LeftAlone)
    assert receipts(joblist) == before
    assert status_of(joblist / "item000.txt") == "success"
