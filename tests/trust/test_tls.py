"""A server whose certificate isn't trusted gets nothing; a site may name its own authority."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import assert_one_line_error, run, run_ok
from tests.needs import need
from tests.servers.s3 import ACCESS_KEY, REGION, SECRET_KEY, rclone_server
from tests.trees import contents, make_items, statuses

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_DEFAULT_REGION": REGION,
}


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority's certificate, and a server's that it has signed."""
    need("openssl", packages="openssl")
    folder = tmp_path_factory.mktemp("authority")
    key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(
        *("req", "-x509", *key, "-subj", "/CN=an authority of tests"),
        *("-keyout", folder / "ca.key", "-out", folder / "ca.pem"),
    )
    openssl(
        *("req", *key[:3], "-subj", "/CN=127.0.0.1"),
        *("-keyout", folder / "server.key", "-out", folder / "server.csr"),
    )
    names = folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl(
        *("x509", "-req", "-days", "2", "-in", folder / "server.csr", "-extfile", names),
        *("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial"),
        *("-out", folder / "server.pem"),
    )
    return folder


@pytest.fixture
def server(tmp_path: Path, authority: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a server that speaks TLS, and the folder of its one bucket."""
    options = ("--cert", str(authority / "server.pem"), "--key", str(authority / "server.key"))
    with rclone_server(tmp_path / "server", *options) as running:
        assert running.endpoint_url.startswith("https://")
        (running.folder / "bucket").mkdir()
        yield running.endpoint_url, running.folder / "bucket"


def make_joblist(tmp_path: Path, endpoint_url: str, *settings: str) -> Path:
    make_items(tmp_path / "in", 2)
    told = [word for text in settings for word in ("--set", text)]
    run_ok(
        *("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", "-l", "tree"),
        *("-d", "s3://bucket/some", "--set", f"s3.endpoint_url={endpoint_url}", *told),
    )
    return tmp_path / "list"


def test_a_certificate_of_nobody_known_is_refused_at_once(
    tmp_path: Path, server: tuple[str, Path]
) -> None:
    joblist = make_joblist(tmp_path, server[0])
    done = run("transfer-worker", "-i", joblist, env=ENVIRONMENT)
    assert_one_line_error(done, 4, server[0], "certificate", "ca_bundle")
    assert set(statuses(joblist).values()) == {"todo"}
    assert contents(server[1]) == {}


@pytest.mark.parametrize("how", ["setting", "environment"])
def test_a_sites_own_authority_may_be_named(
    tmp_path: Path, server: tuple[str, Path], authority: Path, how: str
) -> None:
    bundle = authority / "ca.pem"
    settings = [f"s3.ca_bundle={bundle}"] if how == "setting" else []
    joblist = make_joblist(tmp_path, server[0], *settings)
    env = ENVIRONMENT if settings else {**ENVIRONMENT, "AWS_CA_BUNDLE": str(bundle)}
    run_ok("transfer-worker", "-i", joblist, env=env)
    run_ok("jobtool", "verify", joblist, "--deep", env=env)
    assert contents(server[1] / "some") == contents(tmp_path / "in")


def test_a_bundle_that_is_not_there_ends_the_worker_before_it_claims_a_job(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, "https://127.0.0.1:1", "s3.ca_bundle=/no/such/file.pem")
    done = run("transfer-worker", "-i", joblist, env=ENVIRONMENT)
    assert_one_line_error(done, 2, "/no/such/file.pem", "ca_bundle")
    assert set(statuses(joblist).values()) == {"todo"}
