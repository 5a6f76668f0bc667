"""A command that joblist.toml names is run only if no other user could have written it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.commands import assert_one_line_error, run, run_ok
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.trees import make_items, statuses, write

PROVIDER = """
import json, pathlib, sys
pathlib.Path(sys.argv[1]).touch()
print(json.dumps({"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "%s"}))
"""


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """A file that exists once the command was run."""
    return tmp_path / "ran"


@pytest.fixture
def joblist(tmp_path: Path, rclone_s3, ran: Path) -> Path:
    script = write(tmp_path / "provider.py", (PROVIDER % (ACCESS_KEY, SECRET_KEY)).encode())
    make_items(tmp_path / "in", 2)
    run_ok(
        *("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", "-l", "tree"),
        *("-d", f"s3://{rclone_s3.new_bucket()}", "--set", "credentials.provider=process"),
        *("--set", f"credentials.command={sys.executable} {script} {ran}"),
    )
    return tmp_path / "list"


def environment_of(server) -> dict[str, str]:
    return {
        name: value for name, value in server.environment.items() if not name.endswith("_KEY_ID")
    } | {"AWS_SECRET_ACCESS_KEY": ""}


def test_a_command_of_ones_own_is_run(joblist: Path, rclone_s3, ran: Path) -> None:
    run_ok("transfer-worker", "-i", joblist, env=environment_of(rclone_s3))
    assert ran.exists()
    assert set(statuses(joblist).values()) == {"success"}


@pytest.mark.parametrize(
    "command",
    [
        ("transfer-worker", "-i"),
        ("jobtool", "verify"),
        ("jobtool", "clean"),
        ("jobtool", "doctor"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("weakness", ["mode of the file", "mode of the folder", "owner"])
def test_a_command_that_others_could_have_written_is_refused(
    joblist: Path, rclone_s3, ran: Path, command: tuple[str, ...], weakness: str
) -> None:
    toml = joblist / "joblist.toml"
    if weakness == "mode of the file":
        toml.chmod(0o664)
    elif weakness == "mode of the folder":
        joblist.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(toml, 65534, 65534)
    else:
        pytest.skip("only root can give files away")
    done = run(*command, joblist, env=environment_of(rclone_s3))
    assert_one_line_error(done, 2, "names a command to run", "expected a f", "--trust")
    assert not ran.exists()
    assert set(statuses(joblist).values()) == {"todo"}


@pytest.mark.parametrize(
    "table",
    [
        "[sftp]",
        "[sftp.source]",
        '[source_fs]\nprotocol = "sftp"\nhost = "127.0.0.1"',
    ],
)
@pytest.mark.parametrize("told", [(), ("--credentials", "provider=environment")])
def test_an_ssh_config_counts_as_a_command(
    tmp_path: Path, ran: Path, table: str, told: tuple[str, ...]
) -> None:
    pytest.importorskip("asyncssh")
    config = write(tmp_path / "config", f"Host *\n  ProxyCommand touch {ran}\n".encode())
    job = b"todo\nsource: sftp://127.0.0.1/in\ndestination: %s\n---\n" % bytes(tmp_path / "out")
    write(tmp_path / "list" / "job.txt", job)
    toml = write(
        tmp_path / "list" / "joblist.toml",
        f'format = 1\n{table}\nconfig = "{config}"\n[transfer]\npatience_seconds = 0\n'.encode(),
    )
    toml.chmod(0o664)
    done = run("transfer-worker", "-i", tmp_path / "list", *told)
    assert_one_line_error(done, 2, "names a command to run", "ssh_config", "--trust")
    assert not ran.exists()
    assert set(statuses(tmp_path / "list").values()) == {"todo"}
    toml.chmod(0o600)
    (tmp_path / "list").chmod(0o700)
    if not told:
        run("transfer-worker", "-i", tmp_path / "list", "-v", 0)  # the server can't be reached
        assert ran.exists()


def test_trust_overrides_once_and_says_so(joblist: Path, rclone_s3, ran: Path) -> None:
    joblist.chmod(0o777)
    done = run_ok("transfer-worker", "-i", joblist, "--trust", env=environment_of(rclone_s3))
    assert "❗ Trusted as told, though others could have written it" in done.stdout
    assert ran.exists()
    assert run("jobtool", "verify", joblist, env=environment_of(rclone_s3)).exit_code == 2


def test_what_runs_no_command_needs_no_trust(joblist: Path, ran: Path) -> None:
    joblist.chmod(0o777)
    run_ok("summarise-jobs", "-i", joblist)
    run_ok("jobtool", "retry", joblist)
    assert not ran.exists()


def test_credentials_of_the_users_own_stand_for_the_joblists(
    joblist: Path, rclone_s3, ran: Path
) -> None:
    joblist.chmod(0o777)
    env = rclone_s3.environment
    done = run_ok(
        "transfer-worker", "-i", joblist, "--credentials", "provider=environment", env=env
    )
    assert not ran.exists()
    assert "Trusted" not in done.stdout
    assert all("provider=environment" in path.read_text() for path in joblist.glob("*.txt"))


@pytest.mark.parametrize("text", ["provider", "=x", "provider.x=1"])
def test_an_option_that_makes_no_sense_is_one_line(joblist: Path, text: str) -> None:
    told = ("--credentials", "provider=environment", "--credentials", text)
    done = run("transfer-worker", "-i", joblist, *told)
    assert_one_line_error(done, 2, "--credentials")
