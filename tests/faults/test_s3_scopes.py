"""One answer of each scope, from the proxy to the exit code: what stops, and what continues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import assert_one_line_error, run, run_ok
from tests.faults.proxy import (
    Answer,
    Fault,
    Forward,
    Request,
    lose_answer,
    proxy_before,
)
from tests.faults.worlds import Bucket, World, make_joblist, make_source
from tests.servers.s3 import S3Server
from tests.trees import contents, events, statuses

JOBS = 3
FOR_EVER = 10**9
ONE_FILE = "/job001/0/small 1.bin"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_source(tmp_path_factory.mktemp("source"), JOBS, large_bytes={}, seed=7)


def saying(status: int, code: str) -> Callable[[Request, Forward], Answer]:
    body = f"<Error><Code>{code}</Code><Message>So it is.</Message></Error>".encode()
    return lambda request, forward: Answer(status, [("x-amz-bucket-region", "eu-1")], body)


def is_one_put(request: Request) -> bool:
    return request.is_put and request.path.endswith(ONE_FILE)


def is_put(request: Request) -> bool:
    return request.is_put


def is_anything(request: Request) -> bool:
    return True


def worker(tmp_path: Path, source: Path, server: S3Server, fault: Fault) -> World:
    bucket = Bucket(server, server.new_bucket())
    joblist = make_joblist(tmp_path / "list", source, bucket.url, max_attempts=1)
    return World(source, joblist, bucket, server.environment)


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "EntityTooLarge"), (403, "AccessDenied"), (400, "SomethingNew")],
)
def test_what_one_file_meets_leaves_the_other_files_and_jobs_alone(
    tmp_path: Path, source: Path, rclone_s3: S3Server, status: int, code: str
) -> None:
    fault = Fault(is_one_put, saying(status, code), FOR_EVER)
    world = worker(tmp_path, source, rclone_s3, fault)
    with proxy_before(rclone_s3.endpoint_url, fault) as proxy:
        env = {**world.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        done = run("transfer-worker", "-i", world.joblist, env=env)
    assert done.exit_code == 1, done
    assert statuses(world.joblist) == {"job000": "success", "job001": "error", "job002": "success"}
    text = (world.joblist / "job001.txt").read_text()
    assert ONE_FILE in text
    assert code in text
    there = world.destination.files()
    missing = {name for name in world.wanted if f"/{name}".endswith(ONE_FILE)}
    # Metadata is sent last, and not at all if a file is in error.
    assert world.wanted.keys() - there.keys() == {*missing, "job001/.zgroup"}
    world.assert_honest()


@pytest.mark.parametrize(
    ("befalls", "status", "code", "told"),
    [
        (is_put, 403, "QuotaExceeded", "quota"),
        (is_put, 507, "XMinioStorageFull", "full"),
        (is_put, 400, "InvalidToken", "log in"),
        (is_anything, 301, "PermanentRedirect", "in region eu-1: set [s3] region"),
    ],
)
def test_what_every_file_would_meet_stops_the_worker_once_and_spoils_no_job(
    tmp_path: Path,
    source: Path,
    rclone_s3: S3Server,
    befalls: Callable[[Request], bool],
    status: int,
    code: str,
    told: str,
) -> None:
    fault = Fault(befalls, saying(status, code), FOR_EVER)
    world = worker(tmp_path, source, rclone_s3, fault)
    with proxy_before(rclone_s3.endpoint_url, fault) as proxy:
        env = {**world.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        done = run("transfer-worker", "-i", world.joblist, env=env)
    assert_one_line_error(done, 4, told)
    assert set(statuses(world.joblist).values()) == {"todo"}
    handed_back = [events(path, "handed-back") for path in world.joblist.glob("*.txt")]
    assert sorted(map(len, handed_back)) == [0] * (JOBS - 1) + [1]
    assert all(not events(path, "failed") for path in world.joblist.glob("*.txt"))
    assert world.destination.files() == {}


@pytest.mark.parametrize(
    ("status", "code"), [(400, "IncompleteBody"), (409, "OperationAborted"), (400, "ExpiredToken")]
)
def test_what_passes_is_tried_again_and_all_ends_well(
    tmp_path: Path, source: Path, rclone_s3: S3Server, status: int, code: str
) -> None:
    fault = Fault(is_one_put, saying(status, code))
    world = worker(tmp_path, source, rclone_s3, fault)
    with proxy_before(rclone_s3.endpoint_url, fault) as proxy:
        env = {**world.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        run_ok("transfer-worker", "-i", world.joblist, env=env)
    assert fault.hits == 1
    world.assert_perfect()


def test_under_if_exists_error_a_lost_answer_makes_no_file_a_strangers(
    tmp_path: Path, source: Path, moto_s3: S3Server
) -> None:
    # This file's PUT has its effect, but its answer is a reset; only a refusal gets through.
    def happen(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        return answer if answer.status == 412 else lose_answer(request, lambda _: answer)

    bucket = moto_s3.new_bucket()
    joblist = make_joblist(tmp_path / "list", source, f"s3://{bucket}", if_exists="error")
    fault = Fault(is_one_put, happen, FOR_EVER)
    with proxy_before(moto_s3.endpoint_url, fault) as proxy:
        env = {**moto_s3.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        run_ok("transfer-worker", "-i", joblist, env=env)
    assert set(statuses(joblist).values()) == {"success"}
    client = moto_s3.client
    found = client.list_objects_v2(Bucket=bucket)["Contents"]
    assert {
        item["Key"]: client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        for item in found
    } == contents(source)
