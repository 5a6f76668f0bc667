"""Textfiles as the collector finds them: whole at every moment, true at the end, few."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.api.transfer import transfer_jobs
from jobtool.errors import UsageError
from jobtool.events import Event
from jobtool.metrics.counts import Counts, Drained, Place
from jobtool.metrics.events import MetricsLost
from jobtool.metrics.exposition import Family, text_of
from jobtool.metrics.slot import KEEP_SECONDS, lock_of, take_slot
from jobtool.metrics.textfile import MOST_SERIES, OTHERS, Textfile
from jobtool.names import quote
from tests.commands import BIN, finish, run, run_ok, start, start_ranks, wait_for
from tests.metrics.places import (
    Sample,
    make_joblist,
    samples_of,
    textfiles,
    totals,
    write_metrics,
)
from tests.prepare import prepare
from tests.trees import events, receipts, statuses


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The collector's folder."""
    made = tmp_path / "collector"
    made.mkdir()
    return made


def value_of(samples: dict[Sample, float], name: str, **labels: str) -> float:
    """The value of the only sample with a name and these labels among others."""
    (found,) = [
        value
        for (each, pairs), value in samples.items()
        if each == name and labels.items() <= dict(pairs).items()
    ]
    return found


def test_the_totals_are_those_of_the_receipts(tmp_path: Path, folder: Path) -> None:
    joblist = make_joblist(tmp_path, 4, metrics=f'textfile = "{folder}"')
    run_ok("transfer-worker", "-i", joblist)
    proven = receipts(joblist)
    found = totals(folder)
    assert found["jobtool_step_bytes_total"] == sum(receipt.size for receipt in proven) > 0
    assert found["jobtool_step_sent_bytes_total"] == found["jobtool_step_bytes_total"]
    assert found["jobtool_step_files_total"] == len(proven) == 8
    assert found["jobtool_step_attempts_total"] == found["jobtool_job_attempts_total"] == 4
    assert found["jobtool_step_running"] == 0
    (samples,) = textfiles(folder).values()
    assert value_of(samples, "jobtool_job_attempts_total", state="success", joblist="list") == 4
    assert value_of(samples, "jobtool_job_attempts_total", state="error") == 0
    assert value_of(samples, "jobtool_step_files_total", step="copy") == 8
    assert value_of(samples, "jobtool_worker_running") == 0
    assert all("job_name" not in dict(labels) and "route" not in dict(labels)
               for _, labels in samples)  # fmt: skip


@pytest.mark.parametrize("is_killed", [False, True])
def test_ranks_of_one_host_have_files_of_their_own_that_are_whole_at_every_moment(
    tmp_path: Path, folder: Path, is_killed: bool
) -> None:
    joblist = make_joblist(tmp_path, 16, size=250_000, metrics="interval_seconds = 1")
    worker = (BIN / "transfer-worker", "-i", joblist, "--metrics-textfile", folder)
    ranks = start_ranks((*worker, "--bandwidth", "1MB/s"), (*worker, "--bandwidth", "1MB/s"))
    last: dict[str, dict[Sample, float]] = {}
    versions = 0
    victim: int | None = None

    def is_over() -> bool:
        nonlocal versions, victim
        for name, samples in textfiles(folder).items():
            before = last.get(name, {})
            versions += samples != before
            for key, value in before.items():
                if key[0].endswith("_total"):
                    assert samples[key] >= value, key
            last[name] = samples
        if is_killed and victim is None and len(last) == 2:
            victim = pid_of_rank_1(joblist)
            if victim is not None:
                os.kill(victim, signal.SIGKILL)
        return ranks.poll() is not None

    wait_for(is_over)
    assert finish(ranks).exit_code == 0
    assert (victim is not None) == is_killed
    assert len(textfiles(folder)) == 2
    assert versions > 4
    assert totals(folder)["jobtool_worker_running"] == is_killed
    assert set(statuses(joblist).values()) == {"success"}
    if not is_killed:
        assert totals(folder)["jobtool_step_bytes_total"] == 16 * 250_000
        assert totals(folder)["jobtool_step_attempts_total"] == 16


def pid_of_rank_1(joblist: Path) -> int | None:
    """The process of rank 1, once it has claimed a job."""
    lines = [line for path in joblist.glob("*.txt") for line in events(path, "claimed")]
    found = [line.split(" worker=")[1].split(" ")[0] for line in lines if " rank=1 " in line]
    return int(found[0].rpartition(":")[2]) if found else None


def test_workers_that_are_killed_leave_whole_files_and_their_places(
    tmp_path: Path, folder: Path
) -> None:
    metrics = f'textfile = "{folder}"\ninterval_seconds = 1'
    joblist = make_joblist(tmp_path, 1, size=3_000_000, metrics=metrics)
    for _ in range(3):
        worker = start("transfer-worker", "-i", joblist, "--bandwidth", "100KB/s")
        before = {path: path.stat().st_ino for path in folder.glob("*.prom")}

        def has_written(before: dict[Path, int] = before) -> bool:
            return any(path.stat().st_ino != before.get(path) for path in folder.glob("*.prom"))

        wait_for(has_written)
        worker.send_signal(signal.SIGKILL)
        finish(worker)
        (samples,) = textfiles(folder).values()  # one place, taken over from the killed one
        assert value_of(samples, "jobtool_worker_running") == 1
    run_ok("transfer-worker", "-i", joblist)
    (samples,) = textfiles(folder).values()
    assert value_of(samples, "jobtool_worker_running") == 0
    assert not [*folder.glob("*.tmp"), *folder.glob(".*.tmp")]


def test_the_option_wins_and_a_folder_that_vanishes_fails_nothing(
    tmp_path: Path, folder: Path
) -> None:
    joblist = make_joblist(tmp_path, 2, metrics=f'textfile = "{tmp_path / "other"}"')
    run("transfer-worker", "-i", joblist, "--max-jobs", 1, "--metrics-textfile", folder)
    assert len(textfiles(folder)) == 1
    done = run_ok("transfer-worker", "-i", joblist)
    (line,) = [line for line in done.lines if "of metrics for textfile" in line]
    assert "No such file or directory" in line
    assert line.endswith("The work isn't affected.")
    done = run_ok("transfer-worker", "-i", joblist, "--metrics-textfile", "/dev/full")
    assert "were lost: " in done.stdout
    assert set(statuses(joblist).values()) == {"success"}


def test_a_write_that_fails_keeps_the_last_whole_file(folder: Path) -> None:
    drained = Drained(counts={Place("job", "copy", None, 1): Counts(files=1)}, running=None)
    sink = Textfile(str(folder), host="a", joblist="list", per_job=False)
    sink.send(drained, is_last=False)
    before = textfiles(folder)
    (folder / ".jobtool-a-0.prom.tmp").mkdir()  # no file can be made there
    with pytest.raises(OSError, match="jobtool-a-0"):
        sink.send(drained, is_last=False)
    assert sink.unsent == 1
    assert textfiles(folder) == before
    (folder / ".jobtool-a-0.prom.tmp").rmdir()
    sink.send(Drained(counts={}, running=None), is_last=True)
    assert sink.unsent == 0
    assert totals(folder)["jobtool_step_files_total"] == 2


def test_jobs_are_labels_if_asked_for_whatever_their_names_hold(
    tmp_path: Path, folder: Path
) -> None:
    names = [b"plain", b'quo"te', b"back\\slash", b"new\nline", b"not \xff utf-8", "Zoë€".encode()]
    for name in names:
        item = os.path.join(os.fsencode(tmp_path / "in"), name)
        os.makedirs(item)
        Path(os.fsdecode(item), "data.bin").write_bytes(name)
    joblist = tmp_path / "list"
    places = ("-i", tmp_path / "in", "-o", joblist, "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *places, "-v", 0)
    write_metrics(joblist, f'textfile = "{folder}"\nper_job = true')
    done = run("transfer-worker", "-i", joblist)
    assert done.exit_code == 0, done
    (samples,) = textfiles(folder).values()
    for name in names:
        label = quote(os.fsdecode(name))
        found = value_of(samples, "jobtool_step_bytes_total", job_name=label)
        assert found == len(name)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(0, 1e18))
def test_any_text_survives_as_a_label(text: str, value: float) -> None:
    family = Family(name="a", help="Of a.", type="gauge", samples={(("b", text),): value})
    assert samples_of(text_of([family])) == {("a", (("b", text),)): value}


def test_series_are_bounded(folder: Path) -> None:
    counts = {
        Place(f"job{number}", "copy", None, 1): Counts(files=1) for number in range(MOST_SERIES + 9)
    }
    sink = Textfile(str(folder), host="a", joblist="list", per_job=True)
    sink.send(Drained(counts=counts, running=None), is_last=False)
    sink.send(Drained(counts=counts, running=None), is_last=True)
    sink.close()
    (samples,) = textfiles(folder).values()
    files = [key for key in samples if key[0] == "jobtool_step_files_total"]
    assert len(files) == MOST_SERIES + 1
    assert value_of(samples, "jobtool_step_files_total", job_name=OTHERS) == 2 * 9
    assert totals(folder)["jobtool_step_files_total"] == 2 * (MOST_SERIES + 9)


def test_slots_are_reused_and_old_files_of_ended_workers_removed(folder: Path) -> None:
    slots = [take_slot(str(folder), "a") for _ in range(4)]
    assert [slot.number for slot in slots] == [0, 1, 2, 3]
    for slot in slots:
        Path(slot.path).write_text("x 1\n")
    slots[1].release()
    slots[2].release()
    slots[3].release()
    old = Path(slots[3].path).stat().st_mtime - KEEP_SECONDS - 1
    os.utime(slots[3].path, (old, old))
    os.utime(slots[0].path, (old, old))  # of a worker that hangs: it holds its slot
    again = take_slot(str(folder), "a")
    assert again.number == 1
    assert sorted(path.name for path in folder.glob("*.prom")) == [
        f"jobtool-a-{number}.prom" for number in (0, 1, 2)
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_in_a_folder_of_all_users_slots_of_others_are_left_to_them(folder: Path) -> None:
    folder.chmod(0o1777)
    slots = [take_slot(str(folder), "a") for _ in range(2)]
    for slot in slots:
        slot.release()
    Path(slots[0].path).write_text("x 1\n")
    os.chown(slots[0].path, 12345, 12345)
    os.chown(lock_of(slots[0].path), 12345, 12345)
    os.chown(lock_of(slots[1].path), 12345, 12345)  # its file is gone: anybody may have it
    assert take_slot(str(folder), "a").number == 1


def test_what_is_no_lock_file_stops_nothing(folder: Path) -> None:
    path = Path(lock_of(str(folder / "jobtool-a-0.prom")))
    os.mkfifo(path)
    take_slot(str(folder), "a").release()
    path.unlink()
    path.symlink_to(folder / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        take_slot(str(folder), "a")
    assert not (folder / "elsewhere").exists()


def test_a_full_disk_fails_nothing_and_tears_nothing(tmp_path: Path, folder: Path) -> None:
    if os.system(f"mount -t tmpfs -o size=4k,nr_inodes=9 tmpfs {folder} 2> {os.devnull}"):
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        (folder / "other").write_bytes(bytes(4096))
        joblist = make_joblist(tmp_path, 1, metrics=f'textfile = "{folder}"')
        done = run_ok("transfer-worker", "-i", joblist)
        assert "No space left on device" in done.stdout
        assert set(statuses(joblist).values()) == {"success"}
        assert textfiles(folder) == {}
    finally:
        os.system(f"umount {folder}")


def test_the_function_writes_them_too(tmp_path: Path, folder: Path) -> None:
    joblist = make_joblist(tmp_path, 2)
    seen: list[Event] = []
    transfer_jobs(joblist, metrics_textfile=folder, on_event=seen.append)
    assert totals(folder)["jobtool_step_files_total"] == 4
    transfer_jobs(joblist, metrics_textfile=folder / "gone", on_event=seen.append)
    assert isinstance(seen[-1], MetricsLost)
    with pytest.raises(UsageError, match="found a URL"):
        transfer_jobs(joblist, metrics_textfile="s3://bucket/x")


def test_the_collector_may_read_it_whatever_the_mask(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        sink = Textfile(str(folder), host="a/../b", joblist="list", per_job=False)
        sink.send(Drained(counts={}, running=None), is_last=True)
        sink.close()
    finally:
        os.umask(before)
    (path,) = folder.glob("*.prom")
    assert path.stat().st_mode & 0o777 == 0o644
