"""The example of a site's own provider: it is as the page shows it, and a worker uses it."""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.blocks import ROOT
from tests.commands import assert_one_line_error, run, run_ok
from tests.faults.worlds import Bucket, World, make_joblist
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from tests.trees import events, make_items

PACKAGE = ROOT / "examples" / "site_credentials"
MODULE = "our_site_credentials.py"
EXPIRATION = "2999-11-20T14:31:00Z"


def install(folder: Path) -> Path:
    """Lay the example out as pip would: the module, and what its metadata says."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    information = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (folder / MODULE).write_bytes((PACKAGE / MODULE).read_bytes())
    return folder


@pytest.fixture
def asked() -> list[dict[str, list[str]]]:
    return []


@pytest.fixture
def broker(asked: list[dict[str, list[str]]]) -> Iterator[str]:
    keys = {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Expiration": EXPIRATION}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(parse_qs(urlsplit(self.path).query))
            body = json.dumps({"Version": 1, **keys}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/s3"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_page_shows_the_example_as_it_is() -> None:
    page = (ROOT / "docs" / "how-to" / "credentials.md").read_text()
    assert f"```python\n{(PACKAGE / MODULE).read_text()}```" in page


def test_a_worker_uses_what_a_package_of_the_site_gives(
    tmp_path: Path,
    rclone_s3: S3Server,
    broker: str,
    asked: list[dict[str, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(install(tmp_path / "site")), prepend=":")
    source = make_items(tmp_path / "source", 2)
    bucket = Bucket(rclone_s3, rclone_s3.new_bucket())
    joblist = make_joblist(
        tmp_path / "list",
        source,
        bucket.url,
        credentials={"provider": "our-site", "url": broker},
    )
    environment = rclone_s3.environment
    del environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    run_ok("transfer-worker", "-i", joblist, "-v", 0, env=environment)
    World(source, joblist, bucket).assert_perfect()
    assert asked == [
        {"job": [job], "url": [f"{bucket.url}/{job}"], "permission": ["READWRITE"]}
        for job in ("item000", "item001")
    ]
    (line,) = events(joblist / "item000.txt", "credentials")
    assert f"provider=our-site key=ESTS expires={EXPIRATION}" in line
    settings = joblist / "joblist.toml"
    settings.write_text(settings.read_text().replace("\nurl = ", "\nurk = "))
    done = run("transfer-worker", "-i", joblist, env=environment)
    assert_one_line_error(done, 2, "our-site: expected url; found ['urk']")
