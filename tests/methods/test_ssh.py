"""How methods log in by ssh: arguments, the table [ssh], and what failures mean. Real servers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.errors import JoblistError
from jobtool.jobs.settings import Settings
from jobtool.methods.program.surroundings import environment_for
from jobtool.methods.ssh import (
    SshSettings,
    as_rsync_shell,
    remote_path,
    ssh_arguments,
    ssh_command,
    ssh_failure,
    ssh_settings,
    ssh_target,
    why_not_by_ssh,
)
from jobtool.stores.overssh import SshTarget
from jobtool.stores.registry import StoreRegistry
from tests.commands import unused_port
from tests.servers.sftp import SftpServer, new_key, sftp_server

PLAIN = SshSettings()


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    with sftp_server(tmp_path_factory.mktemp("ssh")) as server:
        yield server


def target_on(sftp: SftpServer, port: int | None = None, **changes: object) -> SshTarget:
    store = StoreRegistry({"sftp": sftp.settings()}).open(
        f"sftp://{sftp.authority()}/tmp", role="source"
    )
    target = ssh_target(store)
    assert target is not None
    return replace(target, port=port or sftp.ports["shell"], **changes)


def login(
    target: SshTarget, settings: SshSettings = PLAIN, *command: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ssh_command(target, settings), target.host, *(command or ("echo", "well"))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment_for(),
        start_new_session=True,
    )


def why_refused(target: SshTarget, settings: SshSettings = PLAIN) -> str:
    done = login(target, settings)
    assert done.returncode == 255, done
    error = ssh_failure(done.stderr.splitlines(), target.host)
    assert error is not None, done.stderr
    return str(error)


def test_ssh_and_scp_log_in_with_the_same_arguments(sftp: SftpServer, tmp_path: Path) -> None:
    target = target_on(sftp)
    assert why_not_by_ssh(target) is None
    done = login(target, SshSettings(options=("IPQoS=throughput", "ConnectTimeout 5")))
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
    (tmp_path / "file").write_bytes(b"data")
    arguments = ssh_arguments(target, SshSettings(compression=True))
    place = remote_path(target, str(tmp_path / "copy"))
    subprocess.run(["scp", *arguments, "--", str(tmp_path / "file"), place], check=True)
    assert (tmp_path / "copy").read_bytes() == b"data"


def test_a_host_of_the_ssh_config_may_be_named(sftp: SftpServer) -> None:
    target = replace(target_on(sftp), host="lab", port=None, user=None)
    assert login(target).stdout == "well\n"


def test_jump_hosts_are_checked_and_used(sftp: SftpServer, tmp_path: Path) -> None:
    jump = f"{sftp.user}@127.0.0.1:{sftp.ports['shell']}"
    known = tmp_path / "known 100%h"  # a path that ssh mustn't change
    known.write_text(sftp.known_hosts.read_text())
    target = target_on(sftp, proxy_jump=f"{jump}, ssh://lab", known_hosts=str(known))
    assert login(target).stdout == "well\n"
    before = sftp.log.count("Accepted publickey")
    assert login(target, SshSettings(compression=True)).stdout == "well\n"
    assert sftp.log.count("Accepted publickey") == before + 3
    shell = as_rsync_shell(ssh_command(target, SshSettings()))
    (tmp_path / "file").write_bytes(b"data")
    place = remote_path(target, f"{tmp_path}/copy")
    subprocess.run(["rsync", "-e", shell, str(tmp_path / "file"), place], check=True)
    assert (tmp_path / "copy").read_bytes() == b"data"
    # The key of a jump host is searched in the same files.
    known.write_text("")
    assert "no host key is known" in why_refused(target)
    assert "proxy_jump" in str(why_not_by_ssh(replace(target, proxy_jump="-oProxyCommand=x")))


def test_refusals_are_told(sftp: SftpServer, tmp_path: Path) -> None:
    target = target_on(sftp)
    unknown = tmp_path / "known hosts"
    unknown.write_text("")
    changed = tmp_path / "changed"
    new_key(tmp_path / "another")
    kind, key, *_ = (tmp_path / "another.pub").read_text().split()
    changed.write_text(f"[127.0.0.1]:{sftp.ports['shell']} {kind} {key}\n")
    new_key(tmp_path / "stranger")
    assert "no host key is known" in why_refused(replace(target, known_hosts=str(unknown)))
    assert "another host key" in why_refused(replace(target, known_hosts=str(changed)))
    stranger = replace(target, identity_file=str(tmp_path / "stranger"), config=None)
    assert "accepts none of the keys" in why_refused(stranger)
    assert "can't be reached" in why_refused(replace(target, port=unused_port()))
    assert "no such host" in why_refused(replace(target, host="no-such-host.invalid"))
    assert "setting" in why_refused(target, SshSettings(options=("NoSuchOption=1",)))
    assert "password" in str(why_not_by_ssh(replace(target, has_password=True)))


@pytest.mark.parametrize("user", ["a; touch x", "$(touch x)", "-oProxyCommand=x", "a\nb", ""])
def test_a_user_that_a_shell_could_run_is_refused(user: str) -> None:
    stores = StoreRegistry({"sftp": {"user": user}})
    target = ssh_target(stores.open("sftp://lab.example/x", role="source"))
    assert target is not None
    assert "[sftp] user" in str(why_not_by_ssh(replace(target, user=user)))


def test_an_ssh_config_cannot_have_unknown_hosts_accepted(sftp: SftpServer, tmp_path: Path) -> None:
    config, known = tmp_path / "config", tmp_path / "known"
    known.write_text("")
    config.write_text(
        f"Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile {known}\n"
        f"  NoHostAuthenticationForLocalhost yes\n  ControlMaster auto\n"
        f"  ControlPath {tmp_path}/master\n  ControlPersist yes\n  RequestTTY force\n"
    )
    target = target_on(sftp, config=str(config), known_hosts=None)
    assert "no host key is known" in why_refused(target)
    known.write_text(sftp.known_hosts.read_text())
    assert login(target).stdout == "well\n"
    assert not (tmp_path / "master").exists()


WORDS = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=5)


@settings(max_examples=10)
@given(WORDS)
def test_rsync_splits_its_shell_as_it_was_joined(words: Sequence[str]) -> None:
    show = "import sys; sys.stderr.write(ascii(sys.argv[1:]) + '\\n')"
    command = [sys.executable, "-c", show, *words]
    done = subprocess.run(
        ["rsync", "-e", as_rsync_shell(command), "host:/path", "/nowhere"],
        capture_output=True,
        text=True,
    )
    found = done.stderr.splitlines()[0]
    assert found.startswith(ascii([*words, "host"])[:-1]), done.stderr


def test_the_table_is_checked() -> None:
    found = ssh_settings(Settings(ssh={"options": ["IPQoS throughput"], "compression": True}))
    assert found == SshSettings(options=("IPQoS throughput",), compression=True)
    assert ssh_settings(Settings()) == SshSettings()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"port": 22}, r"\[sftp\] port"),
        ({"jump_host": "lab"}, r"\[sftp\] proxy_jump"),
        ({"optoins": []}, "Did you mean 'options'"),
        ({"options": "IPQoS=throughput"}, "options"),
        ({"options": ["StrictHostKeyChecking=no"]}, "always checked"),
        ({"options": ["stricthostkeychecking  no"]}, "always checked"),
        ({"options": ["Port=22"]}, r"\[sftp\] port"),
        ({"options": ["Compression=yes"]}, "compression = true"),
        ({"options": ["IPQoS"]}, "a name and a value"),
        ({"options": ["IPQoS=a\nProxyCommand=b"]}, "a name and a value"),
        ({"options": ["-oProxyCommand=b"]}, "a name and a value"),
    ],
)
def test_what_a_table_must_not_hold_is_refused(table: dict[str, object], said: str) -> None:
    with pytest.raises(JoblistError, match=said):
        ssh_settings(Settings(ssh=table))


def test_unrelated_lines_are_no_failure_of_ssh() -> None:
    assert ssh_failure(["sending incremental file list", "a/b"], "host") is None
