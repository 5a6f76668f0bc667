"""Points for InfluxDB: what arrives, what is lost, and that no server can fail a transfer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from line_protocol_parser import parse_line

from jobtool.jobs.metricssettings import TOKEN_VARIABLE
from jobtool.metrics.counts import Counts, Drained, Place
from jobtool.metrics.influx import MOST_WAITING, Influx
from jobtool.names import quote
from tests.commands import BIN, finish, run_ok, start_ranks, unused_port
from tests.metrics.places import Points, make_joblist, points_server
from tests.trees import receipts, statuses

TOKEN = "a-token-that-nobody-may-see"
HERE = Path(__file__).parent


@pytest.fixture
def server() -> Iterator[Points]:
    with points_server() as points:
        yield points


def test_the_points_add_up_to_the_receipts(tmp_path: Path, server: Points) -> None:
    joblist = make_joblist(tmp_path, 3, metrics=f'influx = "{server.url}"')
    done = run_ok("transfer-worker", "-i", joblist, "-v", 3, env={TOKEN_VARIABLE: TOKEN})
    proven = receipts(joblist)
    assert server.sum("bytes") == server.sum("sent_bytes") == sum(each.size for each in proven) > 0
    assert server.sum("files") == len(proven) == 6
    steps = [point for point in server.points if point["measurement"] == "jobtool_step"]
    jobs = [point for point in server.points if point["measurement"] == "jobtool_job"]
    assert {point["fields"]["job"] for point in steps} == {"item000", "item001", "item002"}
    assert [point["tags"]["state"] for point in jobs] == ["success"] * 3
    for point in server.points:
        assert set(point["tags"]) <= {"host", "joblist", "step", "state"}
        assert point["fields"]["attempt"] == 1
    assert len({point["time"] for point in server.points}) == len(server.points)
    assert set(server.paths) == {"/api/v2/write?org=lab&bucket=moves"}
    assert set(server.tokens) == {f"Token {TOKEN}"}
    assert TOKEN not in done.stdout
    assert all(TOKEN.encode() not in path.read_bytes() for path in joblist.rglob("*.t*"))


def test_ranks_send_points_of_their_own(tmp_path: Path, server: Points) -> None:
    joblist = make_joblist(tmp_path, 12, metrics=f'influx = "{server.url}"\nper_job = true')
    worker = (BIN / "transfer-worker", "-i", joblist, "-v", 2)
    done = finish(start_ranks(worker, worker))
    assert (done.exit_code, done.stderr) == (0, "")
    assert "of metrics" not in done.stdout
    assert server.sum("files") == 24
    keys = {(*sorted(point["tags"].items()), point["time"]) for point in server.points}
    assert len(keys) == len(server.points)
    assert {point["tags"]["job"] for point in server.points} == set(statuses(joblist))
    assert all("job" not in point["fields"] for point in server.points)
    assert {point["tags"]["rank"] for point in server.points} <= {"0", "1"}


@pytest.mark.parametrize("status", [500, 404, 400, 307])
def test_a_server_that_refuses_fails_nothing(tmp_path: Path, server: Points, status: int) -> None:
    server.status, server.answer = status, f"no \x1b[31m way {TOKEN}\r\nfor you".encode()
    joblist = make_joblist(tmp_path, 2, metrics=f'influx = "{server.url}"')
    done = run_ok("transfer-worker", "-i", joblist, env={TOKEN_VARIABLE: TOKEN})
    (line,) = [line for line in done.lines if "of metrics for influx" in line]
    assert f"4 point(s) of metrics for influx {server.url} were lost: it answered {status}" in line
    assert TOKEN not in done.stdout
    assert set(statuses(joblist).values()) == {"success"}


@pytest.mark.parametrize("kind", ["unreachable", "hanging", "no name"])
def test_a_server_that_does_not_answer_fails_nothing(
    tmp_path: Path, server: Points, kind: str
) -> None:
    url = {
        "unreachable": f"http://127.0.0.1:{unused_port()}/write?db=x",
        "hanging": server.url,
        "no name": "http://no-such-host.invalid:8086/write?db=x",
    }[kind]
    server.is_hanging.set()
    joblist = make_joblist(tmp_path, 2, metrics=f'influx = "{url}"\ninterval_seconds = 1')
    done = run_ok("transfer-worker", "-i", joblist)  # the server hangs on until it has ended
    assert f"point(s) of metrics for influx {url} were lost" in done.stdout
    assert set(statuses(joblist).values()) == {"success"}


def test_points_wait_for_a_server_that_comes_back(server: Points) -> None:
    sink = Influx(server.url, tags={"host": "a"}, worker="a:1", per_job=False)
    server.status = 503
    for number in range(3):
        place = Place(f"job{number}", "copy", None, 1)
        with pytest.raises(OSError, match="it answered 503"):
            sink.send(Drained(counts={place: Counts(files=1)}, running=place), is_last=False)
    assert sink.unsent == 3
    server.status = 204
    sink.send(Drained(counts={}, running=None), is_last=True)
    assert sink.unsent == 0
    assert [point["fields"]["job"] for point in server.points] == ["job0", "job1", "job2"]


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(server: Points) -> None:
    sink = Influx(server.url, tags={}, worker="a:1", per_job=False)
    server.status = 500
    many = {Place(f"job{number}", "copy", None, 1): Counts() for number in range(MOST_WAITING - 1)}
    for _ in range(2):
        with pytest.raises(OSError, match="it answered 500"):
            sink.send(Drained(counts=many, running=None), is_last=False)
    assert sink.unsent == 2 * len(many)
    server.status = 204
    sink.send(Drained(counts={}, running=None), is_last=True)
    assert len(server.points) == MOST_WAITING
    assert sink.unsent == 2 * len(many) - MOST_WAITING


@given(
    st.text(st.characters(exclude_categories=[])).filter(lambda name: "\0" not in name),
    st.text(min_size=1).filter(str.isprintable),
    st.booleans(),
)
def test_any_name_survives(name: str, route: str, per_job: bool) -> None:
    sink = Influx("http://h/write", tags={"host": "a"}, worker="a:1", per_job=per_job)
    place = Place(name, "copy", route, 2)
    counts = Counts(files=3, bytes=2**60, ended={"failed": 1, "success": 1})
    lines = [*sink.lines_of(Drained(counts={place: counts}, running=None))]
    first, second = map(parse_line, lines)
    found = first["tags" if per_job else "fields"]["job"]
    # After a backslash at the end of a tag its library writes a space: it would escape the comma.
    assert found.rstrip(" ") == quote(name).rstrip(" ")
    assert first["fields"]["bytes"] == 2**60
    assert (first["tags"]["state"], second["tags"]["state"]) == ("failed", "success")
    assert (first["fields"]["ended"], second["fields"]["files"]) == (1, 0)
    assert second["time"] > first["time"]


def test_each_step_of_a_chain_has_counts_of_its_own(tmp_path: Path, server: Points) -> None:
    site = tmp_path / "site"
    information = site / "counting-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[jobtool.steps]\nunpack = step_counting:Unpack")
    shutil.copy(HERE / "step_counting.py", site)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    joblist = make_joblist(tmp_path, 2, metrics=f'influx = "{server.url}"', steps="copy,unpack")
    run_ok("transfer-worker", "-i", joblist, env={"PYTHONPATH": path})
    sizes = sum(receipt.size for receipt in receipts(joblist))
    steps = [point for point in server.points if point["measurement"] == "jobtool_step"]

    def total(step: str, field: str) -> float:
        return sum(p["fields"][field] for p in steps if p["tags"]["step"] == step)

    assert (total("copy", "bytes"), total("copy", "files")) == (sizes, 4)
    # One of two jobs was unpacked twice, and copied once.
    assert (total("copy", "ended"), total("unpack", "ended")) == (2, 3)
    assert total("unpack", "files") == 60
    states = [(p["tags"]["step"], p["tags"]["state"], p["fields"]["job"], p["fields"]["attempt"])
              for p in steps if p["tags"]["step"] == "unpack"]  # fmt: skip
    assert sorted(states, key=str) == [
        ("unpack", "failed", "item001", 1),
        ("unpack", "success", "item000", 1),
        ("unpack", "success", "item001", 2),
    ]
    jobs = sorted(
        (p["fields"]["job"], p["tags"]["state"])
        for p in server.points
        if p["measurement"] == "jobtool_job"
    )
    assert jobs == [("item000", "success"), ("item001", "failed"), ("item001", "success")]
