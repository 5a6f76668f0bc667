"""A refusal is judged at its right scope: one file, one job, or the whole store.

With real workers, and a real server behind a proxy that refuses requests, or folders with modes
that refuse access.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobtool.jobs.claimedjob import MAX_HAND_BACKS, TOO_OFTEN
from jobtool.worker.doubt import MOST_IN_A_ROW
from tests.commands import (
    BIN,
    Done,
    assert_one_line_error,
    run,
    run_ok,
    run_without_superpowers,
    start_ranks,
)
from tests.commands import finish as finish_process
from tests.faults.proxy import Answer, Fault, Request, internal_error, proxy_before
from tests.trees import contents, events, make_items, receipts, status_of, statuses, write

JOBS = 40

#: Jobs next to each other, and the one at which the second of two ranks begins.
BAD = ("item020", "item021", "item022")


def denied(request: Request, forward) -> Answer:
    """Answer 403, as a server does whose policy refuses one key, or every key."""
    body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    return Answer(403, [("Content-Type", "application/xml")], body)


def is_write(request: Request) -> bool:
    return request.method in ("PUT", "POST")


class Towards:
    """A joblist of small jobs for a bucket behind a proxy."""

    def __init__(self, folder: Path, server, jobs: int, *, files: int = 2, **transfer):
        self.source = make_items(folder / "source", jobs, files=files)
        self.joblist = folder / "list"
        self.bucket = server.new_bucket()
        self.server = server
        run_ok(
            "generate-joblist", "-i", self.source, "-o", self.joblist, "-d", self.url, "-l", "tree"
        )
        if transfer:
            with (self.joblist / "joblist.toml").open("a") as file:
                file.write("[transfer]\n" + "".join(f"{k} = {v}\n" for k, v in transfer.items()))

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}"

    def env(self, proxy):
        return {**self.server.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}

    @property
    def arrived(self) -> dict[str, bytes]:
        return contents(self.server.folder / self.bucket)


def count(joblist: Path) -> dict[str, int]:
    found = list(statuses(joblist).values())
    return {status: found.count(status) for status in set(found)}


def by_two_ranks(joblist: Path, env) -> Done:
    program = (BIN / "transfer-worker", "-i", joblist)
    return finish_process(start_ranks(program, program, env=env))


@pytest.mark.parametrize(
    ("ranks", "files"),
    [(1, 1), *(pytest.param(*one, marks=pytest.mark.wide) for one in ((1, 2), (2, 1)))],
)
def test_three_jobs_with_a_refused_file_each_do_not_stop_a_list(
    tmp_path: Path, rclone_s3, ranks: int, files: int
) -> None:
    """With one file in each job nothing of the three arrives: other jobs show what works."""
    world = Towards(tmp_path, rclone_s3, JOBS, files=files)

    def is_refused(request: Request) -> bool:
        return is_write(request) and any(f"/{job}/0.bin" in request.path for job in BAD)

    with proxy_before(rclone_s3.endpoint_url, Fault(is_refused, denied, times=10**6)) as proxy:
        if ranks == 1:
            done = run("transfer-worker", "-i", world.joblist, env=world.env(proxy))
        else:
            done = by_two_ranks(world.joblist, world.env(proxy))
    assert done.exit_code == 1, done
    assert count(world.joblist) == {"success": JOBS - len(BAD), "error": len(BAD)}
    for job in BAD:
        jobfile = world.joblist / f"{job}.txt"
        assert status_of(jobfile) == "error"
        (failed,) = events(jobfile, "failed")
        assert f"{job}/0.bin" in failed
        assert "AccessDenied" in failed
        assert (f"{job}/1.bin" in world.arrived) == (files > 1)
    assert len(receipts(world.joblist)) == (JOBS - len(BAD)) * files


def test_a_store_that_refuses_everything_stops_the_worker_and_spoils_no_job(
    tmp_path: Path, rclone_s3
) -> None:
    world = Towards(tmp_path, rclone_s3, 8)
    fault = Fault(is_write, denied, times=10**6)
    with proxy_before(rclone_s3.endpoint_url, fault) as proxy:
        done = run("transfer-worker", "-i", world.joblist, env=world.env(proxy))
        assert_one_line_error(
            done, 4, "AccessDenied", f"{MOST_IN_A_ROW} job(s) in a row", "credentials"
        )
        assert count(world.joblist) == {"todo": 8}
        handed_back = [events(path, "handed-back") for path in world.joblist.glob("*.txt")]
        assert sorted(map(len, handed_back)) == [0] * (8 - MOST_IN_A_ROW) + [1] * MOST_IN_A_ROW
        fault.times = 0
        run_ok("transfer-worker", "-i", world.joblist, env=world.env(proxy))
    assert count(world.joblist) == {"success": 8}


def test_a_source_that_may_be_listed_and_not_read_spoils_no_job(tmp_path: Path, rclone_s3) -> None:
    up = Towards(tmp_path, rclone_s3, 5)
    with proxy_before(rclone_s3.endpoint_url) as proxy:
        run_ok("transfer-worker", "-i", up.joblist, env=up.env(proxy))
    down = tmp_path / "down"
    env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": rclone_s3.endpoint_url}
    run_ok(
        "generate-joblist", "-i", up.url, "-o", down, "-d", tmp_path / "to", "-l", "tree", env=env
    )
    fault = Fault(lambda request: request.is_get, denied, times=10**6)
    with proxy_before(rclone_s3.endpoint_url, fault) as proxy:
        done = run("transfer-worker", "-i", down, env=up.env(proxy))
        assert_one_line_error(done, 4, "AccessDenied")
        assert count(down) == {"todo": 5}


def test_a_server_that_fails_for_one_key_for_ever_costs_that_file_alone(
    tmp_path: Path, rclone_s3
) -> None:
    world = Towards(tmp_path, rclone_s3, 6, patience_seconds=1.0, max_attempts=2)

    def is_bad(request: Request) -> bool:
        return is_write(request) and "/item002/0.bin" in request.path

    with proxy_before(rclone_s3.endpoint_url, Fault(is_bad, internal_error, times=10**6)) as proxy:
        done = run("transfer-worker", "-i", world.joblist, env=world.env(proxy))
    assert done.exit_code == 1, done
    assert count(world.joblist) == {"success": 5, "error": 1}
    jobfile = world.joblist / "item002.txt"
    assert "requires_intervention: true" in jobfile.read_text()
    assert len(events(jobfile, "error")) == 2
    assert "item002/1.bin" in world.arrived


def test_a_server_that_fails_for_everything_hands_the_job_back(tmp_path: Path, rclone_s3) -> None:
    world = Towards(tmp_path, rclone_s3, 4, patience_seconds=0.1)
    fault = Fault(is_write, internal_error, times=10**6)
    with proxy_before(rclone_s3.endpoint_url, fault) as proxy:
        done = run("transfer-worker", "-i", world.joblist, env=world.env(proxy))
        assert_one_line_error(done, 4, "InternalError")
    assert count(world.joblist) == {"todo": 4}


def test_a_job_that_is_handed_back_again_and_again_stands_in_nobodys_way(
    tmp_path: Path, rclone_s3
) -> None:
    """Only the job's own destination is refused, as if the environment had failed."""
    world = Towards(tmp_path, rclone_s3, 3, files=1)
    jobfile = world.joblist / "item000.txt"
    head = f"hand_backs: {MAX_HAND_BACKS - 1}\n---\n"
    jobfile.write_text(jobfile.read_text().replace("---\n", head))

    def expired(request: Request, forward) -> Answer:
        body = b"<Error><Code>InvalidAccessKeyId</Code></Error>"
        return Answer(403, [("Content-Type", "application/xml")], body)

    fault = Fault(lambda request: is_write(request) and "item000" in request.path, expired, 10**6)
    with proxy_before(rclone_s3.endpoint_url, fault) as proxy:
        done = run("transfer-worker", "-i", world.joblist, env=world.env(proxy))
        assert done.exit_code == 4, done
        assert status_of(jobfile) == "error"
        assert "requires_intervention: true" in jobfile.read_text()
        (error,) = events(jobfile, "error")
        assert TOO_OFTEN in error
        assert "InvalidAccessKeyId" in error
        done = run("transfer-worker", "-i", world.joblist, env=world.env(proxy))
        assert done.exit_code == 1, done
        assert count(world.joblist) == {"error": 1, "success": 2}
        fault.times = 0
        run_ok("jobtool", "retry", world.joblist)
        assert "hand_backs" not in jobfile.read_text()
        run_ok("transfer-worker", "-i", world.joblist, env=world.env(proxy))
    assert count(world.joblist) == {"success": 3}


def local_list(tmp_path: Path, jobs: int, *, files: int = 2) -> tuple[Path, Path, Path]:
    source = make_items(tmp_path / "source", jobs, files=files)
    joblist, target = tmp_path / "list", tmp_path / "to"
    run_ok("generate-joblist", "-i", source, "-o", joblist, "-d", target, "-l", "tree")
    return source, joblist, target


def test_a_local_file_that_may_not_be_read_fails_alone(tmp_path: Path) -> None:
    source, joblist, target = local_list(tmp_path, 6)
    (source / "item003" / "0.bin").chmod(0)
    done = run_without_superpowers("transfer-worker", "-i", joblist)
    assert done.exit_code == 1, done
    assert count(joblist) == {"success": 5, "error": 1}
    (failed,) = events(joblist / "item003.txt", "failed")
    assert "item003/0.bin" in failed
    assert "Permission denied" in failed
    assert (target / "item003" / "1.bin").exists()


def test_a_folder_of_the_source_that_may_not_be_listed_fails_alone(tmp_path: Path) -> None:
    source, joblist, target = local_list(tmp_path, 3)
    (source / "item001" / "private").mkdir(mode=0)
    done = run_without_superpowers("transfer-worker", "-i", joblist)
    assert done.exit_code == 1, done
    assert count(joblist) == {"success": 2, "error": 1}
    (failed,) = events(joblist / "item001.txt", "failed")
    assert "item001/private" in failed
    assert set(contents(target)) == {f"item{item:03d}/{n}.bin" for item in range(3) for n in (0, 1)}


def test_a_destination_folder_of_one_job_that_may_not_be_written_fails_that_job(
    tmp_path: Path,
) -> None:
    _, joblist, target = local_list(tmp_path, 6)
    (target / "item000").mkdir(parents=True)
    (target / "item000").chmod(0o555)
    done = run_without_superpowers("transfer-worker", "-i", joblist)
    assert done.exit_code == 1, done
    assert count(joblist) == {"success": 5, "error": 1}
    assert all("item000" in line for line in events(joblist / "item000.txt", "failed"))


def test_a_destination_that_may_not_be_written_at_all_spoils_no_job(tmp_path: Path) -> None:
    _, joblist, target = local_list(tmp_path, 6)
    target.mkdir()
    target.chmod(0o555)
    done = run_without_superpowers("transfer-worker", "-i", joblist)
    assert_one_line_error(done, 4, "Permission denied", str(target))
    assert count(joblist) == {"todo": 6}
    target.chmod(0o755)
    run_ok("transfer-worker", "-i", joblist)


def test_missing_rows_of_a_manifest_are_named_and_the_others_are_sent(tmp_path: Path) -> None:
    source = make_items(tmp_path / "source", 6, files=1)
    rows = [f"{source}/item{item:03d}/0.bin,item{item}" for item in range(6)]
    manifest = tmp_path / "files.csv"
    manifest.write_text("\n".join(["src_path,dst_path", *rows]) + "\n")
    joblist, target = tmp_path / "list", tmp_path / "to"
    run_ok("generate-joblist", "-i", manifest, "-o", joblist, "-d", target, "-l", "manifest")
    for item in (1, 3, 5):
        (source / f"item{item:03d}" / "0.bin").unlink()
    done = run("transfer-worker", "-i", joblist)
    assert done.exit_code == 1, done
    (jobfile,) = joblist.glob("*.txt")
    failed = events(jobfile, "failed")
    assert len(failed) == 3
    assert all(any(f"item{item:03d}" in line for line in failed) for item in (1, 3, 5))
    assert set(contents(target)) == {"item0", "item2", "item4"}


def test_a_source_that_is_purged_between_two_attempts_is_an_error_that_names_what_is_gone(
    tmp_path: Path,
) -> None:
    source, joblist, target = local_list(tmp_path, 1, files=6)
    item, jobfile = source / "item000", joblist / "item000.txt"
    (item / "0.bin").chmod(0)  # so that the first attempt doesn't finish
    assert run_without_superpowers("transfer-worker", "-i", joblist).exit_code == 1
    for name in ("0.bin", "3.bin"):  # one that has arrived, and one that hasn't
        (item / name).unlink()
    run_ok("jobtool", "retry", joblist)
    done = run("transfer-worker", "-i", joblist)
    assert done.exit_code == 1, done
    assert status_of(jobfile) == "error"
    assert "item000/0.bin" in events(jobfile, "failed")[-1]
    assert "gone" in events(jobfile, "failed")[-1]
    assert sorted(contents(target)) == [f"item000/{number}.bin" for number in range(1, 6)]
    run_ok("jobtool", "retry", joblist)
    run_ok("transfer-worker", "-i", joblist, "--if-gone", "ignore")
    assert status_of(jobfile) == "success"
    assert len(receipts(joblist)) == 5


def test_a_strangers_file_is_never_replaced_under_if_exists_error(tmp_path: Path, moto_s3) -> None:
    """On a server that ignores If-None-Match only the comparison shows it."""
    world = Towards(tmp_path, moto_s3, 1, files=3)
    stranger = b"not ours"
    moto_s3.client.put_object(Bucket=world.bucket, Key="item000/1.bin", Body=stranger)
    own = (world.source / "item000" / "2.bin").read_bytes()  # as if the answer had been lost
    moto_s3.client.put_object(Bucket=world.bucket, Key="item000/2.bin", Body=own)
    jobfile = world.joblist / "item000.txt"
    jobfile.write_text(jobfile.read_text().replace("---\n", "attempts: 1\n---\n"))
    env = {**moto_s3.environment, "AWS_ENDPOINT_URL": moto_s3.endpoint_url}
    done = run("transfer-worker", "-i", world.joblist, "--if-exists", "error", "--json", env=env)
    assert done.exit_code == 1, done
    (failed,) = events(jobfile, "failed")
    assert "item000/1.bin" in failed
    found = moto_s3.client.get_object(Bucket=world.bucket, Key="item000/1.bin")["Body"].read()
    assert found == stranger
    told = [json.loads(line) for line in done.lines]
    assert [event["failed_files"] for event in told if event["event"] == "error"] == [1]


def test_a_strangers_file_is_not_replaced_by_one_that_was_begun_before_it(
    tmp_path: Path, moto_s3
) -> None:
    """A file that appears after an upload was begun isn't thereby the job's own."""
    world = Towards(tmp_path, moto_s3, 1, files=1, part_size_bytes=5 * 1024**2)
    write(world.source / "item000" / "0.bin", bytes(16 * 1024**2))

    def is_third_part(request: Request) -> bool:
        return request.query.get("partNumber") == ["3"]

    fault = Fault(is_third_part, denied, times=10**6)
    with proxy_before(moto_s3.endpoint_url, fault) as proxy:
        done = run("transfer-worker", "-i", world.joblist, env=world.env(proxy))
        assert done.exit_code == 4, done
        moto_s3.client.put_object(Bucket=world.bucket, Key="item000/0.bin", Body=b"not ours")
        fault.times = 0
        command = ("transfer-worker", "-i", world.joblist, "--if-exists", "error")
        done = run(*command, env=world.env(proxy))
    assert done.exit_code == 1, done
    assert "--if-exists error" in events(world.joblist / "item000.txt", "failed")[-1]
    found = moto_s3.client.get_object(Bucket=world.bucket, Key="item000/0.bin")["Body"].read()
    assert found == b"not ours"


def test_one_refused_file_of_a_job_that_is_put_back_is_that_files_error(tmp_path: Path) -> None:
    """A file that arrived at an earlier attempt shows that the store works."""
    source = make_items(tmp_path / "source", 1, files=2)
    joblist, target = tmp_path / "list", tmp_path / "target"
    paths = ("-i", source, "-o", joblist, "-d", target, "-l", "tree")
    run_ok("generate-joblist", *paths)
    run_ok("transfer-worker", "-i", joblist)
    closed = write(source / "item000" / "new.bin", b"new")
    closed.chmod(0)
    run_ok("jobtool", "retry", joblist, "--job", "item000")
    done = run_without_superpowers("transfer-worker", "-i", joblist)
    assert done.exit_code == 1, done
    assert "hand_backs" not in (joblist / "item000.txt").read_text()
    assert "item000/new.bin" in events(joblist / "item000.txt", "failed")[-1]


def test_refused_jobs_at_the_front_do_not_keep_the_others_from_their_turn(
    tmp_path: Path, rclone_s3
) -> None:
    world = Towards(tmp_path, rclone_s3, 20, files=1)

    def is_refused(request: Request) -> bool:
        return is_write(request) and any(f"/item00{n}/" in request.path for n in range(6))

    with proxy_before(rclone_s3.endpoint_url, Fault(is_refused, denied, times=10**6)) as proxy:
        done = run("transfer-worker", "-i", world.joblist, env=world.env(proxy))
    assert done.exit_code == 1, done
    assert count(world.joblist) == {"success": 14, "error": 6}


def test_want_of_credentials_puts_no_job_in_error_however_often_it_is_met(
    tmp_path: Path, rclone_s3
) -> None:
    world = Towards(tmp_path, rclone_s3, 1)
    jobfile = world.joblist / "item000.txt"
    env = {"AWS_ENDPOINT_URL": rclone_s3.endpoint_url, "AWS_EC2_METADATA_DISABLED": "true"}
    for _ in range(MAX_HAND_BACKS // 3 + 1):
        done = run("transfer-worker", "-i", world.joblist, env=env)
        assert done.exit_code == 4, done
    assert len(events(jobfile, "handed-back")) > MAX_HAND_BACKS
    assert status_of(jobfile) == "todo"
