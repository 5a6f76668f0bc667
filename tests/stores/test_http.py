"""Web servers as sources: nginx's indexes, ranges, changes, redirects, logins, errors."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import httpx
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from jobtool.errors import (
    CredentialsError,
    FileError,
    NotFoundError,
    RefusedError,
    ServerError,
    SourceChangedError,
    SourceDigestError,
    SourceError,
    StoreError,
    StoreSettingsError,
    StoreUnavailableError,
    UnreachableError,
    UsageError,
)
from jobtool.md5 import md5_of
from jobtool.stores.http import store as http_store
from jobtool.stores.http.index import parse_index
from jobtool.stores.http.requests import login_header
from jobtool.stores.location import Location, file_below
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry, Special, Unlisted, entry_of, kind_of
from jobtool.stores.webaddress import decoded, encoded
from jobtool.testing.store_suite import PrunesSuite, SourceSuite
from tests import commands
from tests.servers.nginx import LOGIN, PASSWORD, TOKEN
from tests.stores.raw import LocalRaw

SECOND_NS = 1_000_000_000
MTIME_NS = 1_700_000_000 * SECOND_NS
HIDDEN = "nginx's index leaves out names that begin with a dot"


@pytest.fixture(autouse=True)
def no_logins_of_the_developer(monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("JOBTOOL_BEARER", "SSL_CERT_FILE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def area(nginx):
    """An empty folder that the server serves, as ``/NAME``."""
    for found in nginx.files.iterdir():
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    made = nginx.files / "some 100% #prefix? ü"
    made.mkdir()
    return made


@pytest.fixture
def raw(area):
    return LocalRaw(str(area))


@pytest.fixture
def plain(nginx, area):
    """The name of a folder with a file. nginx's redirects leave marks in names as they are."""
    LocalRaw(str(nginx.files)).write("plain/file", b"data")
    return "plain"


def opened(url, **tables):
    return StoreRegistry(tables).open(url, "source")


class NginxSuite(SourceSuite, PrunesSuite):
    time_resolution_ns: ClassVar = SECOND_NS
    unsupported_names: ClassVar = {".hidden": HIDDEN, "...": HIDDEN, "..a": HIDDEN}

    @pytest.fixture
    def raw(self, area):
        return LocalRaw(str(area))


class TestJsonIndex(NginxSuite):
    @pytest.fixture
    def store(self, nginx, area):
        return opened(f"http://127.0.0.1:{nginx.json}/{area.name}")


@pytest.mark.wide
class TestHtmlIndex(NginxSuite):
    @pytest.fixture
    def store(self, nginx, area):
        return opened(f"http://127.0.0.1:{nginx.html}/{area.name}")


@pytest.mark.wide
class TestWithoutHead(NginxSuite):
    @pytest.fixture
    def store(self, nginx, area):
        return opened(f"http://127.0.0.1:{nginx.json}/no-head/{area.name}")


@pytest.fixture
def url(nginx, area):
    return f"http://127.0.0.1:{nginx.json}/{area.name}"


@pytest.fixture
def store(url):
    return opened(url)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h.example/a%20b/100%25/%23%3F", "http://h.example/a b/100%/#?"),
        ("HTTPS://h.example:8443/%C3%BC", "https://h.example:8443/ü"),
        ("http://[::1]:80/x/", "http://[::1]:80/x"),
        ("http://h/plain ü 100%", "http://h/plain ü 100%"),
        ("http://h/%FF", "http://h/\udcff"),
        ("http://h", "http://h"),
    ],
)
def test_an_address_that_people_write_has_plain_names_here(text, expected):
    assert Location.resolve(text).url == expected
    if "/" in expected.partition("://")[2]:
        assert file_below(None, text.rstrip("/")) == expected


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
@example("\udcff")
@example("%2F#?")
def test_every_name_survives_its_address(name):
    assume(name not in (".", ".."))
    assert decoded(encoded(name)) == name
    typed = f"http://h.example/folder/{encoded(name)}"
    assert Location.resolve(typed).url == f"http://h.example/folder/{name}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h/x?key=v", "without a query"),
        ("http://h?key", "without a query"),
        ("http://h/x#part", "write %23"),
        ("http://h/a%2Fb", "encoded slash"),
        ("http://h/a//b", "an empty part"),
        ("http://h/a/%2E%2E/b", "a part '..'"),
        ("http://h:0/x", "HOST or HOST:PORT"),
        ("http://h:99999/x", "HOST or HOST:PORT"),
        ("http://h:x/", "HOST or HOST:PORT"),
        ("http://-h/x", "HOST or HOST:PORT"),
        ("http:///x", "expected a host"),
    ],
)
def test_addresses_that_name_no_file_are_refused(text, expected):
    with pytest.raises(UsageError) as caught:
        Location.resolve(text)
    assert expected in str(caught.value)
    with pytest.raises(FileError):
        file_below(None, text)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("login", ["me:hunter2hunter2@", "hunter2hunter2@"])
def test_a_login_in_an_address_is_refused_and_not_repeated(scheme, login):
    with pytest.raises(UsageError, match="netrc") as caught:
        Location.resolve(f"{scheme}://{login}h.example/x")
    assert "hunter2" not in str(caught.value)


def test_an_address_is_no_destination(store):
    with pytest.raises(UsageError, match="can only be a source"):
        StoreRegistry().open(store.url, "destination")


def test_a_joblist_to_an_address_is_refused_at_once(tmp_path):
    (tmp_path / "in").mkdir()
    done = commands.run(
        "generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "jobs", "-d", "http://h/x"
    )
    commands.assert_one_line_error(done, 2, "http://h/x", "can only be a source")


def test_a_small_file_takes_one_request(nginx, store, raw):
    raw.write("file", b"data")
    (entry,) = store.list()
    before = len(nginx.log())
    assert bytes(store.read(entry, 0, 4).data) == b"data"
    (line,) = nginx.log()[before:]
    assert line.split()[1] == "GET"


def test_connections_are_used_again(nginx, store, raw):
    for number in range(20):
        raw.write(f"{number}", b"x" * number)
    entries = list(store.list())
    before = nginx.connections()
    for entry in entries:
        store.read(entry, 0, entry.size)
    assert nginx.connections() <= before + 1  # of 20


def test_empty_folders_and_folders_that_cannot_be_listed_are_told(store, raw, area):
    raw.write("a/file", b"1")
    (area / "b").mkdir()
    (area / "c").mkdir()
    (area / "c" / "index.html").write_text("<title>Welcome</title><a href='x'>x</a>")
    found = {item.path: item for item in store.list()}
    assert isinstance(found["a/file"], Entry)
    assert found["b"] == Special("b", "empty-folder")
    assert isinstance(found["c"], Unlisted)
    assert found["c"].is_folder
    assert "another page (text/html). Let the server list" in str(found["c"].error)


def test_a_server_that_lists_nothing_says_what_to_do(nginx, area, raw):
    raw.write("file", b"data")
    store = opened(f"http://127.0.0.1:{nginx.plain}/{area.name}")
    with pytest.raises(RefusedError, match="--layout manifest"):
        list(store.list())
    assert kind_of(store, "") == "folder"
    assert store.digest("file") == md5_of(b"data")


def test_a_server_without_ranges_sends_the_whole_and_the_rest_is_left(
    nginx, area, raw, monkeypatch
):
    raw.write("file", b"0123456789")
    store = opened(f"http://127.0.0.1:{nginx.plain}/{area.name}")
    entry = entry_of(store, "file")
    assert bytes(store.read(entry, 3, 4).data) == b"3456"
    monkeypatch.setattr(http_store, "MOST_SKIPPED_BYTES", 5)
    with pytest.raises(SourceError, match="part_size_bytes"):
        store.read(entry, 3, 4)
    assert bytes(store.read(entry, 0, 10).data) == b"0123456789"


@pytest.mark.parametrize("length", [1000, 10])
def test_a_file_that_changes_in_the_middle_is_noticed(store, raw, length):
    raw.write("file", b"a" * 1000, mtime_ns=MTIME_NS)
    entry = entry_of(store, "file")
    assert bytes(store.read(entry, 0, 10).data) == b"a" * 10
    raw.write("file", b"b" * 1000, mtime_ns=MTIME_NS + SECOND_NS)
    with pytest.raises(SourceChangedError, match="file"):
        store.read(entry, 0, length)


@pytest.mark.parametrize("name", ["claimed", "claimed-before", "claimed-first"])
def test_the_md5_that_a_server_claims_must_be_that_of_the_bytes(nginx, raw, area, name, tmp_path):
    raw.write("file", b"data")
    base = f"http://127.0.0.1:{nginx.json}/{name}/{area.name}"
    store = opened(base)
    content = store.read(entry_of(store, "file"), 0, 4)
    assert content.attributes.md5 == md5_of(b"data")
    part = store.read(entry_of(store, "file"), 0, 2)
    assert part.attributes.md5 == (None if name == "claimed-first" else md5_of(b"data"))
    raw.write("file", b"DATA")
    table = tmp_path / "files.csv"
    source = base.replace("%", "%25").replace("#", "%23").replace("?", "%3F")
    table.write_text(f'src_path,dst_path\n"{source}/file",out/file\n')
    commands.run_ok(
        "generate-joblist", "-i", table, "-o", tmp_path / "jobs", "-d", tmp_path, "-v", 0
    )
    with open(tmp_path / "jobs" / "joblist.toml", "a") as file:
        file.write("\n[transfer]\nmax_attempts = 1\n")
    done = commands.run("transfer-worker", "-i", tmp_path / "jobs")
    assert done.exit_code == 1
    assert "expected MD5 8d777f385d3dfec8815d20f7496026dc as in its metadata" in (
        done.stdout + done.stderr
    )
    assert SourceDigestError.retryable
    assert not (tmp_path / "out" / "file").exists()


def test_redirects_are_followed_but_not_for_ever_nor_out_of_tls(nginx, plain):
    trusted = {"ca_bundle": nginx.certificate}
    base = f"http://127.0.0.1:{nginx.json}"
    assert opened(f"{base}/moved/{plain}").digest("file") == md5_of(b"data")
    to_tls = opened(f"{base}/to-tls/{plain}", http=trusted)
    assert to_tls.digest("file") == md5_of(b"data")
    with pytest.raises(SourceError, match="at most 5 redirects"):
        opened(base).stat("loop")
    with pytest.raises(SourceError, match="to http:// or https://"):
        opened(base).stat("to-ftp")
    with pytest.raises(SourceError, match="isn't encrypted"):
        opened(f"https://127.0.0.1:{nginx.tls}/down", https=trusted).stat(f"{plain}/file")


def test_an_untrusted_certificate_is_refused(nginx, area, raw, monkeypatch, tmp_path):
    raw.write("file", b"data")
    url = f"https://127.0.0.1:{nginx.tls}/{area.name}"
    with pytest.raises(StoreUnavailableError, match="doesn't trust the certificate"):
        opened(url).stat("file")
    trusted = opened(url, https={"ca_bundle": nginx.certificate})
    assert [entry.path for entry in trusted.list()] == ["file"]
    monkeypatch.setenv("SSL_CERT_FILE", nginx.certificate)
    assert opened(url).digest("file") == md5_of(b"data")
    with pytest.raises(StoreSettingsError, match="ca_bundle"):
        opened(url, https={"ca_bundle": str(tmp_path / "none")})


@pytest.mark.parametrize("name", ["login", "token"])
def test_a_login_comes_from_the_machine_and_is_sent_to_its_host_alone(
    nginx, area, raw, monkeypatch, tmp_path, name
):
    raw.write("file", b"data")
    url = f"http://127.0.0.1:{nginx.json}/{name}/{area.name}"
    with pytest.raises(CredentialsError, match="netrc"):
        opened(url).stat("file")
    if name == "login":
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {LOGIN} password {PASSWORD}\n")
    else:
        monkeypatch.setenv("JOBTOOL_BEARER", f"other=x 127.0.0.1:{nginx.json}={TOKEN}")
    assert opened(url).digest("file") == md5_of(b"data")


@pytest.mark.parametrize(
    ("url", "is_sent"),
    [
        ("https://h.example/x", True),
        ("http://h.example/x", False),
        ("https://other.example/x", False),
        ("https://h.example:8443/x", True),
    ],
)
def test_a_login_goes_to_no_other_host_and_through_no_open_network(url, is_sent, monkeypatch):
    monkeypatch.setenv("JOBTOOL_BEARER", f"h.example={TOKEN}")
    assert login_header(httpx.URL(url)) == ({"Authorization": f"Bearer {TOKEN}"} if is_sent else {})


def test_a_redirect_to_another_host_gets_no_login(nginx, plain, tmp_path):
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {LOGIN} password {PASSWORD}\n")
    before = len(nginx.log())
    store = opened(
        f"https://127.0.0.1:{nginx.tls}/away/{plain}", https={"ca_bundle": nginx.certificate}
    )
    assert store.digest("file") == md5_of(b"data")
    logins = ["Basic" in line for line in nginx.log()[before:]]
    assert logins == [True, False] * (len(logins) // 2)


@pytest.mark.parametrize(
    ("text", "expected"), [("machine h bogus word", "netrc's format"), ("machine \xff", "netrc")]
)
def test_a_file_of_logins_that_cannot_be_read_is_named(store, tmp_path, text, expected):
    (tmp_path / "netrc").write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreSettingsError, match=expected):
        store.stat("file")


def test_a_variable_of_tokens_of_another_form_is_named_without_them(store, monkeypatch):
    monkeypatch.setenv("JOBTOOL_BEARER", "token-without-host")
    with pytest.raises(StoreSettingsError, match="JOBTOOL_BEARER") as caught:
        store.stat("file")
    assert "token-without" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("denied", RefusedError),
        ("broken", ServerError),
        ("busy", StoreError),
        ("teapot", SourceError),
        ("nothing", NotFoundError),
    ],
)
def test_each_status_is_an_error_of_its_scope(nginx, area, name, error):
    store = opened(f"http://127.0.0.1:{nginx.json}/{name}")
    with pytest.raises(error, match="file") as caught:
        store.read(Entry("file", 4, MTIME_NS), 0, 4)
    assert type(caught.value) is error


def test_a_port_without_a_server_and_a_host_that_is_not_there_are_told(tmp_path):
    store = opened(f"http://127.0.0.1:{commands.unused_port()}/x")
    with pytest.raises(UnreachableError, match=r"can't reach http://127\.0\.0\.1:"):
        store.stat("file")
    with pytest.raises(UnreachableError, match=r"can't reach http://nothing\.invalid"):
        opened("http://nothing.invalid").stat("file")


def test_https_to_a_server_without_tls_is_told(nginx):
    with pytest.raises(StoreUnavailableError, match="doesn't speak TLS"):
        opened(f"https://127.0.0.1:{nginx.json}").stat("file")


def test_a_server_of_another_protocol_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with server.accept()[0] as connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
                connection.recv(1000)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(StoreUnavailableError, match="doesn't speak HTTP"):
            opened(f"http://127.0.0.1:{server.getsockname()[1]}").stat("file")
        thread.join()


def test_a_setting_that_is_unknown_is_named():
    with pytest.raises(UsageError, match="ca_bundel"):
        StoreRegistry({"http": {"ca_bundel": "x"}})


class Scripted(BaseHTTPRequestHandler):
    """Answers with what the test has put into ``answers``; the last one stays."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[list] = []

    def do_GET(self):
        status, headers, body = self.answers[0]
        if len(self.answers) > 1:
            self.answers.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def scripted():
    """A server that does what nginx never does."""

    @contextlib.contextmanager
    def serve(*answers):
        handler = type("Handler", (Scripted,), {"answers": list(answers)})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield opened(f"http://127.0.0.1:{server.server_port}")
            finally:
                server.shutdown()
                thread.join()

    return serve


def part(etag, start=0, body=b"1234", size=10, **more):
    span = f"bytes {start}-{start + len(body) - 1}/{size}"
    told = {"ETag": etag, "Content-Range": span, "Content-Length": str(len(body)), **more}
    return 206, told, body


def test_parts_of_different_etags_are_not_mixed(scripted):
    with scripted(part('"a"'), part('"b"'), part('W/"b"')) as store:
        entry = Entry("file", 10, 0)
        store.read(entry, 0, 4)
        with pytest.raises(SourceChangedError):
            store.read(entry, 0, 4)
        store.read(entry, 0, 4)  # as a try that begins the file again does


def test_an_answer_that_breaks_off_or_has_other_bytes_is_a_failure_that_may_pass(scripted):
    whole = (200, {"Content-Length": "10"}, b"1234")
    with scripted(whole) as store, pytest.raises(ServerError, match="broke off"):
        store.read(Entry("file", 10, 0), 0, 10)
    with scripted(part('"a"', start=2)) as store, pytest.raises(ServerError, match="from 0"):
        store.read(Entry("file", 10, 0), 0, 4)


def test_a_file_without_a_size_is_refused(scripted):
    chunked = (200, {"Transfer-Encoding": "chunked"}, b"1\r\nx\r\n0\r\n\r\n")
    with scripted(chunked) as store, pytest.raises(SourceError, match="Content-Length"):
        store.stat("file")


def test_a_content_encoding_is_part_of_the_file(scripted):
    headers = {"Content-Length": "4", "Content-Encoding": "gzip"}
    with scripted((200, headers, b"\x1f\x8b12")) as store:
        content = store.read(Entry("file", 4, 0), 0, 4)
        assert bytes(content.data) == b"\x1f\x8b12"
        assert content.attributes.headers == (("Content-Encoding", "gzip"),)


APACHE = b"""<html><head><title>Index of /d</title></head><body><h1>Index of /d</h1><table>
<tr><th><a href="?C=N;O=D">Name</a></th></tr><tr><td><a href="/">Parent Directory</a></td></tr>
<tr><td><a href="a%20b.tif">a b.tif</a></td><td align="right">1.2K</td></tr>
<tr><td><a href="sub/">sub/</a></td></tr><tr><td><a href="/d/rooted&amp;x">x</a></td></tr>
<tr><td><a href="http://elsewhere/d/y">y</a></td></tr></table></body></html>"""


def test_apaches_index_is_read():
    found = parse_index(APACHE, "text/html;charset=UTF-8", "http://h/d/")
    assert [(item.name, item.is_folder) for item in found] == [
        ("a b.tif", False),
        ("sub", True),
        ("rooted&x", False),
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<title>Welcome</title><a href='x'>", "text/html"),
        (b'{"name": "x"}', "application/json"),
        (b"[1]", "application/json"),
        (b"[", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"data", "application/octet-stream"),
    ],
)
def test_what_is_no_index_is_not_taken_for_an_empty_one(body, kind):
    assert parse_index(body, kind, "http://h/d/") is None
