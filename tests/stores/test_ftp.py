"""FTP servers as sources: pyftpdlib's, with and without TLS, and one without MLSD."""

from __future__ import annotations

import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from jobtool.errors import (
    CredentialsError,
    NotFoundError,
    RefusedError,
    SourceChangedError,
    SourceError,
    StoreUnavailableError,
    UnreachableError,
    UsageError,
)
from jobtool.md5 import md5_of
from jobtool.stores.ftp.facts import parse_facts
from jobtool.stores.location import Location
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, Special, entry_of, kind_of
from jobtool.testing.store_suite import PrunesSuite, SourceSuite
from tests import commands
from tests.servers.ftp import LOGIN, PASSWORD
from tests.stores.raw import LocalRaw

SECOND_NS = 1_000_000_000
MTIME_NS = 1_700_000_000 * SECOND_NS
LINES = "FTP's commands are lines"


@pytest.fixture(autouse=True)
def no_logins_of_the_developer(monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest.fixture
def area(ftp):
    """An empty folder that the server serves, as ``/NAME``."""
    for found in ftp.files.iterdir():
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    made = ftp.files / "some 100% #prefix? ü"
    made.mkdir()
    return made


@pytest.fixture
def raw(area):
    return LocalRaw(str(area))


def opened(url, **tables):
    return StoreRegistry(tables).open(url, "source")


class FtpSuite(SourceSuite, PrunesSuite):
    time_resolution_ns: ClassVar = SECOND_NS
    refused_names: ClassVar = {"new\nline": LINES, "carriage\rreturn": LINES}
    unsupported_names: ClassVar = {"not UTF-8 \udcff\udc80": "pyftpdlib takes only UTF-8"}

    @pytest.fixture
    def raw(self, area):
        return LocalRaw(str(area))


class TestPlain(FtpSuite):
    @pytest.fixture
    def store(self, ftp, area):
        return opened(f"ftp://127.0.0.1:{ftp.plain}/{area.name}")


@pytest.mark.wide
class TestEncrypted(FtpSuite):
    @pytest.fixture
    def store(self, ftp, area):
        url = f"ftps://127.0.0.1:{ftp.tls}/{area.name}"
        return opened(url, ftps={"ca_bundle": ftp.certificate})


@pytest.fixture
def store(ftp, area):
    return opened(f"ftp://127.0.0.1:{ftp.plain}/{area.name}")


def test_addresses_are_written_as_those_of_web_servers():
    assert Location.resolve("ftp://h:21/a%20b").url == "ftp://h:21/a b"
    for text, expected in (("ftp://me:hunter2hunter2@h/x", "netrc"), ("ftp://h/x#y", "fragment")):
        with pytest.raises(UsageError, match=expected) as caught:
            Location.resolve(text)
        assert "hunter2" not in str(caught.value)


def test_a_part_of_a_file_is_read_by_rest_and_the_connection_goes_on(ftp, store, raw):
    data = bytes(range(256)) * 40_000
    raw.write("file", data)
    entry = entry_of(store, "file")
    before = ftp.log().count("USER")
    for offset, length in ((5_000_000, 1000), (0, 10), (len(data) - 3, 3), (7, 5_000_000)):
        assert bytes(store.read(entry, offset, length).data) == data[offset : offset + length]
    assert ftp.log().count("USER") == before


@pytest.mark.parametrize("data", [b"b" * 1000, b"a" * 2000, b"a" * 10])
def test_a_file_that_changes_in_the_middle_is_noticed(store, raw, data):
    raw.write("file", b"a" * 1000, mtime_ns=MTIME_NS)
    entry = entry_of(store, "file")
    store.read(entry, 0, 10)
    raw.write("file", data, mtime_ns=MTIME_NS + SECOND_NS)
    for offset, length in ((10, 990), (0, 1000), (0, 10)):
        with pytest.raises(SourceChangedError, match="file"):
            store.read(entry, offset, length)


def test_empty_folders_are_told(store, area):
    (area / "b").mkdir()
    assert list(store.list()) == [Special("b", "empty-folder")]


def test_a_name_with_a_newline_makes_its_folder_unlisted(store, raw):
    raw.write("a/file", b"1")
    raw.write("b/new\nline", b"1")
    found = {item.path: item for item in store.list()}
    assert set(found) == {"a/file", "b"}
    assert "may have a newline" in str(found["b"].error)


def test_a_server_without_mlsd_reads_what_is_named(ftp, area, raw):
    raw.write("folder/file", b"data", mtime_ns=MTIME_NS)
    store = opened(f"ftp://127.0.0.1:{ftp.old}/{area.name}")
    assert store.stat("folder/file") == Entry("folder/file", 4, MTIME_NS)
    assert [kind_of(store, path) for path in ("", "folder", "no")] == ["folder"] * 2 + ["missing"]
    assert store.digest("folder/file") == md5_of(b"data")
    with pytest.raises(SourceError, match=r"no MLSD.*--layout manifest"):
        list(store.list())


def test_threads_share_the_connections_that_a_server_allows(ftp, area, raw):
    for number in range(40):
        raw.write(f"{number}", b"x" * number)
    store = opened(f"ftp://127.0.0.1:{ftp.few}/{area.name}")
    entries = [entry for entry in store.list() if isinstance(entry, Entry)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda entry: store.read(entry, 0, entry.size).data, entries))
    assert [len(data) for data in found] == [entry.size for entry in entries]


def test_the_login_is_that_of_netrc(ftp, area, raw, tmp_path):
    raw.write("file", b"data")
    netrc = tmp_path / "netrc"
    url = f"ftp://127.0.0.1:{ftp.plain}/{area.name}"
    netrc.write_text(f"machine 127.0.0.1 login {LOGIN} password {PASSWORD}\n")
    assert opened(url).digest("file") == md5_of(b"data")
    assert f"[{LOGIN}]" in ftp.log()
    netrc.write_text(f"machine 127.0.0.1 login {LOGIN} password wrong-password\n")
    with pytest.raises(CredentialsError, match="netrc") as caught:
        opened(url).stat("file")
    assert "wrong-password" not in str(caught.value)


def test_an_untrusted_certificate_and_a_server_without_tls_are_told(ftp, area, raw):
    raw.write("file", b"data")
    with pytest.raises(StoreUnavailableError, match="doesn't trust the certificate"):
        opened(f"ftps://127.0.0.1:{ftp.tls}/{area.name}").stat("file")
    with pytest.raises(StoreUnavailableError, match="ftps:// instead of ftp://"):
        opened(f"ftps://127.0.0.1:{ftp.plain}/{area.name}").stat("file")
    with pytest.raises(StoreUnavailableError, match="ftps:// instead of ftp://"):
        opened(f"ftp://127.0.0.1:{ftp.tls}/{area.name}").stat("file")


def test_what_is_not_there_is_told(ftp, store):
    with pytest.raises(UnreachableError, match="can't reach"):
        opened(f"ftp://127.0.0.1:{commands.unused_port()}").stat("file")
    with pytest.raises(UnreachableError, match="no host of this name"):
        opened("ftp://nothing.invalid").stat("file")
    with pytest.raises(NotFoundError, match="missing"):
        store.read(Entry("missing", 1, 0), 0, 1)


def serve(*answers):
    """Start a server that answers each line with the next of these; return its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer():
        with server, server.accept()[0] as connection, connection.makefile("rb") as lines:
            for text in answers:
                connection.sendall(text.encode() + b"\r\n")
                lines.readline()

    threading.Thread(target=answer).start()
    return server.getsockname()[1]


LOGGED_IN = ("220 hello", "230 in", "200 binary", "200 UTF-8", '257 "/home/me"')


def test_a_server_of_another_protocol_is_told():
    with pytest.raises(StoreUnavailableError, match="doesn't speak FTP"):
        opened(f"ftp://127.0.0.1:{serve('HTTP/1.1 400 Bad Request')}").stat("file")


def test_a_refusal_of_access_is_not_a_missing_file():
    with pytest.raises(StoreUnavailableError):
        opened(f"ftp://127.0.0.1:{serve('500 no')}").stat("file")
    port = serve(*LOGGED_IN, "553 Permission denied")
    with pytest.raises(RefusedError):
        opened(f"ftp://127.0.0.1:{port}").stat("file")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("type=file;size=3;modify=20231114221320; a b ", ("a b ", "file", 3, MTIME_NS)),
        ("Type=dir;Modify=20231114221320.5; x", ("x", "folder", None, MTIME_NS + 500_000_000)),
        ("type=OS.unix=slink:/x;size=1; l", ("l", "other", 1, None)),
        ("type=cdir; .", (".", "itself", None, None)),
        ("size=x;type=file;modify=20239999999999;  lead", (" lead", "file", None, None)),
    ],
)
def test_facts_are_read(line, expected):
    facts = parse_facts(line)
    assert (facts.name, facts.kind, facts.size, facts.mtime_ns) == expected


@pytest.mark.parametrize("line", ["", "line", "-rw-r--r-- 1 me me 3 Nov 14 name", "; x"])
def test_what_has_no_facts_is_no_entry(line):
    assert parse_facts(line) is None
