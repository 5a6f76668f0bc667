"""Counters for StatsD, as a socket receives them."""

from __future__ import annotations

import re
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.metrics.counts import Counts, Drained, Place
from jobtool.metrics.statsd import MOST_BYTES, StatsD, datagrams
from tests.commands import run_ok
from tests.metrics.places import make_joblist
from tests.needs import need
from tests.trees import receipts, statuses

#: StatsD's own form of a line that counts.
_LINE = re.compile(r"([A-Za-z0-9_.-]+):([0-9]+)\|c")


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.setblocking(False)
        yield found


def counters(receiver: socket.socket) -> Counter[str]:
    """The sums of all that has arrived."""
    sums: Counter[str] = Counter()
    while True:
        try:
            datagram = receiver.recv(65536)
        except BlockingIOError:
            return sums
        for line in datagram.decode().split("\n"):
            match = _LINE.fullmatch(line)
            assert match is not None, line
            sums[match[1]] += int(match[2])


def test_the_counters_add_up_to_the_receipts(tmp_path: Path, receiver: socket.socket) -> None:
    address = "{}:{}".format(*receiver.getsockname())
    joblist = make_joblist(tmp_path, 3, metrics=f'statsd = "{address}"')
    run_ok("transfer-worker", "-i", joblist)
    proven, found = receipts(joblist), counters(receiver)
    assert found.pop("jobtool.step.copy.milliseconds", 0) >= 0
    size = sum(receipt.size for receipt in proven)
    assert found == {
        "jobtool.step.copy.bytes": size,
        "jobtool.step.copy.sent_bytes": size,
        "jobtool.step.copy.files": 6,
        "jobtool.step.copy.attempts.success": 3,
        "jobtool.jobs.attempts.success": 3,
    }


def test_names_hold_nothing_that_statsd_would_read(receiver: socket.socket) -> None:
    address = "{}:{}".format(*receiver.getsockname())
    sink = StatsD(address, per_job=True)
    place = Place("a.b:1|c\nx", "copy", "tape → é", 1)
    sink.send(Drained(counts={place: Counts(files=2)}, running=None), is_last=True)
    assert counters(receiver) == {"jobtool.job.a_b_1_c_x.route.tape____.step.copy.files": 2}


@given(st.lists(st.text("abc", min_size=1, max_size=300), max_size=200))
def test_datagrams_are_small_and_hold_all_lines(lines: list[str]) -> None:
    found = [*datagrams(lines)]
    assert all(len(datagram) <= MOST_BYTES for datagram in found)
    assert b"\n".join(found).decode().split("\n") == (lines or [""])


def test_a_name_that_is_not_found_fails_nothing(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, 2, metrics='statsd = "no-such-host.invalid:8125"')
    done = run_ok("transfer-worker", "-i", joblist)
    assert "point(s) of metrics for statsd no-such-host.invalid:8125 were lost" in done.stdout
    assert set(statuses(joblist).values()) == {"success"}


_HANGING_NAMES = """
#include <unistd.h>
int getaddrinfo(const char *node, const char *service, const void *hints, void **found) {
    for (;;) pause();
}
"""


def test_a_name_that_is_never_looked_up_fails_nothing(tmp_path: Path) -> None:
    need("cc", packages="gcc libc6-dev")
    library = tmp_path / "names.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-w", "-x", "c", "-o", library, "-"],
        input=_HANGING_NAMES.encode(),
        check=True,
    )
    joblist = make_joblist(tmp_path, 2, metrics='statsd = "host:1"\ninflux = "http://host/write"')
    done = run_ok("transfer-worker", "-i", joblist, env={"LD_PRELOAD": str(library)})
    for place in ("statsd host:1", "influx http://host/write"):
        (line,) = [line for line in done.lines if f"of metrics for {place} were lost" in line]
        assert "it doesn't answer" in line
    assert set(statuses(joblist).values()) == {"success"}
