"""A dry run tells what a worker would do, what wouldn't arrive, and writes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import jobtool
import jobtool.worker.preview as preview_module
from jobtool.jobs.journal import Journal
from jobtool.report.pastrate import PastRate, past_rate
from jobtool.stop import Stop
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Entry
from jobtool.transfer.foresight import Foreseer
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.policies import Policies
from tests.commands import (
    BIN,
    assert_one_line_error,
    environment,
    finish,
    run,
    run_ok,
    run_without_superpowers,
    start,
)
from tests.faults.proxy import Fault, Request, proxy_before
from tests.needs import need
from tests.prepare import prepare
from tests.trees import contents, make_items, snapshot, statuses, write

MEBIBYTE = 1024 * 1024


def make_list(tmp_path: Path, source: object, destination: object, *more: str, env=None) -> Path:
    paths = ("-i", source, "-o", tmp_path / "list", "-d", destination, "-l", "tree")
    prepare("generate-joblist", *paths, *more, env=env)
    return tmp_path / "list"


def preview(joblist: Path, *options: object, exit_code: int = 0, env=None) -> dict[str, Any]:
    """What a dry run tells, as one object."""
    done = run("transfer-worker", joblist, "--dry-run", "--json", "-v", 0, *options, env=env)
    assert (done.exit_code, done.stderr) == (exit_code, ""), done
    (line,) = done.lines
    told: dict[str, Any] = json.loads(line)
    assert told["exit_code"] == exit_code
    return told


def problems(told: dict[str, Any]) -> dict[str, int]:
    return {problem["kind"]: problem["count"] for problem in told["problems"]}


def counts(told: dict[str, Any], *names: str) -> list[tuple[int, int]]:
    return [(told[f"{name}_files"], told[f"{name}_bytes"]) for name in names]


def test_files_sizes_and_room_are_told_and_nothing_is_touched(tmp_path: Path) -> None:
    items = make_items(tmp_path / "in", 3)
    write(items / "item001" / "deep" / "big.bin", b"x" * 3 * MEBIBYTE)
    joblist = make_list(tmp_path, items, tmp_path / "out")
    before = snapshot(tmp_path)
    told = preview(joblist)
    assert snapshot(tmp_path) == before
    files = [path for path in items.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    assert (told["jobs"], told["sized_jobs"]) == (3, 3)
    assert (told["files"], told["bytes"]) == (7, size)
    assert counts(told, "proven", "compare", "send", "small") == [
        (0, 0),
        (0, 0),
        (7, size),
        (6, size - 3 * MEBIBYTE),
    ]
    assert told["largest"] == str(items / "item001" / "deep" / "big.bin")
    (room,) = told["rooms"]
    assert (room["needed_files"], room["needed_bytes"], room["suffices"]) == (7, size, True)
    assert 0 < room["free_bytes"] <= shutil.disk_usage(tmp_path).total
    assert told["requests"]["destination"] == {"lists": 0, "reads": 0, "writes": 0}
    assert (told["problems"], told["estimate"], told["without_room"]) == ([], None, [])


def test_the_system_calls_of_a_dry_run_write_nothing(tmp_path: Path) -> None:
    need("strace", packages="strace")
    joblist = make_list(tmp_path, make_items(tmp_path / "in", 2), tmp_path / "out")
    trace = tmp_path / "trace"
    changing = "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,"
    changing += "linkat,symlink,symlinkat,truncate,ftruncate,chmod,fchmodat,utimensat"
    strace = ["strace", "-ff", "-y", "-o", trace, "-e", f"trace={changing}"]
    command = [*strace, BIN / "transfer-worker", joblist, "--dry-run"]
    done = subprocess.run([*map(str, command)], env=environment(), capture_output=True)
    assert done.returncode == 0, done.stderr
    traces = "".join(path.read_text() for path in tmp_path.glob("trace.*"))  # one of each thread
    calls = [line for line in traces.splitlines() if str(tmp_path) in line]
    assert any(str(tmp_path / "in" / "item000") in line for line in calls)
    read_only = re.compile(r"\bopen(at)?\(.*\bO_(RDONLY|PATH)\b")
    assert [line for line in calls if not read_only.search(line) or "O_CREAT" in line] == []


def test_only_the_rest_of_a_job_counts(tmp_path: Path) -> None:
    items = make_items(tmp_path / "in", 1, files=3)
    (items / "item000" / "dangling").symlink_to("nowhere")
    joblist = make_list(tmp_path, items, tmp_path / "out")
    assert run("transfer-worker", joblist).exit_code == 1
    run_ok("jobtool", "retry", joblist)
    write(items / "item000" / "new.bin", b"12345")
    told = preview(joblist, exit_code=1)
    size = sum(path.stat().st_size for path in items.rglob("*.bin"))
    assert counts(told, "proven", "send") == [(3, size - 5), (1, 5)]
    assert told["rooms"][0]["needed_bytes"] == 5
    (tmp_path / "out" / "item000" / "1.bin").unlink()  # a receipt without its file proves nothing
    assert counts(preview(joblist, exit_code=1), "proven")[0][0] == 2
    assert problems(told) == {"link": 1}


def test_what_is_there_already_is_compared_or_refused(tmp_path: Path) -> None:
    items = make_items(tmp_path / "in", 1, files=3)
    same, other, _ = sorted((items / "item000").iterdir())
    write(tmp_path / "out" / "item000" / same.name, b"x" * same.stat().st_size)
    write(tmp_path / "out" / "item000" / other.name, b"other")
    joblist = make_list(tmp_path, items, tmp_path / "out")
    told = preview(joblist)
    assert (told["compare_files"], told["send_files"]) == (1, 2)
    told = preview(joblist, "--if-exists", "error", exit_code=1)
    assert (told["compare_files"], told["send_files"]) == (0, 1)
    assert problems(told) == {"in-the-way": 2}
    told = preview(joblist, "--if-exists", "overwrite")
    assert (told["compare_files"], told["send_files"]) == (0, 3)


def test_links_specials_and_what_filters_leave_out_are_told(tmp_path: Path) -> None:
    item = make_items(tmp_path / "in", 1) / "item000"
    (item / "out").symlink_to("/etc/passwd")
    (item / "dangling").symlink_to("no\nwhere")
    (item / "loop").symlink_to(".")
    (item / "inside").symlink_to("0.bin")
    os.mkfifo(item / "pipe")
    write(item / "a.tmp")
    joblist = make_list(tmp_path, tmp_path / "in", tmp_path / "out", "--exclude", "*.tmp")
    told = preview(joblist, exit_code=1)
    assert problems(told) == {"link": 3, "left-out": 1}
    assert (told["files"], told["excluded"]) == (3, 1)
    texts = "\n".join(told["problems"][0]["examples"])
    assert "outside" in texts
    assert preview(joblist, "--links", "skip")["files"] == 2
    kept = preview(joblist, "--links", "keep")
    assert (kept["files"], problems(kept)) == (2, {"left-out": 1})


def test_files_and_folders_that_cant_be_read_are_told(tmp_path: Path) -> None:
    item = make_items(tmp_path / "in", 1) / "item000"
    (item / "0.bin").chmod(0)
    write(item / "closed" / "file").parent.chmod(0)
    joblist = make_list(tmp_path, tmp_path / "in", tmp_path / "out")
    arguments = (joblist, "--dry-run", "--json", "-v", 0)
    done = run_without_superpowers("transfer-worker", *arguments)
    (item / "closed").chmod(0o755)
    told = json.loads(done.stdout)
    assert (done.exit_code, problems(told)) == (1, {"unreadable": 1, "unlisted": 1})
    assert told["send_files"] == 1


def test_too_little_room_is_an_environment_problem(tmp_path: Path) -> None:
    item = tmp_path / "in" / "item"
    item.mkdir(parents=True)
    for number in range(1, 65):  # sparse: they take no room here
        with (item / f"{number}").open("wb") as file:
            file.truncate(2**43)
        free = shutil.disk_usage(tmp_path).free
        if number * 2**43 > free:
            break
    joblist = make_list(tmp_path, tmp_path / "in", tmp_path / "out")
    told = preview(joblist, exit_code=4)
    assert not told["rooms"][0]["suffices"]
    assert "NOT ENOUGH" in run("transfer-worker", joblist, "--dry-run").stdout


def test_names_that_s3_cant_hold_are_told_with_the_stores_own_words(
    tmp_path: Path, rclone_s3
) -> None:
    item = make_items(tmp_path / "in", 1) / "item000"
    write(item.joinpath(*["n" * 200] * 6))
    write(item / "not UTF-8 \udcff")
    write(item / "Case")
    write(item / "case")
    bucket, env = rclone_s3.new_bucket(), rclone_s3.environment
    joblist = make_list(tmp_path, tmp_path / "in", f"s3://{bucket}/p", env=env)
    told = preview(joblist, exit_code=1, env=env)
    assert problems(told) == {"name": 2, "case": 1}
    assert [problem["is_error"] for problem in told["problems"]] == [True, False]
    assert told["send_files"] == 4
    assert told["without_room"] == [f"s3://{bucket}/p"]
    worker = run("transfer-worker", joblist, env=env)
    for example in told["problems"][0]["examples"]:
        assert example.split(": ", 1)[1] in worker.stdout + (joblist / "item000.txt").read_text()
    assert set(told["rooms"]) == set()


def test_keys_that_no_folder_can_hold_are_told(tmp_path: Path, moto_s3) -> None:
    bucket, env = moto_s3.new_bucket(), moto_s3.environment
    for key in ("item/a", "item/a/b", "item/../up", "item/x//y", "item/" + "n" * 300, "item/a-b"):
        moto_s3.client.put_object(Bucket=bucket, Key=key, Body=b"data")
    joblist = make_list(tmp_path, f"s3://{bucket}", tmp_path / "out", env=env)
    told = preview(joblist, exit_code=1, env=env)
    assert problems(told) == {"name": 1, "unlisted": 2, "clash": 1}
    assert told["send_files"] == 3


@pytest.mark.parametrize("source", ["local", "s3"])
def test_the_requests_told_are_those_that_the_transfer_makes(
    tmp_path: Path, moto_s3, source: str
) -> None:
    items = make_items(tmp_path / "in", 2, files=5)
    write(items / "item000" / "parts.bin", b"p" * (16 * MEBIBYTE + 1))
    write(items / "item001" / "empty")
    bucket, env = moto_s3.new_bucket(), moto_s3.environment
    where: object = items
    if source == "s3":
        where = f"s3://{moto_s3.new_bucket()}"
        for path, data in contents(items).items():
            moto_s3.client.put_object(Bucket=str(where)[5:], Key=path, Body=data)
    destination = f"{bucket}/out"
    seen: Counter[tuple[str, str]] = Counter()

    def note(request: Request) -> bool:
        side = "destination" if request.path.startswith(f"/{bucket}") else "source"
        is_list = request.method == "GET" and "list-type" in request.query
        what = "lists" if is_list else "writes"
        if not is_list and request.method in ("GET", "HEAD"):
            what = "reads"
        seen[side, what] += 1
        return False

    with proxy_before(moto_s3.endpoint_url, Fault(note, lambda *_: None)) as proxy:  # type: ignore[arg-type]
        env = {**env, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        joblist = make_list(tmp_path, where, f"s3://{destination}", env=env)
        options = ("--methods", "stream", "--no-share")
        told = preview(joblist, *options, env=env)["requests"]
        assert not any(what == "writes" for _, what in seen)
        proxy.wait_until_idle()
        seen.clear()
        run_ok("transfer-worker", joblist, *options, env=env)
    expected = {(side, what): n for side, kinds in told.items() for what, n in kinds.items() if n}
    assert dict(seen) == expected


def test_a_file_in_parts_counts_what_has_arrived(tmp_path: Path, moto_s3) -> None:
    write(tmp_path / "in" / "item" / "big.bin", os.urandom(24 * MEBIBYTE))
    bucket = moto_s3.new_bucket()

    def third(request: Request) -> bool:
        return request.is_part and request.query["partNumber"] == ["3"]

    joblist = make_list(tmp_path, tmp_path / "in", f"s3://{bucket}", env=moto_s3.environment)
    with proxy_before(moto_s3.endpoint_url) as proxy:
        proxy.faults.append(Fault(third, proxy.stall))
        env = {**moto_s3.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        worker = start("transfer-worker", joblist, "--threads", 1, env=env)
        journal = joblist / "journals" / "item.jsonl"
        while not (journal.exists() and journal.read_text().count('"part"') >= 2):
            assert worker.poll() is None
        worker.kill()
        finish(worker)
    told = preview(joblist, env=moto_s3.environment)
    assert (told["send_bytes"], told["kept_bytes"]) == (24 * MEBIBYTE, 16 * MEBIBYTE)
    given = preview(joblist, "--rate", "8MiB/s", env=moto_s3.environment)["estimate"]
    assert (given["basis"], given["least_seconds"]) == ("given", 1.0)


def test_time_is_told_by_a_rate_or_by_earlier_jobs_and_held_by_limits(tmp_path: Path) -> None:
    joblist = make_list(tmp_path, make_items(tmp_path / "in", 3), tmp_path / "out")
    text = run_ok("transfer-worker", joblist, "--dry-run").stdout
    assert "Time: not known: no job of this joblist has been done yet" in text
    header = (joblist / "item000.txt").read_text().replace("todo", "success", 1)
    stamps = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z")
    log = f"{stamps[0]} claimed attempt=1 worker=a:1\n{stamps[1]} success files=20 bytes=10\n"
    write(joblist / "item000.txt", (header + "\n" + log).encode())
    estimate = preview(joblist)["estimate"]
    size = sum(path.stat().st_size for path in (tmp_path / "in").rglob("item00[12]/*"))
    assert estimate["basis"] == "measured"
    assert (estimate["bytes_per_second"], estimate["jobs"]) == (1.0, 1)
    assert (estimate["least_seconds"], estimate["most_seconds"]) == (2.0, float(size))
    held = preview(joblist, "--rate", "1GB/s", "--bandwidth", "1kB/s")["estimate"]
    assert (held["held_by"], held["least_seconds"]) == ("bandwidth", size / 1000)


def test_attempts_at_one_time_count_once(tmp_path: Path) -> None:
    joblist = make_list(tmp_path, make_items(tmp_path / "in", 2), tmp_path / "out")
    for name, start_at, end in (("item000", "00", "10"), ("item001", "05", "20")):
        header = (joblist / f"{name}.txt").read_text().replace("todo", "success", 1)
        log = f"2026-01-01T00:00:{start_at}Z claimed attempt=1 worker=a:1\n"
        log += f"2026-01-01T00:00:{end}Z success files=4 bytes=300\n"
        write(joblist / f"{name}.txt", (header + "\n" + log).encode())
    found = past_rate(jobtool.JobList.open(str(joblist)))
    assert found == PastRate(jobs=2, files=8, bytes=600, seconds=20.0)


def test_a_rate_that_cant_be_read_or_used_is_one_clear_line(tmp_path: Path) -> None:
    joblist = make_list(tmp_path, make_items(tmp_path / "in", 1), tmp_path / "out")
    for rate in ("fast", "unlimited", "08:00-09:00 1MB/s"):
        done = run("transfer-worker", joblist, "--dry-run", "--rate", rate)
        assert_one_line_error(done, 2, "--rate", "expected")
    assert_one_line_error(run("transfer-worker", joblist, "--rate", "1MB/s"), 2, "--dry-run")
    with pytest.raises(jobtool.UsageError, match="rate_bytes_per_second: expected a number"):
        jobtool.plan_transfer(joblist, rate_bytes_per_second=0)


def test_a_server_that_isnt_there_is_told_once_and_all_jobs_are_named(tmp_path: Path) -> None:
    env = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "x"}
    with proxy_before("http://127.0.0.1:1", listening=False) as proxy:
        env["AWS_ENDPOINT_URL"] = proxy.endpoint_url
        joblist = make_list(tmp_path, make_items(tmp_path / "in", 3), "s3://bucket", env=env)
        toml = joblist / "joblist.toml"
        toml.write_text(toml.read_text() + "\n[transfer]\npatience_seconds = 0\n")
        done = run("transfer-worker", joblist, "--dry-run", env=env)
    assert (done.exit_code, done.stderr) == (4, "")
    assert done.stdout.count("Would transfer ") == 3
    assert done.stdout.count("Not looked at further: ") == 1


def test_a_job_without_its_source_is_told_and_the_others_are_looked_at(tmp_path: Path) -> None:
    joblist = make_list(tmp_path, make_items(tmp_path / "in", 3), tmp_path / "out")
    shutil.rmtree(tmp_path / "in" / "item001")
    told = preview(joblist, exit_code=1)
    assert (told["jobs"], told["sized_jobs"], told["files"]) == (3, 2, 4)
    assert problems(told) == {"job": 1}
    assert preview(joblist, "--max-jobs", 1)["jobs"] == 1


def test_named_files_are_looked_at(tmp_path: Path) -> None:
    data = write(tmp_path / "in" / "data", b"12345")
    table = write(tmp_path / "table.csv", f"src_path,dst_path\n{data},a/b\n{data}2,c\n".encode())
    prepare("generate-joblist", "-i", table, "-o", tmp_path / "list", "-d", tmp_path / "out")
    told = preview(tmp_path / "list", exit_code=1)
    assert (told["send_files"], told["send_bytes"], problems(told)) == (1, 5, {"missing": 1})


def test_ctrl_c_ends_it_cleanly(tmp_path: Path, moto_s3) -> None:
    joblist = make_list(tmp_path, make_items(tmp_path / "in", 3), tmp_path / "out")
    before = snapshot(joblist)
    asked = Stop()
    told = jobtool.plan_transfer(joblist, stop=asked, on_event=lambda event: asked.set("enough"))
    assert (told.stopped, told.exit_code) == ("enough", 3)
    bucket = moto_s3.new_bucket()
    with proxy_before(moto_s3.endpoint_url) as proxy:
        proxy.faults.append(Fault(lambda request: True, proxy.stall, times=100))
        env = {**moto_s3.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        other = tmp_path / "other"
        other.mkdir()
        hanging = make_list(other, tmp_path / "in", f"s3://{bucket}", env=moto_s3.environment)
        worker = start("transfer-worker", hanging, "--dry-run", env=env)
        proxy.wait_for(lambda: proxy.requests > 0)
        worker.send_signal(signal.SIGINT)
        done = finish(worker)
    assert done.exit_code == 3, done
    assert "Stopped early: SIGINT" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert snapshot(joblist) == before
    assert set(statuses(hanging).values()) == {"todo"}


def test_the_function_returns_what_the_command_prints(tmp_path: Path) -> None:
    joblist = make_list(tmp_path, make_items(tmp_path / "in", 2), tmp_path / "out")
    events: list[jobtool.Event] = []
    found = jobtool.plan_transfer(joblist, rate_bytes_per_second=1e6, on_event=events.append)
    told = preview(joblist, "--rate", "1MB/s")
    mine = json.loads(json.dumps(found.json()))
    for values in (mine, told):
        values["rooms"][0].pop("free_bytes")
        values["rooms"][0].pop("free_files")
    assert mine == told
    assert [event.kind for event in events].count("would-transfer") == 2
    each = [event.json() for event in events if event.kind == "would-transfer"]
    assert [(one["files"], one["send_files"]) for one in each] == [(2, 2), (2, 2)]


def test_a_long_look_tells_how_far_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(preview_module, "_TICK_SECONDS", 0.0)
    monkeypatch.setattr(preview_module, "_PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(preview_module, "_FILES_PER_NOTE", 1)
    joblist = make_list(tmp_path, make_items(tmp_path / "in", 2, files=300), tmp_path / "out")
    events: list[Any] = []
    found = jobtool.plan_transfer(joblist, on_event=events.append)
    told = [event for event in events if event.kind == "dry-run-progress"]
    assert told
    assert all(0 <= one.files <= found.files and one.jobs == 2 for one in told)
    assert found.files == 600
    assert "2 jobs" in told[0].text()


@pytest.mark.parametrize(("ignores_case", "is_error"), [(False, False), (True, True)])
def test_names_alike_are_an_error_where_case_is_ignored(
    tmp_path: Path, ignores_case: bool, is_error: bool
) -> None:
    stores = [MemoryStore(Memory(), f"memory://{name}") for name in "ab"]
    plan = Plan()
    plan.start_route(Route(*stores))
    plan.is_tree = True
    for name in ("A/x", "A/y", "a/X", "straße", "STRASSE", "a/x"):
        plan.add(Entry(name, 1, 0))
    found = Foreseer(
        plan,
        Ledger(plan, Journal(str(tmp_path / "journal"))),
        Policies(),
        part_bytes=MEBIBYTE,
        ignores_case=lambda store: ignores_case,
        require_going=lambda: None,
    ).look()
    problem = found.problems["case"]
    assert (problem.count, problem.is_error) == (3, is_error)
    assert os.listdir(tmp_path) == []


@pytest.mark.wide
def test_a_million_files_take_bounded_memory(tmp_path: Path) -> None:
    item = tmp_path / "in" / "item"
    for folder in range(1000):
        (item / f"{folder:03d}").mkdir(parents=True)
        for number in range(1000):
            os.close(os.open(item / f"{folder:03d}" / f"{number:03d}", os.O_CREAT | os.O_WRONLY))
    joblist = make_list(tmp_path, tmp_path / "in", tmp_path / "out")
    command = ["/usr/bin/time", "-f", "%M", str(BIN / "transfer-worker"), str(joblist), "--dry-run"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0
    assert "1,000,000 files" in done.stdout
    assert int(done.stderr.splitlines()[-1]) < 400_000


def test_a_paused_job_is_counted_and_told(tmp_path: Path) -> None:
    joblist = make_list(tmp_path, make_items(tmp_path / "in", 2), tmp_path / "out")
    assert preview(joblist)["paused"] == []
    run_ok("jobtool", "pause", joblist, "--job", "item001")
    (told,) = preview(joblist)["paused"]
    assert told.startswith("Job item001 is paused")
    assert "jobtool resume" in told
    assert told in run_ok("transfer-worker", joblist, "--dry-run").stdout
    run_ok("jobtool", "resume", joblist)
    assert preview(joblist)["paused"] == []


def test_of_many_jobs_the_first_are_named_unless_more_is_asked_for(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 23)
    prepare("generate-joblist", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out",
           "-l", "tree")  # fmt: skip
    told = run_ok("transfer-worker", tmp_path / "list", "--dry-run").lines
    assert sum(line.startswith("💡 Would transfer ") for line in told) == 20
    assert "💡 And 3 more; -v 2 names all." in told
    for options in (("-v", 2), ("--json",)):
        every = run_ok("transfer-worker", tmp_path / "list", "--dry-run", *options).lines
        assert sum("Would transfer" in line or "would-transfer" in line for line in every) == 23
