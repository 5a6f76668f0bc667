"""Settings from which no S3 client can be made: one message, and no job is affected."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import BIN, TIMEOUT_SECONDS, assert_one_line_error, environment, run, run_ok
from tests.prepare import prepare
from tests.servers.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server, rclone_server
from tests.stores.authority import Authority
from tests.trees import contents, events, make_items, statuses, write

SERVER = "http://127.0.0.1:1"
KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
USUAL = KEYS | {"AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": SERVER}


def generated(tmp_path: Path, *settings: str, destination: str = "s3://bucket/x") -> Path:
    make_items(tmp_path / "in", 2)
    told = [word for text in settings for word in ("--set", text)]
    prepare(
        *("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", "-l", "tree"),
        *("-d", destination, *told),
        cwd=tmp_path,
    )
    return tmp_path / "list"


def assert_untouched(joblist: Path) -> None:
    assert set(statuses(joblist).values()) == {"todo"}
    for path in joblist.glob("*.txt"):
        assert events(path, "claimed") == [], path.read_text()


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("AWS_ENDPOINT_URL", "minio.example:9000", "AWS_ENDPOINT_URL: expected a URL"),
        ("AWS_ENDPOINT_URL_S3", "minio.example:9000", "AWS_ENDPOINT_URL_S3: expected a URL"),
        ("AWS_ENDPOINT_URL", "ftp://minio.example", "AWS_ENDPOINT_URL: expected a URL"),
        ("AWS_DEFAULT_REGION", "us-east-1 ", "AWS_DEFAULT_REGION: expected a region"),
        ("HTTP_PROXY", "socks5://proxy.example:1080", "HTTP_PROXY: expected a proxy"),
        ("AWS_CONFIG_FILE", "{folder}/broken", "aws configure list"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "perhaps", "request_checksum_calculation"),
    ],
)
def test_what_the_environment_says_wrong_ends_the_worker_before_it_claims(
    tmp_path: Path, variable: str, value: str, expected: str
) -> None:
    (tmp_path / "broken").write_text("[default\nregion = us-east-1\n")
    joblist = generated(tmp_path)
    told = {variable: value.replace("{folder}", str(tmp_path))}
    done = run("transfer-worker", "-i", joblist, env=USUAL | told)
    assert_one_line_error(done, 2, expected)
    assert_untouched(joblist)


def test_a_wrong_region_is_named_by_the_variable_that_counts(tmp_path: Path) -> None:
    joblist = generated(tmp_path)
    told = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us east"}
    done = run("transfer-worker", "-i", joblist, env=USUAL | told)
    assert_one_line_error(done, 2, "AWS_DEFAULT_REGION: expected a region", "us east")
    assert_untouched(joblist)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("s3 = notatable", ("AWS profile default", "s3: expected settings", "notatable")),
        ("max_attempts = x", ("AWS profile default", "max_attempts: expected a whole number")),
        ("endpoint_url =\n  a = b", ("AWS profile default", "its settings can't be used")),
    ],
)
def test_a_setting_of_aws_s_file_that_is_of_another_kind_is_named(
    tmp_path: Path, line: str, expected: tuple[str, ...]
) -> None:
    joblist = generated(tmp_path)
    path = write(tmp_path / "config", f"[default]\nregion = us-east-1\n{line}\n".encode())
    env = KEYS | {"AWS_DEFAULT_REGION": REGION, "AWS_CONFIG_FILE": str(path)}
    done = run("transfer-worker", "-i", joblist, env=env)
    assert_one_line_error(done, 2, str(path), *expected)
    assert_untouched(joblist)


def test_a_number_of_aws_s_in_the_environment_is_named_by_its_variable(tmp_path: Path) -> None:
    joblist = generated(tmp_path)
    done = run("transfer-worker", "-i", joblist, env=USUAL | {"AWS_MAX_ATTEMPTS": "many"})
    assert_one_line_error(done, 2, "AWS_MAX_ATTEMPTS: expected a whole number", "many")


def test_a_bundle_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    joblist = generated(tmp_path)
    write(tmp_path / "notes.pem", b"a note")
    told = {"AWS_ENDPOINT_URL": "https://127.0.0.1:1", "AWS_CA_BUNDLE": str(tmp_path / "notes.pem")}
    done = run("transfer-worker", "-i", joblist, env=USUAL | told)
    assert_one_line_error(done, 2, "notes.pem", "AWS_CA_BUNDLE", "PEM")
    assert_untouched(joblist)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("endpoint_url", "minio.example:9000", "endpoint_url: expected a URL"),
        ("region", "us-east-1 ", "region: expected a name"),
        ("ca_bundle", "ca.pem", "ca_bundle: expected an absolute path"),
        ("timeout_seconds", "soon", "timeout_seconds"),
        ("timeout_seconds", "0", "timeout_seconds: expected a number above 0"),
        ("timeout_seconds", "inf", "timeout_seconds: expected a number above 0 and up to 86400"),
        ("timeout_seconds", "1e10", "timeout_seconds: expected a number above 0 and up to 86400"),
    ],
)
def test_what_the_joblist_says_wrong_ends_the_worker_before_it_claims(
    tmp_path: Path, setting: str, value: str, expected: str
) -> None:
    joblist = generated(tmp_path)
    with (joblist / "joblist.toml").open("a") as file:
        file.write(f'\n[s3]\n{setting} = "{value}"\n')
    done = run("transfer-worker", "-i", joblist, env=KEYS)
    assert_one_line_error(done, 2, "[s3]", expected)
    assert_untouched(joblist)


def test_an_arn_that_ends_at_a_slash_is_refused_with_its_right_spelling(tmp_path: Path) -> None:
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint"
    make_items(tmp_path / "in", 2)
    told = ("-o", tmp_path / "list", "-l", "tree", "-d", f"s3://{arn}/plates/x", "-v", 0)
    done = run("generate-joblist", "-i", tmp_path / "in", *told)
    assert_one_line_error(done, 2, f"s3://{arn}:NAME")
    assert not (tmp_path / "list").exists()


def test_settings_of_the_command_line_are_numbers_and_absolute_paths(tmp_path: Path) -> None:
    joblist = generated(
        tmp_path,
        *("s3.timeout_seconds=5", "s3.ca_bundle=ca.pem", "s3.destination.ca_bundle=sub/ca.pem"),
        *("credentials.provider=file", "credentials.path=keys", "s3.source.ca_bundle=~/ca.pem"),
    )
    told = tomllib.loads((joblist / "joblist.toml").read_text())
    assert told["s3"]["ca_bundle"] == str(tmp_path / "ca.pem")
    assert told["s3"]["destination"]["ca_bundle"] == str(tmp_path / "sub" / "ca.pem")
    assert told["s3"]["source"]["ca_bundle"] == "~/ca.pem"
    assert told["credentials"]["path"] == str(tmp_path / "keys")
    done = run("transfer-worker", "-i", joblist, env=USUAL)
    assert "timeout_seconds" not in done.stderr, done


def write_config(tmp_path: Path, text: str) -> dict[str, str]:
    write(tmp_path / "config", text.encode())
    return {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL": SERVER,
        "AWS_PROFILE": "lab",
        "HOME": str(tmp_path),
    }


def test_a_sign_on_that_has_ended_is_told_once_with_the_command_that_mends_it(
    tmp_path: Path,
) -> None:
    joblist = generated(tmp_path)
    env = write_config(
        tmp_path,
        f"[profile lab]\nregion = {REGION}\nsso_session = lab\nsso_account_id = 123456789012\n"
        "sso_role_name = uploader\n[sso-session lab]\nsso_region = us-east-1\n"
        "sso_start_url = https://lab.example/start\n",
    )
    done = run("transfer-worker", "-i", joblist, env=env)
    assert_one_line_error(done, 4, "aws sso login --profile lab")
    assert set(statuses(joblist).values()) == {"todo"}
    logged = [line for path in joblist.glob("*.txt") for line in events(path, "handed-back")]
    assert len(logged) == 1


PROMPTING = {
    "mfa": (
        "[profile lab]\nregion = us-east-1\nrole_arn = arn:aws:iam::123456789012:role/up\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/me\nsource_profile = keys\n"
        "[profile keys]\naws_access_key_id = a\naws_secret_access_key = b\n"
    ),
    "command": ("[profile lab]\nregion = us-east-1\ncredential_process = {script}\n"),
    "command that a role builds on": (
        "[profile lab]\nregion = us-east-1\nrole_arn = arn:aws:iam::123456789012:role/up\n"
        "source_profile = asking\n[profile asking]\ncredential_process = {script}\n"
    ),
}


@pytest.mark.parametrize("how", PROMPTING)
def test_a_worker_at_a_terminal_never_asks(tmp_path: Path, how: str) -> None:
    joblist = generated(tmp_path)
    script = tmp_path / "asks"
    script.write_text("#!/bin/sh\nread answer || exit 7\nread answer < /dev/tty || exit 8\n")
    script.chmod(0o755)
    env = write_config(tmp_path, PROMPTING[how].replace("{script}", str(script)))
    exit_code, printed = run_at_a_terminal("transfer-worker", "-i", joblist, env=env)
    assert exit_code == 4, printed
    assert "Enter MFA code" not in printed
    assert set(statuses(joblist).values()) == {"todo"}
    if how == "mfa":
        assert "mfa_serial" in printed
        assert "aws configure export-credentials --profile lab" in " ".join(printed.split())


def run_at_a_terminal(name: str, *arguments: object, env: dict[str, str]) -> tuple[int, str]:
    """Run a command in the foreground of a new terminal without input."""
    command = [str(BIN / name), *map(str, arguments)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, environment(env))
    printed = b""
    end = time.monotonic() + TIMEOUT_SECONDS
    try:
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                chunk = os.read(terminal, 65536)
            except OSError:  # the other end was closed
                break
            if not chunk:
                break
            printed += chunk
        else:
            os.kill(pid, 9)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), printed.decode()
    finally:
        os.close(terminal)


def test_the_provider_environment_reads_no_profile(tmp_path: Path, rclone_s3: S3Server) -> None:
    bucket = rclone_s3.new_bucket()
    joblist = generated(
        tmp_path, "credentials.provider=environment", destination=f"s3://{bucket}/x"
    )
    env = rclone_s3.environment | {"AWS_PROFILE": "nobody-has-this-one"}
    run_ok("transfer-worker", "-i", joblist, env=env)
    assert contents(rclone_s3.folder / bucket / "x") == contents(tmp_path / "in")


COUNTED = """#!/bin/sh
echo >> {count}
echo '{{"Version": 1, "AccessKeyId": "{key}", "SecretAccessKey": "{secret}"}}'
"""


@pytest.mark.parametrize(("words", "calls"), [((), 1), (("{job}",), 100)])
def test_credentials_are_fetched_for_each_job_only_where_they_are_its_own(
    tmp_path: Path, rclone_s3: S3Server, words: tuple[str, ...], calls: int
) -> None:
    bucket, count = rclone_s3.new_bucket(), tmp_path / "count"
    for number in range(50):
        rclone_s3.client.put_object(Bucket=bucket, Key=f"in/job{number:02d}/f", Body=b"data")
    script = tmp_path / "counted"
    script.write_text(COUNTED.format(count=count, key=ACCESS_KEY, secret=SECRET_KEY))
    script.chmod(0o755)
    joblist = tmp_path / "list"
    server = {"AWS_ENDPOINT_URL": rclone_s3.endpoint_url, "AWS_DEFAULT_REGION": REGION}
    env = server | KEYS
    prepare(
        *("generate-joblist", "-i", f"s3://{bucket}/in", "-o", joblist, "-l", "tree"),
        *("-d", f"s3://{bucket}/out"),
        env=env,
    )
    command = ", ".join(f'"{word}"' for word in (str(script), *words))
    with (joblist / "joblist.toml").open("a") as file:
        file.write(f'\n[credentials]\nprovider = "process"\ncommand = [{command}]\n')
    run_ok("transfer-worker", "-i", joblist, "--verbosity", "0", env=server)
    assert list(statuses(joblist).values()) == ["success"] * 50
    assert len(count.read_text().splitlines()) == calls
    assert len(contents(rclone_s3.folder / bucket / "out")) == 50


@contextlib.contextmanager
def tunnel_to(port: int) -> Iterator[str]:
    """A proxy that connects every tunnel to one port of this machine, for any host."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as behind:
            asked = b""
            while not asked.endswith(b"\r\n\r\n"):
                asked += client.recv(1)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=(behind, client), daemon=True)
            back.start()
            pump(client, behind)
            back.join(TIMEOUT_SECONDS)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_nothing_goes_to_a_server_of_the_environment_if_the_joblist_names_aws(
    tmp_path: Path, rclone_s3: S3Server
) -> None:
    host = "s3.eu-west-1.amazonaws.com"
    authority = Authority(tmp_path, "authority")
    authority.context_for(host)  # leaves the certificate and its key in leaf.chain
    chain = str(tmp_path / "leaf.chain")
    with (
        rclone_server(tmp_path / "aws", "--cert", chain, "--key", chain) as of_aws,
        tunnel_to(int(of_aws.endpoint_url.rpartition(":")[2])) as proxy,
    ):
        bucket = rclone_s3.new_bucket()  # the certificate has the same name for both
        (of_aws.folder / bucket).mkdir()
        joblist = generated(
            tmp_path,
            *(f"s3.endpoint_url=https://{host}", "s3.region=eu-west-1"),
            destination=f"s3://{bucket}/x",
        )
        env = KEYS | {
            "AWS_ENDPOINT_URL": rclone_s3.endpoint_url,
            "AWS_CA_BUNDLE": str(authority.path),
            "HTTPS_PROXY": proxy,
        }
        run_ok("transfer-worker", "-i", joblist, env=env)
        assert set(statuses(joblist).values()) == {"success"}
        assert contents(of_aws.folder / bucket / "x") == contents(tmp_path / "in")
        assert contents(rclone_s3.folder / bucket) == {}


@contextlib.contextmanager
def silent_metadata() -> Iterator[tuple[str, list[bytes]]]:
    """A metadata service that accepts requests and answers none; its URL, and the requests."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            held = []
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                connection.settimeout(5)
                with contextlib.suppress(OSError):
                    came.append(connection.recv(65536))

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", came


def test_a_silent_metadata_service_is_asked_once_by_doctor(tmp_path: Path) -> None:
    joblist = generated(tmp_path)
    with silent_metadata() as (url, came):
        told = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": url}
        env = {"AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": SERVER} | told
        done = run("jobtool", "doctor", joblist, env=env)
    assert done.exit_code == 4
    assert "expected AWS credentials" in " ".join(done.stdout.split())
    assert [line for line in came if line.startswith(b"PUT /latest/api/token")] == came[:1]
    assert len(came) <= 2, came  # for a token, and without one


@pytest.mark.parametrize("url", ["https://me:hunter2@minio:9000?x=1", "me:hunter2@minio:9000"])
def test_a_password_in_an_endpoint_is_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    write(tmp_path / "in" / "item" / "file")
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-l", "tree")
    prepare("generate-joblist", *paths, "-d", "s3://bucket/to")
    done = run("transfer-worker", "-i", tmp_path / "list", env={"AWS_ENDPOINT_URL": url})
    assert done.exit_code == 2, done
    assert "AWS_ENDPOINT_URL" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
