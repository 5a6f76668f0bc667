"""What doctor finds at sources and destinations, and that it leaves nothing there."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.commands import finish, run, run_ok, run_without_superpowers, start, unused_port
from tests.doctor.examined import (
    eventually,
    examined,
    held_by,
    listing,
    make_joblist,
    without_credentials,
)
from tests.faults.proxy import Fault, encrypt, proxy_before
from tests.gate import gate_before
from tests.prepare import prepare
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.trees import write


def test_a_server_that_knows_all_of_s3_passes_everything(tmp_path: Path, moto_s3) -> None:
    bucket = moto_s3.new_bucket()
    joblist = make_joblist(tmp_path, f"s3://{bucket}/p")
    moto_s3.client.put_object(Bucket=bucket, Key="p/somebody's", Body=b"data")
    before = listing(tmp_path), held_by(moto_s3, bucket)
    done = run("jobtool", "doctor", joblist, "--json", env=moto_s3.environment)
    found = examined(done)
    found.assert_all_pass()
    assert found.one("destination", "digest")["found"].startswith("files are proven by their ETags")
    assert "in their ETags" in found.one("destination", "parts")["found"]
    assert found.one("destination", "clock")["verdict"] == "pass"
    assert (listing(tmp_path), held_by(moto_s3, bucket)) == before


def test_what_a_server_does_not_do_is_a_warning(tmp_path: Path, rclone_s3) -> None:
    bucket = rclone_s3.new_bucket()
    joblist = make_joblist(tmp_path, f"s3://{bucket}")
    before = listing(tmp_path), held_by(rclone_s3, bucket)
    found = examined(run("jobtool", "doctor", joblist, "--json", env=rclone_s3.environment))
    # rclone replaces objects whatever the request says.
    found.assert_all_pass(but=[("destination", "create-only")])
    assert (listing(tmp_path), held_by(rclone_s3, bucket)) == before


def test_etags_that_are_no_md5_are_a_warning(tmp_path: Path, rclone_s3) -> None:
    joblist = make_joblist(tmp_path, f"s3://{rclone_s3.new_bucket()}")
    fault = Fault(lambda request: request.is_put or request.is_complete, encrypt, times=10**9)
    with proxy_before(rclone_s3.endpoint_url, fault) as proxy:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        found = examined(run("jobtool", "doctor", joblist, "--json", env=env))
    checks = ("digest", "create-only", "parts")
    found.assert_all_pass(but=[("destination", check) for check in checks])
    for check in ("digest", "parts"):
        assert "read back" in found.one("destination", check)["advice"]


def test_where_a_joblist_relies_on_create_only_writes_their_lack_is_a_failure(
    tmp_path: Path, rclone_s3
) -> None:
    joblist = make_joblist(tmp_path, f"s3://{rclone_s3.new_bucket()}")
    with (joblist / "joblist.toml").open("a") as toml:
        toml.write('[transfer]\nif_exists = "error"\n')
    found = examined(run("jobtool", "doctor", joblist, "--json", env=rclone_s3.environment))
    assert (found.done.exit_code, found.checks("fail")) == (4, [("destination", "create-only")])


def test_wrong_credentials_are_a_failure_and_no_secret_is_told(tmp_path: Path, rclone_s3) -> None:
    bucket = rclone_s3.new_bucket()
    joblist = make_joblist(tmp_path, f"s3://{bucket}/p")
    wrong = {**rclone_s3.environment, "AWS_SECRET_ACCESS_KEY": "wrong-secret-of-tests"}
    for options in (["--json"], []):
        done = run("jobtool", "doctor", joblist, *options, env=wrong)
        assert done.exit_code == 4
        for secret in ("wrong-secret-of-tests", SECRET_KEY, ACCESS_KEY):
            assert secret not in done.stdout + done.stderr
    found = examined(run("jobtool", "doctor", joblist, "--json", env=wrong))
    assert found.checks("fail") == [("destination", "reach and write")]
    assert "SignatureDoesNotMatch" in found.one("destination", "reach and write")["found"]
    assert "profile" in found.one("destination", "reach and write")["advice"]
    assert held_by(rclone_s3, bucket) == ([], [], [])


def test_missing_credentials_bucket_and_server_are_failures(tmp_path: Path, rclone_s3) -> None:
    joblist = make_joblist(tmp_path, "s3://no-such-bucket/p")
    nobody = {**rclone_s3.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{unused_port()}"}
    for env, words in (
        (without_credentials(rclone_s3), "found none"),
        (rclone_s3.environment, "there is no bucket no-such-bucket"),
        (nobody, "can't reach"),
    ):
        found = examined(run("jobtool", "doctor", joblist, "--json", env=env))
        assert found.done.exit_code == 4
        assert found.checks("fail") == [("destination", "reach and write")]
        assert words in found.one("destination", "reach and write")["found"]


@pytest.mark.parametrize(
    ("allowed", "number"),
    [
        *((allowed, signal.SIGINT) for allowed in (0, 1, 3, 4)),
        (1, signal.SIGTERM),
        *(pytest.param(allowed, signal.SIGTERM, marks=pytest.mark.wide) for allowed in (0, 3, 4)),
    ],
)
def test_ctrl_c_at_any_upload_leaves_nothing(
    tmp_path: Path, rclone_s3, allowed: int, number: signal.Signals
) -> None:
    bucket = rclone_s3.new_bucket()
    joblist = make_joblist(tmp_path, f"s3://{bucket}/p")
    before = listing(tmp_path)
    with gate_before(rclone_s3.endpoint_url, allowed=allowed) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("jobtool", "doctor", joblist, env=env)
        gate.wait_until_held()
        process.send_signal(number)
        gate.open()
        done = finish(process)
    assert done.exit_code == 130, done
    assert "Traceback" not in done.stderr
    assert listing(tmp_path) == before
    assert held_by(rclone_s3, bucket) == ([], [], [])


@pytest.mark.parametrize("allowed", [1, 4], ids=lambda n: f"after-{n}-uploads")
def test_what_is_left_by_a_kill_is_removed_all_the_same(
    tmp_path: Path, rclone_s3, allowed: int
) -> None:
    bucket = rclone_s3.new_bucket()
    joblist = make_joblist(tmp_path, f"s3://{bucket}/p")
    before = listing(tmp_path)
    with gate_before(rclone_s3.endpoint_url, allowed=allowed) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("jobtool", "doctor", joblist, env=env)
        gate.wait_until_held()
        assert held_by(rclone_s3, bucket) != ([], [], [])
        process.kill()
        finish(process)
        gate.open()
        assert eventually(lambda: held_by(rclone_s3, bucket) == ([], [], []))
        assert eventually(lambda: listing(tmp_path) == before)


def test_a_kill_while_the_folder_is_probed_leaves_nothing(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "new" / "out")
    before = listing(tmp_path)
    process = start("jobtool", "doctor", joblist)
    assert eventually(lambda: any((joblist / ".claims").iterdir()))
    process.kill()
    finish(process)
    assert eventually(lambda: listing(tmp_path) == before)


def test_a_destination_that_is_not_there_yet_is_made_and_removed(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "new" / "deep" / "out")
    before = listing(tmp_path)
    found = examined(run("jobtool", "doctor", joblist, "--json"))
    found.assert_all_pass()
    told = found.one("destination", "reach and write")["found"]
    assert told.endswith("the folder isn't there yet, and could be made")
    assert listing(tmp_path) == before


def test_a_read_only_destination_is_a_failure(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out" / "deep")
    (tmp_path / "out").mkdir(mode=0o555)
    found = examined(run_without_superpowers("jobtool", "doctor", joblist, "--json"))
    assert (found.done.exit_code, found.checks("fail")) == (4, [("destination", "reach and write")])
    assert "Permission denied" in found.one("destination", "reach and write")["found"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_in_the_destinations_place_is_a_failure_and_stays(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    write(tmp_path / "out", b"a file where a folder is needed")
    before = listing(tmp_path)
    found = examined(run("jobtool", "doctor", joblist, "--json"))
    assert found.done.exit_code == 4
    assert ("destination", "reach and write") in found.checks("fail")
    assert listing(tmp_path) == before


def test_a_missing_source_is_a_failure_unless_its_job_is_done(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out")
    prepare("transfer-worker", "-i", joblist, "-v", 0)
    shutil.rmtree(tmp_path / "in")
    examined(run("jobtool", "doctor", joblist, "--json")).assert_all_pass()
    run_ok("jobtool", "retry", joblist, "--job", "item001")
    found = examined(run("jobtool", "doctor", joblist, "--json"))
    assert (found.done.exit_code, found.checks("fail")) == (4, [("source", "read")])
    assert found.one("source", "read")["where"] == str(tmp_path / "in" / "item001")
    assert "found nothing" in found.one("source", "read")["found"]


def test_a_source_that_can_not_be_read_is_a_failure(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, tmp_path / "out", jobs=1)
    (tmp_path / "in" / "item000" / "0.bin").chmod(0)
    found = examined(run_without_superpowers("jobtool", "doctor", joblist, "--json"))
    assert (found.done.exit_code, found.checks("fail")) == (4, [("source", "read")])
    assert "Permission denied" in found.one("source", "read")["found"]


def test_a_source_on_s3_is_listed_and_read(tmp_path: Path, rclone_s3) -> None:
    bucket = rclone_s3.new_bucket()
    rclone_s3.client.put_object(Bucket=bucket, Key="data/a/1", Body=b"x" * 100_000)
    where = ("-i", f"s3://{bucket}/data", "-o", tmp_path / "list", "-d", tmp_path / "out")
    prepare("generate-joblist", *where, "-l", "tree", "-v", 0, env=rclone_s3.environment)
    program = ("jobtool", "doctor", tmp_path / "list", "--json")
    found = examined(run(*program, env=rclone_s3.environment))
    found.assert_all_pass()
    assert "65536 bytes of 1 were read" in found.one("source", "read")["found"]
    failed = examined(run(*program, env=without_credentials(rclone_s3)))
    assert (failed.done.exit_code, failed.checks("fail")) == (4, [("source", "read")])
