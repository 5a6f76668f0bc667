"""Files by bbcp over a real sshd. The real bbcp where it is installed, otherwise a stand-in."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from jobtool.errors import JoblistError
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.settings import Settings
from jobtool.methods.bbcp import Bbcp
from jobtool.methods.bbcpoutput import Progress, connection_failure
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.stop import Stop
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Store
from tests.commands import finish, start
from tests.methods.standins import Bench
from tests.servers.sftp import SftpServer, sftp_server
from tests.trees import events, write

STANDIN = Path(__file__).parent / "bbcp_standin.py"
REAL = shutil.which("bbcp")
LARGE_BYTES = 3_000_007
SMALLEST_BYTES = 100_000
wide = pytest.mark.wide

#: A key exchange that takes less of a processor than the default.
QUICK = "KexAlgorithms=curve25519-sha256"

LIES = ("elsewhere", "half", "nothing", "wrong")

#: A name that bbcp takes, and some that it can't, whose files are left to the next method.
TAKEN = "-r:@%H$(x)'\"`*é\udcff"
NOT_TAKEN = ("a b", "new\nline", "tab\there")


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path, sftp: SftpServer) -> Bench:
    """An item with one large file."""
    write(tmp_path / "in" / "item" / "large", random.Random(0).randbytes(LARGE_BYTES))
    target = tmp_path / "out"
    url = f"sftp://{sftp.authority()}{target}"
    return Bench(
        folder=tmp_path,
        source=tmp_path / "in",
        target=target,
        url=url,
        tables={"sftp": sftp.settings(), "ssh": {"options": [QUICK]}},
        env=sftp.environment,
    )


def settings(program: Path | str, **changes: object) -> dict[str, object]:
    table = {"program": str(program), "remote_program": str(program)}
    return {**table, "smallest_bytes": SMALLEST_BYTES, **changes}


def honest(bench: Bench) -> Path | str:
    return REAL or bench.stand_in("bbcp", STANDIN)


def stand_in(bench: Bench, fault: str) -> Path:
    return bench.stand_in("bbcp", STANDIN, STANDIN_FAULT=fault)


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():  # the suite's own time limit ends it
        time.sleep(0.02)


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".jobtool-*")]


def line_of(bench: Bench) -> str:
    (line,) = [
        line for line in events(bench.joblist / "item.txt", "method") if " name=bbcp " in line
    ]
    return line


def test_large_files_go_by_bbcp_and_others_to_the_next_method(bench: Bench) -> None:
    data = random.Random(1).randbytes
    for name in (TAKEN, *NOT_TAKEN):
        write(bench.source / "item" / name, data(SMALLEST_BYTES + 5))
    write(bench.source / "item" / "small", data(10))
    write(bench.source / "item" / "deep" / "er" / "large", data(SMALLEST_BYTES))
    write(bench.source / "item" / "not this" / "large", data(SMALLEST_BYTES))
    os.utime(bench.source / "item" / TAKEN, (1e9, 1e9))
    (bench.source / "item" / TAKEN).chmod(0o440)
    (bench.source / "item" / "deep").chmod(0o700)
    bench.generate({"methods.bbcp": settings(honest(bench), options=["-B", "64K"])})
    done = bench.work("bbcp,stream")
    assert done.exit_code == 0, done
    bench.assert_all_proven()
    by_bbcp = {name for name, method in bench.methods().items() if method == "bbcp"}
    assert by_bbcp == {f"item/{name}" for name in (TAKEN, "large", "deep/er/large")}
    found = (bench.target / "item" / TAKEN).stat()
    assert (found.st_mode & 0o777, found.st_mtime) == (0o440, 1e9)
    assert (bench.target / "item" / "deep").stat().st_mode & 0o777 == 0o700
    assert hidden(bench.target) == []
    assert "-B 64K" in bench.log("bbcp")
    assert bench.running() == []


def test_a_killed_worker_leaves_no_program_and_the_next_goes_on_inside_the_file(
    bench: Bench,
) -> None:
    bench.generate({"methods.bbcp": settings(stand_in(bench, "hang"))})
    worker = start(
        *("transfer-worker", "-i", bench.joblist, "--methods", "bbcp,stream"), env=bench.env
    )

    def half() -> bool:
        return any(path.stat().st_size > LARGE_BYTES // 3 for path in bench.target.rglob("data"))

    wait_until(lambda: half() or worker.poll() is not None)
    assert worker.poll() is None
    assert not (bench.target / "item" / "large").exists()
    assert len(bench.running()) >= 3  # called, and on both sides
    worker.kill()
    finish(worker)
    wait_until(lambda: not bench.running())
    stand_in(bench, "")
    done = bench.work("bbcp")
    assert done.exit_code == 0, done
    bench.assert_all_proven()
    assert bench.methods() == {"item/large": "bbcp"}
    offset = int(re.findall(r"Appending to \S+ at offset (\d+)", bench.log("bbcp"))[-1])
    assert offset > LARGE_BYTES // 3
    assert hidden(bench.target) == []


def kill_mid_way(bench: Bench) -> None:
    """Kill a worker whose bbcp hangs in the middle of a file."""
    bench.generate({"methods.bbcp": settings(stand_in(bench, "hang"))})
    arguments = ("-i", bench.joblist, "--methods", "bbcp")
    worker = start("transfer-worker", *arguments, env=bench.env)
    wait_until(
        lambda: (
            worker.poll() is not None
            or any(path.stat().st_size for path in bench.target.rglob("data"))
        )
    )
    worker.kill()
    finish(worker)
    wait_until(lambda: not bench.running())


@wide
def test_what_a_killed_attempt_has_left_is_removed_by_the_next_without_bbcp(bench: Bench) -> None:
    kill_mid_way(bench)
    assert hidden(bench.target)
    assert bench.work("stream").exit_code == 0
    bench.assert_all_proven()
    assert hidden(bench.target) == []


@wide
def test_what_was_begun_from_another_source_is_begun_anew(bench: Bench) -> None:
    kill_mid_way(bench)
    write(bench.source / "item" / "large", random.Random(2).randbytes(LARGE_BYTES + 1))
    stand_in(bench, "")
    done = bench.work("bbcp")
    assert done.exit_code == 0, done
    bench.assert_all_proven()
    assert "appears to have changed" in bench.log("bbcp")
    assert hidden(bench.target) == []


@pytest.mark.parametrize(
    "names",
    [("half", "wrong", "z-hang"), pytest.param((*LIES, "fail", "good", "true"), marks=wide)],
)
def test_lies_make_no_receipt_and_no_file_is_lost(bench: Bench, names: tuple[str, ...]) -> None:
    for name in names:
        write(bench.source / "item" / name, random.Random(name).randbytes(SMALLEST_BYTES))
    bench.generate({"methods.bbcp": settings(stand_in(bench, "by-name"))}, stall_seconds=4)
    done = bench.work("bbcp,stream")
    assert done.exit_code == 0, done
    bench.assert_all_proven()
    by_bbcp = {name for name, method in bench.methods().items() if method == "bbcp"}
    honest = {*names, "large"} - {*LIES, "fail", "z-hang"}
    assert by_bbcp == {f"item/{name}" for name in honest}
    assert ("no progress for 4 s" in line_of(bench)) == ("z-hang" in names)
    assert hidden(bench.target) == []
    assert bench.running() == []


@wide
@pytest.mark.parametrize("lie", LIES)
def test_without_another_method_a_lie_is_an_error(bench: Bench, lie: str) -> None:
    bench.generate({"methods.bbcp": settings(stand_in(bench, lie))})
    done = bench.work("bbcp")
    assert done.exit_code != 0
    assert bench.methods() == {}


@wide
@pytest.mark.parametrize(
    ("fault", "reason"), [("fail", "exit code 29"), ("deaf", "no connection for bbcp's data")]
)
def test_a_failure_is_one_line_and_the_next_method_is_tried(
    bench: Bench, fault: str, reason: str
) -> None:
    bench.generate({"methods.bbcp": settings(stand_in(bench, fault))})
    done = bench.work("bbcp,stream")
    assert done.exit_code == 0, done
    bench.assert_all_proven()
    assert bench.methods() == {"item/large": "stream"}
    assert reason in line_of(bench)
    assert hidden(bench.target) == []
    assert bench.running() == []


@wide
def test_a_missing_program_there_is_named(bench: Bench) -> None:
    table = settings(honest(bench), remote_program="/nowhere/bbcp")
    bench.generate({"methods.bbcp": table})
    done = bench.work("bbcp,stream")
    assert done.exit_code == 0, done
    bench.assert_all_proven()
    assert "/nowhere/bbcp can't be started at 127.0.0.1" in line_of(bench)
    assert "remote_program" in line_of(bench)


@wide
def test_files_come_from_a_server_and_go_between_two(bench: Bench) -> None:
    program = honest(bench)
    away = bench.url.removesuffix(str(bench.target)) + str(bench.source)
    for url, joblist in ((str(bench.target), "list"), (bench.url + "2", "list2")):
        one = Bench(
            folder=bench.folder / joblist,
            source=bench.source,
            target=Path(url if url.startswith("/") else f"{bench.target}2"),
            url=url,
            tables=bench.tables,
            env=dict(bench.env),
        )
        one.generate({"methods.bbcp": settings(program)}, source=away)
        done = one.work("bbcp")
        assert done.exit_code == 0, done
        one.assert_all_proven()
        assert one.methods() == {"item/large": "bbcp"}
        assert (" -z " in one.log("bbcp")) == (url == str(bench.target))


#: Says that it has copied 60 % of a file, and its arguments. It copies nothing.
SAYS_MUCH = """#!/bin/sh
echo "bbcp: Appending to /out/.x/data at offset 200"
echo "bbcp: 140506 17:33:18 50% done; 9.0 MB/s, avg 90.0 MB/s"
echo got "$@"
"""


def store(url: str) -> Store:
    return StoreRegistry({}).open(url, role="source")


def configured(**table: object) -> Bbcp:
    method = Bbcp()
    method.configure(Settings(methods={"bbcp": {"program": "sh", **table}}))
    return method


def test_it_says_why_it_is_not_available(tmp_path: Path) -> None:
    here, there = store(str(tmp_path)), store("sftp://lab.example/data")
    assert configured().available(here, there) is None
    assert configured().available(there, here) is None
    cases = [
        (configured(), here, here, "neither source nor destination is an SSH server"),
        (configured(), here, store("s3://bucket/x"), "neither on this machine nor at an SSH"),
        (configured(program="no-such-bbcp"), here, there, "isn't installed here"),
        (configured(), here, store("sftp://lab.example/with space"), "spaces"),
        (configured(), here, store("sftp://lab.example/" + "x" * 1000), "900 bytes"),
    ]
    for method, source, destination, expected in cases:
        reason = method.available(source, destination)
        assert expected in str(reason)
    stores = StoreRegistry({"sftp": {"proxy_jump": "door.example"}})
    reason = configured().available(here, stores.open("sftp://lab.example/x", role="destination"))
    assert "door.example" in str(reason)
    stores = StoreRegistry({"sftp": {"config": "/with space/config"}})
    reason = configured().available(here, stores.open("sftp://lab.example/x", role="destination"))
    assert "/with space/config" in str(reason)


def test_it_shows_its_command(tmp_path: Path) -> None:
    method = configured(streams=16, window="8M", ports="50000:50010", options=["-4"])
    shown = method.explain(store(str(tmp_path)), store("sftp://me@127.0.0.1:2222/data"))
    assert shown.startswith("sh -4 -P 5 -v -p -k -a /data/.jobtool-OWNER-incoming/TAG -s 16 -w 8M")
    assert " -Z 50000:50010 -T 'ssh " in shown
    assert shown.endswith(
        f" 127.0.0.1 bbcp' {tmp_path}/FILE 127.0.0.1:/data/.jobtool-OWNER-incoming/TAG/data"
    )


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(None, None), (5e6, "5000000"), (10.0, "1024"), (1e12, str(2**30))],
)
def test_it_is_told_the_bandwidth_and_what_it_reports_is_told(
    tmp_path: Path, rate: float | None, expected: str | None
) -> None:
    program = write(tmp_path / "program", SAYS_MUCH.encode())
    program.chmod(0o755)
    arrived: list[tuple[int, int]] = []
    notes: list[str] = []
    context = MethodContext(
        source=store("sftp://127.0.0.1/data"),
        destination=store(str(tmp_path / "out")),
        stop=Stop(),
        threads=1,
        require_held=lambda: None,
        log_path=str(tmp_path / "log"),
        stall_seconds=60,
        bandwidth=lambda: rate,
        arrived=lambda number, size: arrived.append((number, size)),
        note=notes.append,
    )
    file = MethodFile(
        number=7,
        source="sftp://127.0.0.1/data/file",
        destination=str(tmp_path / "out" / "file"),
        source_path="file",
        destination_path="file",
        size=1000,
        mtime_ns=0,
    )
    job = cast(ClaimedJob, SimpleNamespace(job_id="job"))
    method = configured(program=str(program), smallest_bytes=1)
    assert [*method.run(job, [file], context)] == []
    assert "nothing has arrived" in notes[-1]
    assert sum(size for _, size in arrived) == 600
    assert {number for number, _ in arrived} == {7}
    said = (tmp_path / "log").read_text()
    assert re.findall(r"^got .* -x (\d+)", said, re.MULTILINE) == ([expected] if expected else [])
    assert hidden(tmp_path) == []


@pytest.mark.parametrize(
    "table",
    [
        {"streams": 0},
        {"streams": 65},
        {"window": "much"},
        {"ports": "5031"},
        {"remote_program": "bbcp; rm -rf"},
        {"options": ["-f"]},
        {"options": ["-a", "/x"]},
        {"options": [""]},
        {"smallest": 1},
    ],
)
def test_settings_that_cannot_be_used_are_refused(table: dict[str, object]) -> None:
    with pytest.raises(JoblistError, match=r"table \[methods.bbcp\]"):
        configured(**table)


def test_lines_of_all_versions_show_how_much_has_arrived() -> None:
    progress = Progress(1000)
    assert progress.note("bbcp: Appending to /out/.x/data at offset 200")
    assert progress.arrived == 200
    assert progress.note("bbcp: 140506 17:33:18 25% done; 9.0 MB/s, avg 90.0 MB/s")
    assert progress.arrived == 400
    assert progress.note("bbcp: 140506 17:33:23 25% done; 0.1 KB/s, avg 80.0 MB/s")
    assert not progress.note("bbcp: 140506 17:33:28 25% done; 0.0 B/s, avg 70.0 MB/s")
    assert not progress.note("bbcp: At 140506 17:33:18 copy 25% complete; 89998.2 KB/s")
    assert progress.note("bbcp: At 140506 17:33:28 copy 41% complete; 89910.4 KB/s")
    assert not progress.note("bbcp: At 140506 17:33:38 not done; 0.0 B/s")
    assert progress.arrived == 528


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bbcp: Accept timed out on port 5031", "no connection for bbcp's data"),
        ("bbcp: Unable to allocate more than 0 of 4 data streams.", "no connection for bbcp's"),
        ("bbcp: Connection refused unable to connect to lab port 5031", "no connection for"),
        ("bbcp: Insufficient space to copy all the files from lab", "no space"),
        ("ssh: Could not resolve hostname lab: Name or service not known", "no such host"),
        ("me@lab: Permission denied (publickey).", "accepts none of the keys"),
    ],
)
def test_failures_that_concern_all_files_are_told_apart(line: str, expected: str) -> None:
    lines = ["bbcp: 1", line, "bbcp: bbcp unexpectedly terminated on lab"]
    assert expected in str(connection_failure(lines, ["lab"], "bbcp"))
    assert connection_failure(["bbcp: Input/output error reading x"], ["lab"], "bbcp") is None
