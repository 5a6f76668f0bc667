"""What is special about SFTP: proofs, keys of hosts, logins, errors without reasons, losses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading

import pytest

from jobtool.errors import (
    CredentialsError,
    DigestMismatchError,
    FileError,
    NotFoundError,
    RefusedError,
    SourceError,
    StoreError,
    StoreSettingsError,
    StoreUnavailableError,
    UnreachableError,
    UsageError,
)
from jobtool.stores.location import Location
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.sftp.place import Place
from jobtool.stores.sftp.shell import start_shell
from jobtool.stores.store import Attributes, Child, Entry, Special, Unlisted, Upload, entry_of
from jobtool.testing.store_suite.common import PART_BYTES, md5_of, pieces_of, send, some_bytes
from tests.commands import unused_port
from tests.servers.sftp import new_key, sftp_server
from tests.stores.raw import LocalRaw

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def sftp(tmp_path_factory):
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture(scope="module")
def shared(sftp):
    return StoreRegistry({"sftp": sftp.settings()}, links="follow")


@pytest.fixture
def opened(sftp, folder, shared):
    """Open the folder by a port, for a role; with settings, by a connection of its own."""

    def open_store(kind="shell", role="destination", links=None, read_back=False, **settings):
        registry = shared
        if settings or links or read_back:
            table = {**sftp.settings(), **settings}
            table = {key: value for key, value in table.items() if value is not None}
            links = links or "follow"
            registry = StoreRegistry({"sftp": table}, links=links, read_back=read_back)
        return registry.open(f"sftp://{sftp.authority(kind)}{folder}", role, owner="we")

    return open_store


@pytest.fixture
def raw(folder):
    return LocalRaw(str(folder))


def put(store, path, data=b"data", **attributes):
    wanted = Attributes(mtime_ns=10**18, md5=md5_of(data), **attributes)
    return store.write(path, [data], wanted)


def put_large(store, path, pieces):
    upload, parts = send(store, path, pieces)
    return store.complete(upload, parts, upload.attributes)


# Proofs.


def test_a_large_file_is_proven_by_the_servers_md5sum(opened, raw):
    data = some_bytes(3 * MIB)
    assert put(opened(), "large", data).verified_by == "remote-md5sum"
    assert put_large(opened(), "parts", [data]).verified_by == "remote-md5sum"
    assert opened().prove("large", md5_of(data), "").verified_by == "remote-md5sum"
    assert raw.paths() == {"large", "parts"}


@pytest.mark.parametrize(
    "options",
    [{"kind": "sftp_only"}, {"commands": "never"}, {"read_back": True}, {"kind": "plain"}],
    ids=str,
)
def test_without_commands_it_is_read_back(opened, options):
    store, data = opened(**options), some_bytes(5 * MIB)
    assert put(store, "large", data).verified_by == "read-back"
    assert put_large(store, "parts", [data]).verified_by == "read-back"
    assert store.prove("large", md5_of(data), "").verified_by == "read-back"
    assert store.digest("parts") == md5_of(data)


class ClosedProcess:
    """A command whose channel the server has closed before its first input was sent."""

    stdin = stdout = property(lambda self: self)

    def write(self, data):
        raise BrokenPipeError("Channel not open for sending")

    async def readline(self):
        return b""

    def close(self):
        pass


def test_a_server_that_closes_a_command_at_once_runs_none_and_is_not_lost():
    class Connection:
        async def create_process(self, *command, **options):
            return ClosedProcess()

    assert asyncio.run(start_shell(Connection(), None)) is None


@pytest.mark.parametrize("kind", ["shell", "sftp_only"])
def test_bytes_changed_on_the_server_are_noticed(opened, raw, folder, kind):
    store, pieces = opened(kind), pieces_of(PART_BYTES, 123)
    upload, parts = send(store, "file", pieces)
    (temporary,) = raw.paths()
    with open(os.path.join(raw.root, os.fsencode(temporary)), "r+b") as file:
        file.seek(PART_BYTES + 5)
        file.write(b"?")
    assert list(store.held_parts(upload, parts)) == parts[:1]
    with pytest.raises(DigestMismatchError, match="removed"):
        store.complete(upload, parts, upload.attributes)
    assert raw.paths() == set()


@pytest.mark.parametrize("kind", ["shell", "sftp_only"])
def test_another_client_takes_up_an_upload(opened, raw, kind):
    pieces = pieces_of(PART_BYTES, PART_BYTES, 99)
    upload, parts = send(opened(kind), "folder/file", pieces[:2])
    attributes = Attributes(mtime_ns=10**18, md5=md5_of(b"".join(pieces)), mode=0o444)
    found = Upload(path=upload.path, token=upload.token, attributes=attributes)
    other = opened(kind, keepalive_seconds=30)
    assert list(other.held_parts(found, parts)) == parts
    last = other.put_part(found, 3, 2 * PART_BYTES, pieces[2], md5_of(pieces[2]))
    other.complete(found, [*parts, last], attributes)
    assert raw.paths() == {"folder/file"}
    assert raw.read("folder/file") == b"".join(pieces)


def test_parts_at_odd_places_are_held_too(opened):
    store, pieces = opened(), pieces_of(1000, 777, 5)
    upload, parts = send(store, "file", pieces)
    assert list(store.held_parts(upload, parts)) == parts


def test_sync_is_one_command_for_each_folder_or_one_request_for_each_file(opened):
    for kind in ("shell", "sftp_only", "plain"):
        store = opened(kind)
        for number in range(20):
            put(store, f"{kind}/{number % 3}/{number}")
        put(store, f"{kind}/secret", mode=0o000)
        store.sync()
        store.delete(f"{kind}/0/0")
        store.sync()


# Files and folders.


def test_an_existing_file_is_kept_if_it_may_not_be_replaced(opened, raw):
    for kind in ("shell", "plain"):
        store = opened(kind)
        put(store, kind, b"old", may_replace=False)
        with pytest.raises(FileError, match="exists already"):
            put(store, kind, b"new", may_replace=False)
        upload, parts = send(store, kind, [b"new"])
        attributes = Attributes(mtime_ns=0, md5=md5_of(b"new"), may_replace=False)
        with pytest.raises(FileError, match="exists already"):
            store.complete(upload, parts, attributes)
        assert raw.read(kind) == b"old"
    assert raw.paths() == {"shell", "plain"}


def test_a_server_that_can_not_replace_in_one_step_is_noted(opened, raw):
    store = opened("plain")
    assert put(store, "file", b"old").notes == ()
    (note,) = put(store, "file", b"new").notes
    assert "removed" in note.reason
    assert raw.read("file") == b"new"


@pytest.mark.parametrize("kind", ["shell", "plain"])
def test_folders_and_files_in_each_others_place_are_errors_of_that_file(opened, raw, kind):
    raw.write("target/inside", b"1")
    raw.write("file", b"1")
    store = opened(kind)
    with pytest.raises(FileError, match="a folder where a file is needed"):
        put(store, "target")
    with pytest.raises(FileError, match="a file where a folder is needed"):
        put(store, "file/deeper/file")
    with pytest.raises(RefusedError, match="a file where a folder is needed"):
        put(store_below(opened, "file"), "new/file")
    assert raw.paths() == {"target/inside", "file"}


def store_below(opened, path):
    store = opened()
    store._tree.root += b"/" + os.fsencode(path)
    store._tree._inside = store._tree.root + b"/"
    return store


def test_a_time_that_sftp_can_not_say_is_noted(opened):
    attributes = Attributes(mtime_ns=-1_500_000_000, md5=md5_of(b"data"))
    (note,) = opened().write("file", [b"data"], attributes).notes
    assert note.attribute == "times"


def test_modes_without_rights_are_given_and_grant_no_others_rights(opened, folder):
    put(opened(), "file", mode=0o6750)
    assert stat.S_IMODE(os.stat(folder / "file").st_mode) == 0o750
    pieces = pieces_of(PART_BYTES, 5)
    upload, parts = send(opened(), "parts", pieces)
    attributes = Attributes(mtime_ns=0, md5=upload.attributes.md5, mode=0o000)
    opened().complete(upload, parts, attributes)
    assert stat.S_IMODE(os.stat(folder / "parts").st_mode) == 0


def test_folders_are_closed_until_their_attributes_are_set(sftp, folder, shared, tmp_path):
    (tmp_path / "source").mkdir()
    mirrored = shared.open(str(tmp_path / "source"), "source")
    url = f"sftp://{sftp.authority()}{folder}/root"
    store = shared.open(url, "destination", owner="we", mirrors=mirrored)
    put(store, "new/file")
    os.mkdir(folder / "root/old", 0o755)
    modes = {name: stat.S_IMODE(os.stat(folder / name).st_mode) for name in ("root", "root/new")}
    assert modes == {"root": 0o1700, "root/new": 0o1700}
    wanted = Attributes(mtime_ns=10**18, mode=0o751)
    assert store.set_folder_attributes("new", wanted) == ()
    assert stat.S_IMODE(os.stat(folder / "root/new").st_mode) == 0o751
    (note,) = store.set_folder_attributes("old", wanted)
    assert note.attribute == "mode of a folder"
    assert stat.S_IMODE(os.stat(folder / "root/old").st_mode) == 0o755
    assert os.stat(folder / "root/old").st_mtime_ns == 10**18
    assert store.set_folder_attributes("", wanted) == ()
    assert stat.S_IMODE(os.stat(folder / "root").st_mode) == 0o751


# Links.


def test_nothing_is_written_or_removed_through_a_link(opened, raw, folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(b"theirs")
    os.symlink(tmp_path / "outside", folder / "link")
    store = opened()
    with pytest.raises(FileError, match="link"):
        put(store, "link/new/file")
    with pytest.raises(FileError, match="link"):
        store.delete("link/file")
    with pytest.raises(FileError, match="link"):
        store.make_special(Special("link/x", "empty-folder"))
    assert list(store.leftovers("link/file", 0)) == []
    assert os.listdir(tmp_path / "outside") == ["file"]
    os.symlink("nowhere", folder / "name")
    put(store, "name")
    assert not os.path.islink(folder / "name")


def test_a_source_follows_links_inside_its_root_only(opened, raw, folder, tmp_path):
    raw.write("real/file", b"inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(b"outside")
    os.symlink("real", folder / "linked")
    os.symlink("real/file", folder / "file")
    os.symlink("../..", folder / "real/up")
    os.symlink(tmp_path / "outside", folder / "out")
    os.symlink(tmp_path / "outside/file", folder / "outfile")
    os.symlink("nowhere", folder / "dangling")
    os.mkfifo(folder / "pipe")
    store = opened(role="source")
    listed = {item.path: item for item in store.list()}
    files = {path for path, item in listed.items() if isinstance(item, Entry)}
    assert files == {"real/file", "linked/file", "file"}
    for path in files:
        assert bytes(store.read(listed[path], 0, 6).data) == b"inside"
    refused = {path for path, item in listed.items() if isinstance(item, Unlisted)}
    assert refused == {"out", "outfile", "dangling", "real/up", "linked/up"}
    assert listed["pipe"] == Special("pipe", "pipe")
    for path in ("out/file", "outfile"):
        with pytest.raises(SourceError, match="outside"):
            store.read(Entry(path, 7, 0), 0, 7)
    with pytest.raises(NotFoundError):
        store.stat("dangling")
    assert Child("linked", True, True) in list(store.children(""))
    assert {type(item) for item in opened(role="source", links="error").list()} == {
        Entry, Unlisted, Special
    }  # fmt: skip
    kept = {item.path: item for item in opened(role="source", links="keep").list()}
    assert kept["linked"] == Special("linked", "link", "real")


# Errors and their scopes.


@pytest.fixture
def small_filesystem(tmp_path):
    mounted = tmp_path / "small"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=20", "tmpfs", str(mounted)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


@pytest.mark.parametrize("kind", ["shell", "sftp_only"])
def test_a_full_or_read_only_filesystem_is_the_worlds_fault(shared, sftp, small_filesystem, kind):
    url = f"sftp://{sftp.authority(kind)}{small_filesystem}"
    store, raw = shared.open(url, "destination", owner="we"), LocalRaw(str(small_filesystem))
    with pytest.raises(StoreUnavailableError, match="no space left"):
        put(store, "a/file", b"x" * 5 * MIB)
    with contextlib.suppress(OSError):
        for number in range(20):
            raw.write(f"many/{number}", b"")
    with pytest.raises(StoreUnavailableError, match="no more files"):
        put(store, "many/file", b"1")
    shutil.rmtree(small_filesystem / "many")
    assert raw.paths() == set()
    put(store, "a/file")
    subprocess.run(["mount", "-o", "remount,ro", small_filesystem], check=True)
    with pytest.raises(StoreUnavailableError, match="read-only"):
        put(store, "a/other")


def test_a_server_without_statvfs_leaves_open_what_fails(shared, sftp, small_filesystem):
    url = f"sftp://{sftp.authority('plain')}{small_filesystem}"
    with pytest.raises(StoreError, match="SFTP doesn't say why"):
        put(shared.open(url, "destination", owner="we"), "file", b"x" * 5 * MIB)
    assert os.listdir(small_filesystem) == []


def test_a_server_that_refuses_to_write_may_refuse_one_file_or_all(opened, raw):
    raw.write("file", b"data")
    store = opened("read_only")
    with pytest.raises(RefusedError, match="permission denied"):
        put(store, "other")
    with pytest.raises(RefusedError):
        store.check_access(write=True)
    store.check_access(write=False)
    assert store.digest("file") == md5_of(b"data")


def test_a_name_that_is_too_long_fails_that_file(opened):
    with pytest.raises(FileError, match="name"):
        put(opened(), "x" * 300)
    with pytest.raises(FileError):
        put(opened(), "x" * 300 + "/file")


def test_an_unknown_host_is_refused_with_its_fingerprint(sftp, opened, tmp_path):
    empty = tmp_path / "known_hosts"
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", sftp.folder / "host.pub"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    for text in (None, "", "# nothing\n127.0.0.1\n"):
        if text is not None:
            empty.write_text(text)
        with pytest.raises(StoreUnavailableError) as caught:
            opened(known_hosts=str(empty)).stat("")
        message = str(caught.value)
        for part in (fingerprint, str(empty), f"ssh-keyscan -p {sftp.ports['shell']} 127.0.0.1"):
            assert part in message
        assert "no key is known" in message


@pytest.mark.parametrize("line", ["UserKnownHostsFile none", "StrictHostKeyChecking no"])
def test_no_setting_makes_an_unknown_host_known(sftp, opened, tmp_path, monkeypatch, line):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tmp_path / "config"
    config.write_text(f"Host *\n  {line}\n  IdentityFile {sftp.identity}\n")
    with pytest.raises(StoreUnavailableError, match="no key is known"):
        opened(config=str(config), known_hosts=None).stat("")


def test_another_key_than_the_known_one_is_named_as_that(sftp, opened, tmp_path):
    kind, key, *_ = (sftp.folder / "other.pub").read_text().split()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sftp.ports['shell']} {kind} {key}\n")
    with pytest.raises(StoreUnavailableError, match="another key is known"):
        opened(known_hosts=str(known)).stat("")


def test_a_key_that_the_server_does_not_accept_is_missing_credentials(
    sftp, opened, tmp_path, monkeypatch
):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    new_key(tmp_path / "mine")
    with pytest.raises(CredentialsError, match="none of the keys") as caught:
        opened(identity_file=str(tmp_path / "mine"), config="/dev/null").stat("")
    assert "BEGIN" not in str(caught.value)
    with pytest.raises(StoreSettingsError, match="missing"):
        opened(identity_file=str(tmp_path / "missing")).stat("")
    with pytest.raises(StoreSettingsError):
        opened(config=str(tmp_path / "missing")).stat("")


def test_a_key_of_an_agent_logs_in(sftp, opened, tmp_path, monkeypatch, raw):
    if shutil.which("ssh-agent") is None:
        pytest.skip("no ssh-agent: apt-get install openssh-client")
    place = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.DEVNULL) as agent:
        try:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
            while not place.exists():
                assert agent.poll() is None
            subprocess.run(["ssh-add", "-q", sftp.identity], check=True)
            put(opened(identity_file=None, config="/dev/null"), "file")
        finally:
            agent.terminate()
    assert raw.paths() == {"file"}


@contextlib.contextmanager
def answering(said):
    """A server that isn't one of SSH."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    made, _ = server.accept()
                    made.sendall(said)
                    made.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_what_is_no_ssh_server_is_told(sftp, shared):
    with pytest.raises(UnreachableError, match="can't reach"):
        shared.open(f"sftp://127.0.0.1:{unused_port()}/x", "source").stat("")
    with pytest.raises(StoreUnavailableError, match="no such host"):
        shared.open("sftp://no-such-host.invalid/x", "source").stat("")
    for said in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
        with answering(said) as port, pytest.raises(StoreUnavailableError) as caught:
            shared.open(f"sftp://127.0.0.1:{port}/x", "source").stat("")
        assert str(port) in str(caught.value)


def test_a_server_that_never_answers_a_session_is_given_up(opened, monkeypatch):
    monkeypatch.setattr("jobtool.stores.sftp.connection.LOGIN_SECONDS", 1)
    with pytest.raises(UnreachableError, match="in time"):
        opened("silent", keepalive_seconds=30).stat("")


def test_a_lost_connection_may_pass_and_leaves_nothing(sftp, opened, raw):
    store = opened(keepalive_seconds=20)
    put(store, "before")
    entry = entry_of(store, "before")

    def lose():
        store._link.start(_abort).result()

    lose()
    assert bytes(store.read(entry, 0, 4).data) == b"data"
    lose()
    put(store, "after")

    def chunks():
        yield b"x" * 2 * MIB
        yield b"x"
        lose()
        yield b"x" * 2 * MIB

    try:
        store.write("large", chunks(), Attributes(mtime_ns=0))
    except StoreError:
        assert raw.paths() == {"before", "after"}
    else:
        assert raw.read("large") == b"x" * (4 * MIB + 1)


async def _abort(session):
    session.abort()


def test_a_session_that_the_server_ends_is_made_again(sftp, opened, raw, folder):
    store = opened(keepalive_seconds=21)
    put(store, "file")
    entry = entry_of(store, "file")
    children = subprocess.run(
        ["pgrep", "-f", "sshd: .*notty"], capture_output=True, text=True
    ).stdout.split()  # those of other servers on this machine are left alone
    ours = [int(number) for number in children if _listens_for(int(number), sftp)]
    for number in ours:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    assert bytes(store.read(entry, 0, 4).data) == b"data"
    put(store, "other")
    assert raw.paths() == {"file", "other"}


def _listens_for(number, sftp):
    """Whether a process is a child of this server's."""
    with contextlib.suppress(OSError):
        while number > 1:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                if os.fsencode(sftp.folder / "sshd_config") in file.read():
                    return True
            with open(f"/proc/{number}/stat") as file:
                number = int(file.read().rpartition(")")[2].split()[1])
    return False


# URLs and settings.


def test_an_alias_of_the_ssh_config_names_host_port_and_user(sftp, folder, raw):
    registry = StoreRegistry({"sftp": {"config": str(sftp.config)}})
    put(registry.open(f"sftp://lab{folder}", "destination"), "file")
    assert raw.paths() == {"file"}


def test_jump_hosts_are_checked_like_any_host(sftp, folder, raw, tmp_path):
    through = {**sftp.settings(), "proxy_jump": f"{sftp.user}@127.0.0.1:{sftp.ports['shell']}"}
    url = f"sftp://{sftp.authority('sftp_only')}{folder}"
    put(StoreRegistry({"sftp": through}).open(url, "destination"), "file")
    config = tmp_path / "config"
    config.write_text(
        f"Match host 127.0.0.1 originalhost 127.0.0.1\n  ProxyJump lab\n{sftp.config.read_text()}"
    )
    put(StoreRegistry({"sftp": {"config": str(config)}}).open(url, "destination"), "other")
    assert raw.paths() == {"file", "other"}
    lines = sftp.known_hosts.read_text().splitlines(keepends=True)
    (tmp_path / "known").write_text("".join(lines[1:]))
    with pytest.raises(StoreUnavailableError, match=r"jump host .* no key is known"):
        StoreRegistry({"sftp": {**through, "known_hosts": str(tmp_path / "known")}}).open(
            url, "destination"
        ).stat("")


@pytest.mark.parametrize(
    ("authority", "place"),
    [
        ("host", Place("host")),
        ("user@host:22", Place("host", "user", 22)),
        ("a.b@c-d.e_f:65535", Place("c-d.e_f", "a.b", 65535)),
        ("[::1]:2222", Place("::1", None, 2222)),
        ("me@[fe80::1%eth0]", Place("fe80::1%eth0", "me")),
    ],
)
def test_urls_name_a_user_a_host_and_a_port(authority, place):
    assert Place.parse(Location.parse(f"sftp://{authority}/a b/#%?c").name) == place
    assert Location.parse(f"sftp://{authority}/a b/#%?c").path == "a b/#%?c"
    assert place.shown in (authority, authority.rpartition("@")[2])


@pytest.mark.parametrize(
    ("authority", "said"),
    [
        ("user:secret@host", "a password in the URL"),
        ("host:", "the port ''"),
        ("host:0", "the port '0'"),
        ("host:70000", "the port '70000'"),
        ("host:x", "the port 'x'"),
        ("-oProxyCommand=x", "no valid host"),
        ("@host", "no valid user"),
        ("-u@host", "no valid user"),
        ("::1", "no valid host"),
        ("[host]", "no IPv6 address"),
    ],
)
def test_other_urls_are_refused_without_their_secrets(authority, said):
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        Location.parse(f"sftp://{authority}/path")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"password": "secret"}, "password"),
        ({"port": 0}, "port"),
        ({"commands": "always"}, "commands"),
        ({"keepalive_seconds": -1}, "keepalive_seconds"),
    ],
)
def test_settings_are_checked_before_anything_is_opened(table, said):
    with pytest.raises(UsageError, match=said) as caught:
        StoreRegistry({"sftp": table})
    assert "secret" not in str(caught.value)
