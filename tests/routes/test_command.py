"""``jobtool routes`` and ``explain_route``: what they show, with real folders and servers."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import jobtool
from jobtool.routes.conditions import Probed
from jobtool.routes.probe import StoreProbe
from jobtool.routes.sitesfile import load_sites
from tests.commands import assert_one_line_error, run, run_ok
from tests.servers.s3 import S3Server

TEXT = """
[sites.chile]
time_zone = "America/Santiago"
buffer = {{ url = "{folder}/chile" }}
[sites.relay]
buffer = {{ url = "{folder}/relay", keep_free = "1kB" }}
[sites.cologne]
buffer = {{ url = "{folder}/cologne" }}
archive = {{ url = "{folder}/archive" }}

[[routes]]
name = "night"
type = "direct"
from = "chile"
to = "cologne"
priority = 10
bandwidth = "1GB/s"
conditions = {{ hours = "22:00-06:00" }}

[[routes]]
name = "hop"
type = "relay"
from = "chile"
to = "cologne"
via = "relay"
methods = ["rsync", "stream"]
conditions = {{ reachable = true }}
"""


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    for name in ("chile", "relay", "cologne", "archive"):
        (tmp_path / name).mkdir()
    path = tmp_path / "sites.toml"
    path.write_text(TEXT.format(folder=tmp_path))
    return path


def told(sites: Path, *options: object, exit_code: int = 0) -> dict:
    done = run("jobtool", "routes", sites, "--from", "chile", "--to", "cologne", "--json", *options)
    assert (done.exit_code, done.stderr) == (exit_code, ""), done
    (line,) = done.lines
    return json.loads(line)


def test_it_shows_the_way_and_why(sites: Path) -> None:
    shown = run_ok(
        *("jobtool", "routes", sites, "--from", "chile", "--to", "cologne"),
        *("--at", "2026-11-27T23:00"),
    ).stdout
    words = " ".join(shown.split())
    assert "chile → cologne at 2026-11-27 23:00 -0300" in words
    assert "1 chile.buffer → cologne.archive" in words
    assert "route night · bandwidth 1GB/s" in words
    assert "passed over: lower priority than night (0 < 10)" in words


def test_json_has_the_same(sites: Path) -> None:
    found = told(sites, "--at", "2026-11-27T12:00", "--size", "30TB")
    assert found["event"] == "route"
    assert found["at"] == "2026-11-27T12:00:00-03:00"
    assert found["size_bytes"] == 30 * 10**12
    assert [(leg["from"], leg["to"], leg["methods"]) for leg in found["legs"]] == [
        ("chile.buffer", "relay.buffer", ["rsync", "stream"]),
        ("relay.buffer", "cologne.buffer", ["rsync", "stream"]),
    ]
    assert [(each["route"], each["verdict"]) for each in found["considered"]] == [
        ("night", "condition-unmet"),
        ("hop", "taken"),
    ]
    assert found["considered"][0]["usable_from"] == "2026-11-27T22:00:00-03:00"
    assert found["considered"][1]["assumed"] == [
        "relay.buffer is reachable",
        "cologne.buffer is reachable",
    ]
    same = jobtool.explain_route(
        sites, "chile", "cologne", at=datetime(2026, 11, 27, 15, tzinfo=UTC), size_bytes=30 * 10**12
    )
    assert same.json() | {"at": found["at"], "event": "route"} == found


def test_a_way_that_waits_is_exit_code_5_and_says_from_when(sites: Path) -> None:
    options = ("--at", "2026-11-27T12:00Z", "--to", "cologne.archive")
    found = told(sites, *options, exit_code=5)
    assert (found["is_usable"], found["legs"]) == (False, [])
    assert found["usable_from"] == "2026-11-27T22:00:00-03:00"
    done = run("jobtool", "routes", sites, "--from", "chile", *options)
    assert done.exit_code == 5
    assert "may be used from 2026-11-27 22:00 -0300" in " ".join(done.stdout.split())


def test_probing_looks_at_folders(sites: Path, tmp_path: Path) -> None:
    at = ("--at", "2026-11-27T12:00")
    assert told(sites, "--probe", *at)["considered"][1]["assumed"] == []
    free = shutil.disk_usage(tmp_path).free
    huge = told(sites, "--probe", *at, "--size", free + 10**15, exit_code=5)
    assert "keep_free 1kB: relay.buffer has" in huge["considered"][1]["why"]
    assert "cologne.buffer has" in huge["considered"][1]["why"]
    (tmp_path / "relay").rmdir()
    gone = told(sites, "--probe", *at, exit_code=5)
    assert "relay.buffer isn't: No such file" in gone["considered"][1]["why"]
    (tmp_path / "relay").write_bytes(b"a file")
    file = told(sites, "--probe", *at, exit_code=5)
    assert "relay.buffer isn't: Not a directory" in file["considered"][1]["why"]
    assert sorted(os.listdir(tmp_path)) == ["archive", "chile", "cologne", "relay", "sites.toml"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def probed(tmp_path: Path, url: str, settings: str = "{}", *, timeout_seconds: float = 60):
    path = tmp_path / "sites.toml"
    path.write_text(f'[sites.a.buffer]\nurl = "{url}"\nsettings = {settings}\n')
    found = load_sites(str(path))
    probe = StoreProbe(found, timeout_seconds=timeout_seconds)
    return probe(found.sites["a"].locations["buffer"])


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, silent_port: int) -> None:
    found = probed(tmp_path, f"http://127.0.0.1:{silent_port}/x", timeout_seconds=0.5)
    assert found.is_reachable is False
    assert found.why == "no answer within 0.5 s"


def test_a_server_that_refuses_connections_is_not_reachable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it
        found = probed(tmp_path, f"sftp://127.0.0.1:{taken.getsockname()[1]}/x")
    assert found.is_reachable is False
    assert found.why


def test_a_bucket_is_asked_by_the_settings_of_its_location(
    tmp_path: Path, moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, moto_s3.environment[name])
    settings = f'{{ endpoint_url = "{moto_s3.endpoint_url}" }}'
    moto_s3.client.create_bucket(Bucket="routes-there")
    found = probed(tmp_path, "s3://routes-there/buffer", settings)
    assert found == Probed(is_reachable=True)
    missing = probed(tmp_path, "s3://routes-nowhere/buffer", settings)
    assert missing.is_reachable is False
    assert "routes-nowhere" in missing.why


def test_without_credentials_nothing_is_known(tmp_path: Path, moto_s3: S3Server) -> None:
    settings = f'{{ endpoint_url = "{moto_s3.endpoint_url}" }}'
    found = probed(tmp_path, "s3://routes-there/buffer", settings)
    assert found.is_reachable is None
    assert "credentials" in found.why


def test_settings_that_no_store_has_are_unknown_not_unreachable(tmp_path: Path) -> None:
    found = probed(tmp_path, "sftp://127.0.0.1/x", '{ nonsense = "3" }')
    assert found.is_reachable is None
    assert "nonsense" in found.why


def test_an_ssh_config_of_others_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "sites.toml"
    path.write_text(
        '[sites.a.buffer]\nurl = "sftp://127.0.0.1/x"\n'
        f'settings = {{ config = "{tmp_path}/config" }}\n'
    )
    (tmp_path / "config").write_text(f"Host *\n  ProxyCommand touch {tmp_path}/ran\n")
    path.chmod(0o666)
    found = load_sites(str(path))
    answer = StoreProbe(found)(found.sites["a"].locations["buffer"])
    assert answer.is_reachable is None
    assert "ssh_config" in answer.why
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--from", "chile"), ("--to",)),
        (("--from", "chile", "--to", "colonge"), ("to:", "Did you mean 'cologne'?")),
        (("--from", "relay", "--to", "chile"), ("no route goes from relay to chile", "custom")),
        (("--from", "chile", "--to", "cologne", "--at", "noon"), ("--at", "'noon'")),
        (("--from", "relay", "--to", "cologne", "--at", "2026-11-27T12:00"), ("offset", "+01:00")),
        (("--from", "chile", "--to", "cologne", "--at", "0001-01-01T00:00Z"), ("from 1970",)),
        (("--from", "chile", "--to", "cologne", "--size", "10%"), ("--size", "30TB", "10%")),
        (("--from", "chile", "--to", "cologne", "--size", "-3"), ("--size", "-3")),
    ],
)
def test_wrong_use_is_one_clear_line(
    sites: Path, options: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert_one_line_error(run("jobtool", "routes", sites, *options), 2, *expected)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run("jobtool", "routes", tmp_path / "no.toml", "--from", "a", "--to", "b")
    assert_one_line_error(done, 2, f"{tmp_path}/no.toml", "No such file")
