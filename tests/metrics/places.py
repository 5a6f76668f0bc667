"""Places for metrics: a collector's folder, a server for points, a UDP socket; and joblists."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from line_protocol_parser import parse_line
from prometheus_client.parser import text_string_to_metric_families

from tests.prepare import prepare
from tests.trees import make_items, write

#: A sample's name and its labels.
Sample = tuple[str, tuple[tuple[str, str], ...]]


def samples_of(text: str) -> dict[Sample, float]:
    """The samples of a whole textfile, as Prometheus's own library reads it; none twice."""
    assert text.endswith("\n")
    found: dict[Sample, float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in ("counter", "gauge")
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def textfiles(folder: Path) -> dict[str, dict[Sample, float]]:
    """The samples of each textfile in a collector's folder, by the file's name."""
    return {path.name: samples_of(path.read_text()) for path in sorted(folder.glob("*.prom"))}


def totals(folder: Path) -> Counter[str]:
    """The sum of each metric over all textfiles. No two files may have the same sample."""
    seen: set[Sample] = set()
    sums: Counter[str] = Counter()
    for samples in textfiles(folder).values():
        assert seen.isdisjoint(samples)
        seen.update(samples)
        for (name, _), value in samples.items():
            sums[name] += value
    return sums


class Points:
    """A server that keeps the points that are posted, as another parser reads them.

    ``status`` is its answer. While ``is_hanging`` is set it doesn't answer at all.
    """

    def __init__(self) -> None:
        self.status = 204
        self.answer = b""
        self.is_hanging = threading.Event()
        self.goes_on = threading.Event()
        self.points: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.tokens: list[str | None] = []
        self.url = ""

    def sum(self, field: str) -> float:
        return sum(point["fields"].get(field, 0) for point in self.points)


@contextmanager
def points_server() -> Iterator[Points]:
    """A server on a free port of this machine."""
    kept = Points()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.paths.append(self.path)
            kept.tokens.append(self.headers["Authorization"])
            if kept.is_hanging.is_set():
                kept.goes_on.wait(60)
                return
            if kept.status == 204:
                kept.points += [parse_line(line) for line in body.decode().split("\n") if line]
            self.send_response(kept.status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(kept.answer)))
            self.end_headers()
            self.wfile.write(kept.answer)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_port}/api/v2/write?org=lab&bucket=moves"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kept
    finally:
        kept.goes_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


def make_joblist(
    folder: Path, jobs: int = 3, *, size: int | None = None, metrics: str = "", steps: str = "copy"
) -> Path:
    """A joblist of folders, each with two small files or one of ``size``, and ``[metrics]``."""
    if size is None:
        make_items(folder / "in", jobs)
    for number in range(jobs if size is not None else 0):
        write(folder / "in" / f"item{number:03d}" / "0.bin", os.urandom(size or 0))
    joblist = folder / "list"
    prepare(
        *("generate-joblist", "-i", folder / "in", "-o", joblist, "-d", folder / "out"),
        *("-l", "tree", "-v", 0, "--steps", steps),
    )
    write_metrics(joblist, metrics)
    return joblist


def write_metrics(joblist: Path, metrics: str) -> None:
    """Add the table to a joblist."""
    if metrics:
        with (joblist / "joblist.toml").open("a") as toml:
            toml.write(f"\n[metrics]\n{metrics}\n")
