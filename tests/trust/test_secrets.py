"""Commands print and write no secret, even when things go wrong.

The tests search every file and every line of output. One also searches the arguments of workers,
and all those of the commands that workers start.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Done, run, run_ok, run_without_superpowers, unused_port
from tests.credentials.authority import TOKEN, Authority
from tests.faults.proxy import Answer, Fault, Forward, Request, proxy_before
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from tests.trees import statuses, write

WRONG = "wrong-secret-dVmTlz9"
PRINTED = "printed-secret-Uq3nYb"
SESSION = "session-secret-k7RhWc"
SECRETS = [SECRET_KEY, TOKEN, WRONG, PRINTED, SESSION]
_ALWAYS = 10**9


@dataclass
class Scene:
    """A joblist of two jobs, one of which is done, and all output of commands about it."""

    folder: Path
    server: S3Server
    bucket: str
    environment: dict[str, str]
    produced: dict[str, bytes] = field(default_factory=dict)

    @property
    def joblist(self) -> Path:
        return self.folder / "list"

    def issue(self, *command: object, runs: Any = run) -> Done:
        done: Done = runs(*command, env=self.environment)
        shown = f"{len(self.produced)} {' '.join(map(str, command))}"
        self.produced[f"{shown}: stdout"] = done.stdout.encode(errors="surrogateescape")
        self.produced[f"{shown}: stderr"] = done.stderr.encode(errors="surrogateescape")
        return done

    def run_all(self, *, runs: Any = run) -> Done:
        """Run every command that looks at stores or at the joblist; return how the first ended."""
        first = self.issue("transfer-worker", "-i", self.joblist, "-v", 3, runs=runs)
        self.issue("transfer-worker", "-i", self.joblist, "--json", "-v", 3, runs=runs)
        self.issue("summarise-jobs", "-i", self.joblist, "-v", 3, runs=runs)
        self.issue("summarise-jobs", "-i", self.joblist, "--json", runs=runs)
        self.issue("jobtool", "verify", self.joblist, "--deep", "-v", 3, runs=runs)
        self.issue("jobtool", "clean", self.joblist, "--yes", "-v", 3, runs=runs)
        self.issue("jobtool", "doctor", self.joblist, "-v", 3, runs=runs)
        self.issue("generate-joblist", *self.arguments, "-v", 3, runs=runs)
        return first

    @property
    def arguments(self) -> list[object]:
        source, target = self.folder / "source", f"s3://{self.bucket}/copies"
        return ["-i", source, "-o", self.joblist, "-d", target, "-l", "tree"]

    def assert_no_secrets(self) -> None:
        for path in [*self.joblist.rglob("*"), self.folder / "arguments"]:
            if path.is_file():
                self.produced[str(path)] = path.read_bytes()
        client = self.server.client
        for item in client.list_objects_v2(Bucket=self.bucket).get("Contents", ()):
            head = client.head_object(Bucket=self.bucket, Key=item["Key"])
            told = {**head["Metadata"], "key": item["Key"]}
            self.produced[f"object {item['Key']}"] = json.dumps(told).encode()
        assert any(name.startswith("object ") for name in self.produced)
        found = {
            (name, secret)
            for name, text in self.produced.items()
            for secret in SECRETS
            if secret.encode() in text
        }
        assert found == set()


@pytest.fixture
def scene(tmp_path: Path, rclone_s3: S3Server) -> Scene:
    for job in ("a", "b"):
        for number in range(2):
            write(tmp_path / "source" / job / f"{number}.bin", f"{job} {number}".encode())
    made = Scene(tmp_path, rclone_s3, rclone_s3.new_bucket(), {**rclone_s3.environment})
    run_ok("generate-joblist", *made.arguments, "-v", 0, env=made.environment)
    done = made.issue("transfer-worker", "-i", made.joblist, "--max-jobs", 1, "-v", 3)
    assert done.exit_code == 3, done
    assert sorted(statuses(made.joblist).values()) == ["success", "todo"]
    return made


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def set_credentials(scene: Scene, **settings: object) -> None:
    with open(scene.joblist / "joblist.toml", "a") as file:
        file.write("[credentials]\n")
        for key, value in settings.items():
            file.write(f"{key} = {json.dumps(value)}\n")


def script(scene: Scene, text: str) -> str:
    """Make a command that records the arguments of its parent and of all processes."""
    path = scene.folder / "mint"
    noted = scene.folder / "arguments"
    path.write_text(
        "#!/bin/sh\n"
        f"for process in $$ $PPID $(cat /proc/$PPID/task/*/children); do\n"
        f"    cat /proc/$process/cmdline >> {noted}; echo >> {noted}\n"
        f"done\n{text}\n"
    )
    path.chmod(0o700)
    return str(path)


def test_a_wrong_secret(scene: Scene) -> None:
    scene.environment["AWS_SECRET_ACCESS_KEY"] = WRONG
    done = scene.run_all()
    assert (done.exit_code, "SignatureDoesNotMatch" in done.stderr) == (4, True), done
    scene.assert_no_secrets()


def test_a_token_that_has_expired_and_cannot_be_renewed(scene: Scene, stack: ExitStack) -> None:
    authority = Authority(uses=0)
    url = scene.server.endpoint_url
    proxy = stack.enter_context(proxy_before(url, *authority.faults()))
    scene.environment |= {"AWS_ENDPOINT_URL": proxy.endpoint_url, "AWS_SESSION_TOKEN": SESSION}
    set_credentials(scene, provider="environment")
    done = scene.run_all()
    assert (done.exit_code, "ExpiredToken" in done.stderr) == (4, True), done
    scene.assert_no_secrets()


def test_a_server_that_repeats_the_token_in_what_it_says(scene: Scene, stack: ExitStack) -> None:
    def repeat(request: Request, forward: Forward) -> Answer:
        token = request.headers["x-amz-security-token"]
        error = f"<Error><Code>Odd</Code><Message>Odd!</Message><Token-0>{token}</Token-0></Error>"
        return Answer(400, [], b"" if request.method == "HEAD" else error.encode())

    everything = Fault(lambda request: True, repeat, times=_ALWAYS)
    proxy = stack.enter_context(proxy_before(scene.server.endpoint_url, everything))
    scene.environment |= {"AWS_ENDPOINT_URL": proxy.endpoint_url, "AWS_SESSION_TOKEN": SESSION}
    done = scene.run_all()
    assert (done.exit_code, "Odd!" in done.stderr) == (4, True), done
    scene.assert_no_secrets()


def test_a_token_of_two_lines(scene: Scene) -> None:
    scene.environment["AWS_SESSION_TOKEN"] = f"{SESSION}\nmore"
    done = scene.run_all()
    assert (done.exit_code, "white space" in done.stderr) == (4, True), done
    scene.assert_no_secrets()


def test_an_endpoint_that_is_down(scene: Scene) -> None:
    scene.environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{unused_port()}"
    with open(scene.joblist / "joblist.toml", "a") as file:
        file.write("[transfer]\npatience_seconds = 0\n")
    done = scene.run_all()
    assert (done.exit_code, "can't reach" in done.stderr) == (4, True), done
    scene.assert_no_secrets()


def test_a_provider_that_fails_with_secrets_on_its_standard_error(scene: Scene) -> None:
    command = script(scene, f"echo {PRINTED}; echo {PRINTED} >&2; exit 3")
    set_credentials(scene, provider="process", command=command)
    done = scene.run_all()
    assert (done.exit_code, "exit code 3" in done.stderr) == (4, True), done
    scene.assert_no_secrets()


def test_a_provider_that_prints_secrets_that_are_no_document(scene: Scene) -> None:
    document = scene.folder / "document"
    command = script(scene, f"cat {document}")
    set_credentials(scene, provider="process", command=command)
    document.write_text(f'["{PRINTED}"]')
    done = scene.issue("transfer-worker", "-i", scene.joblist, "-v", 3)
    assert (done.exit_code, "expected JSON" in done.stderr) == (4, True), done
    document.write_text(f'{{"SecretAccessKey": "{PRINTED}"')
    done = scene.run_all()
    assert (done.exit_code, "expected JSON" in done.stderr) == (4, True), done
    scene.assert_no_secrets()


def test_a_profiles_own_process_that_fails_with_secrets(scene: Scene) -> None:
    command = script(scene, f"echo {PRINTED} >&2; exit 3")
    config = write(
        scene.folder / "config", f"[profile lab]\ncredential_process = {command}\n".encode()
    )
    scene.environment["AWS_CONFIG_FILE"] = str(config)
    set_credentials(scene, provider="profile", profile="lab")
    done = scene.run_all()
    assert (done.exit_code, "custom-process failed" in done.stderr) == (4, True), done
    scene.assert_no_secrets()


def test_all_is_well_with_credentials_of_a_process(scene: Scene) -> None:
    keys = {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "SessionToken": SESSION}
    (scene.folder / "document").write_text(json.dumps(keys))
    command = script(scene, f"cat {scene.folder}/document")
    set_credentials(scene, provider="process", command=[command, "{job}", "{url}"])
    scene.environment["JOBTOOL_TEST_EXEC"] = "1"  # the kernel doesn't show the arguments of forks
    done = scene.issue("transfer-worker", "-i", scene.joblist, "-v", 3)
    assert done.exit_code == 0, done
    assert set(statuses(scene.joblist).values()) == {"success"}
    del scene.environment["JOBTOOL_TEST_EXEC"]
    done = scene.run_all()
    assert done.exit_code == 0, done
    arguments = (scene.folder / "arguments").read_bytes()
    assert b"transfer-worker" in arguments
    assert b"s3://" in arguments
    scene.assert_no_secrets()


@pytest.mark.wide
def test_a_joblist_that_cannot_be_written(scene: Scene) -> None:
    for folder in (scene.joblist, scene.joblist / ".claims"):
        folder.chmod(0o500)
    try:
        done = scene.run_all(runs=run_without_superpowers)
    finally:
        for folder in (scene.joblist, scene.joblist / ".claims"):
            folder.chmod(0o700)
    assert done.exit_code == 4, done
    scene.assert_no_secrets()


@pytest.mark.parametrize(
    "line", [f'secret_access_key = "{PRINTED}"', f'endpoint_url = "http://u:{PRINTED}@host"']
)
def test_a_joblist_with_a_secret_is_refused_and_not_quoted(scene: Scene, line: str) -> None:
    bad = scene.folder / "bad"
    shutil.copytree(scene.joblist, bad)
    with open(bad / "joblist.toml", "a") as file:
        file.write(f"[s3]\n{line}\n")
    for command in ("transfer-worker", "summarise-jobs"):
        done = scene.issue(command, "-i", bad)
        assert (done.exit_code, "must not hold" in done.stderr) == (2, True), done
    done = scene.issue("jobtool", "doctor", bad)
    assert done.exit_code in (2, 4), done
    os.remove(bad / "joblist.toml")
    scene.assert_no_secrets()
