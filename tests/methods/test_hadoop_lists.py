"""What Hadoop's programs are given, and what is read from what they print. No Java is started."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import JoblistError, StoreError
from jobtool.jobs.settings import Settings, encode
from jobtool.methods.distcp import Distcp
from jobtool.methods.hadoop.applications import (
    Started,
    end_all,
    ended_line,
    left_by_others,
    target_line,
)
from jobtool.methods.hadoop.listings import Call, all_but, calls
from jobtool.methods.hadoop.programs import Hadoop, earlier_paths, judge
from jobtool.methods.hadoop.settings import HadoopSettings, environment
from jobtool.methods.hadoop.shell import portions
from jobtool.methods.hdfs_cp import HdfsCp
from jobtool.methods.hdfs_get import HdfsGet
from jobtool.methods.hdfs_put import HdfsPut
from jobtool.methods.method import MethodContext, MethodFile
from jobtool.stop import Stop
from jobtool.stores.registry import StoreRegistry
from tests.servers.hadoop import put_program

ROOT = "hdfs://one:8020/data"


class Named:
    """A store of which only the URL is asked."""

    def __init__(self, url: str) -> None:
        self.url = url


def files_of(*pairs: tuple[str, str]) -> list[MethodFile]:
    return [
        MethodFile(
            number=number,
            source=f"{ROOT}/{source}",
            destination=f"hdfs://two:8020/copy/{destination}",
            source_path=source,
            destination_path=destination,
            size=1,
            mtime_ns=0,
        )
        for number, (source, destination) in enumerate(pairs)
    ]


def shown(made: Sequence[Call]) -> list[tuple[str, str, bool, int]]:
    return [(call.folder, call.target, call.is_walked, len(call.files)) for call in made]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("a/x", "a/x")], [("a", "a/x", False, 1)]),
        ([("a/x", "b/x"), ("a/y", "b/y")], [("a", "b", False, 2)]),
        ([("x", "x"), ("y", "y")], [("", "", False, 2)]),
        ([("a/k=1/x", "a/k=1/x"), ("a/k=2/x", "a/k=2/x")], [("a", "a", True, 2)]),
        ([("a/k=1/x", "n/a/k=1/x"), ("a/x", "n/a/x")], [("a", "n/a", True, 2)]),
        ([("s/a/x", "t/a/x"), ("s/b/x", "t/b/x")], [("s", "t", True, 2)]),
        ([("x", "x"), ("b/x", "b/x")], [("", "", True, 2)]),
        (
            [("a/x", "one/x"), ("a/y", "two/y")],
            [("a", "one/x", False, 1), ("a", "two/y", False, 1)],
        ),
    ],
)
def test_calls_bring_files_to_their_places(
    pairs: list[tuple[str, str]], expected: list[tuple[str, str, bool, int]]
) -> None:
    made, renamed = calls(Named(ROOT), files_of(*pairs))  # type: ignore[arg-type]
    assert shown(made) == expected
    assert renamed == []


def test_a_whole_cluster_is_not_walked_and_no_name_is_changed() -> None:
    pairs = [("a/x", "a/x"), ("b/x", "b/x"), ("b/y", "b/z")]
    made, renamed = calls(Named("hdfs://one:8020"), files_of(*pairs))  # type: ignore[arg-type]
    assert shown(made) == [("a", "a/x", False, 1), ("b", "b/x", False, 1)]
    assert [file.source_path for file in renamed] == ["b/y"]


def as_python(pattern: str) -> str:
    """The same expression as Python writes it."""
    pattern = pattern.removeprefix("(?s)").replace(r"\z", r"\Z")
    return re.sub(r"\\x\{([0-9a-f]+)\}", lambda found: re.escape(chr(int(found[1], 16))), pattern)


@given(st.sets(st.text("ab/[\\ é*😀", min_size=1, max_size=6), min_size=1), st.text("ab/[\\ é*😀"))
def test_the_filter_excludes_all_but_the_files_of_the_call(paths: set[str], other: str) -> None:
    pattern = re.compile(as_python(all_but([f"/{path}" for path in paths])), re.DOTALL)
    for path in (*paths, other):
        assert (pattern.fullmatch(f"hdfs://one:8020/{path}") is None) == (path in paths)


def test_portions_fit_among_arguments() -> None:
    names = ["x" * 1000] * 1000
    made = [*portions(names, lambda name: name)]
    assert sum(map(len, made)) == 1000
    assert len(made) == 3
    assert [*portions([], str)] == []


@pytest.mark.parametrize(
    ("method", "source", "destination", "expected"),
    [
        (Distcp, "hdfs://a:1/x", "hdfs://b:1/x", None),
        (Distcp, "hdfs://a:1/x", "webhdfs://b:1/x", None),
        (Distcp, "hdfs://a:1/x", "hdfs://a:1/y", "same_cluster = true"),
        (Distcp, "/x", "hdfs://b:1/x", "isn't in HDFS"),
        (Distcp, "hdfs://a:1/x", "s3://bucket/x", "s3a = true"),
        (HdfsPut, "/x", "hdfs://a:1/x", None),
        (HdfsPut, "hdfs://a:1/x", "hdfs://a:1/y", "isn't on this machine"),
        (HdfsPut, "/x", "/y", "isn't in HDFS"),
        (HdfsCp, "hdfs://a:1/x", "hdfs://a:1/y", None),
        (HdfsCp, "hdfs://a:1/x", "hdfs://b:1/y", "aren't in one cluster"),
        (HdfsCp, "/x", "hdfs://b:1/y", "isn't in HDFS"),
        (HdfsGet, "hdfs://a:1/x", "/y", None),
        (HdfsGet, "hdfs://a:1/x", "hdfs://a:1/y", "isn't on this machine"),
        (HdfsGet, "/x", "/y", "isn't in HDFS"),
    ],
)
def test_a_method_says_why_it_is_not_available(
    method: Any,
    source: str,
    destination: str,
    expected: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("hadoop", "hdfs"):
        put_program(tmp_path, name, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    there = (
        StoreRegistry({}).open("/y", "destination") if destination == "/y" else Named(destination)
    )
    reason = method().available(Named(source), there)
    assert reason is None if expected is None else expected in reason
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert expected is not None or "isn't installed" in method().available(Named(source), there)


def test_settings_are_in_the_command_and_bandwidth_is_shared_out() -> None:
    method = Distcp()
    method.configure(
        Settings(
            hadoop={"options": {"mapreduce.job.queuename": "night", "a.b": True}},
            methods={
                "distcp": {"maps": 4, "strategy": "uniformsize", "append": True, "preserve": "bt"}
            },
        )
    )
    sides = (Named("hdfs://a:1/x"), Named("hdfs://b:1/y z"))
    shown = method.explain(*sides)  # type: ignore[arg-type]
    assert shown.startswith("hadoop distcp -D")
    assert "-Dmapreduce.job.queuename=night -Da.b=true " in shown
    assert shown.endswith(
        "-update -i -strategy uniformsize -m 4 -append -pbt -f LISTING hdfs://b:1/y z"
    )
    command = method._command([], 4, 8 * 1024 * 1024, skips_crc=False)
    assert command[command.index("-bandwidth") + 1] == "2.000"
    assert "ipc.client.connect.timeout=10000" in shown


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"methods": {"distcp": {"options": ["-delete"]}}}, "remove files of other jobs"),
        ({"methods": {"distcp": {"options": ["--async"]}}}, "'--async' can't be among options"),
        ({"methods": {"distcp": {"options": ["-pb"]}}}, "'-pb' can't be among options"),
        ({"methods": {"distcp": {"delete": True}}}, "delete"),
        ({"methods": {"distcp": {"maps": 0}}}, "maps"),
        ({"hadoop": {"options": {"a b": "c"}}}, "names of Hadoop's properties"),
        ({"hadoop": {"options": {"fs.s3a.secret.key": "x"}}}, "looks like a secret"),
        ({"hadoop": {"confdir": "/x"}}, "confdir"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(table: Any, expected: str) -> None:
    with pytest.raises(JoblistError, match=re.escape(expected)) as raised:
        Distcp().configure(Settings(**table))
    assert len(str(raised.value).splitlines()) == 1


def test_a_joblist_holds_no_secret_of_hadoop() -> None:
    with pytest.raises(JoblistError, match="looks like a secret"):
        encode(Settings(hadoop={"options": {"fs.s3a.secret.key": "x"}}))


@pytest.mark.parametrize("told", [{}, {"LANG": "C"}, {"LANG": "de_DE.UTF-8", "LC_ALL": "POSIX"}])
def test_java_gets_a_locale_of_utf8(told: dict[str, str]) -> None:
    settings = HadoopSettings(conf_dir="/conf", user="me")
    found = environment(settings, told, environ=told)
    assert found["LC_ALL"] == "C.UTF-8"
    assert (found["HADOOP_CONF_DIR"], found["HADOOP_USER_NAME"]) == ("/conf", "me")
    assert environment(settings, {}, environ={"LANG": "en_US.utf8"}).get("LC_ALL") is None


@pytest.fixture
def context(tmp_path: Path) -> MethodContext:
    store = StoreRegistry({}).open(str(tmp_path / "out"), "destination")
    notes: list[str] = []
    made = MethodContext(
        source=store,
        destination=store,
        stop=Stop(),
        threads=2,
        require_held=lambda: None,
        log_path=str(tmp_path / "logs" / "a.job.3.distcp.log"),
        stall_seconds=60,
        bandwidth=lambda: None,
        arrived=lambda number, size: None,
        note=notes.append,
    )
    os.makedirs(tmp_path / "logs")
    return made


PRINTED = """
2026-11-27 10:00:00,001 INFO impl.YarnClientImpl: Submitted application application_17_0004
26/11/27 10:00:01 INFO mapreduce.Job: Running job: job_17_0004
2026-11-27 10:00:01,001 INFO mapred.CopyMapper: Copying hdfs://a/application_99_0001 to hdfs://b/x
"""


def test_what_killed_workers_have_started_is_found_in_their_logs_and_ended(
    context: MethodContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tmp_path / "logs"
    (logs / "a.job.1.distcp.log").write_text(
        f"{target_line('to')}\n{PRINTED}INFO mapreduce.Job: Running job: job_local5_0001\n"
        f"INFO mapreduce.Job: Running job: job_local6_0001\n{ended_line('local6_0001')}\n"
    )
    (logs / "other.1.distcp.log").write_text("INFO mapreduce.Job: Running job: job_8_0001\n")
    (logs / "a.job.1.hdfs-put.log").write_text("INFO mapreduce.Job: Running job: job_9_0001\n")
    found = left_by_others(context.log_path)
    assert (found.jobs, found.folders) == ({"17_0004", "local5_0001"}, {"to"})

    ours = [f".distcp.tmp.attempt_{job}_m_000000_0.1" for job in ("17_0004", "local5_0001")]
    others = [".distcp.tmp.attempt_17_00041_m_0.1", "file", ".distcp.tmp.attempt_local6_0001_m"]
    (tmp_path / "out" / "to").mkdir(parents=True)
    for name in (*ours, *others):
        (tmp_path / "out" / "to" / name).write_bytes(b"")
    put_program(tmp_path / "bin", "yarn", f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    hadoop = Hadoop(HadoopSettings(), context)
    end_all(hadoop, found, context.destination)
    hadoop.close()
    assert (tmp_path / "asked").read_text() == "application -kill application_17_0004\n"
    assert sorted(os.listdir(tmp_path / "out" / "to")) == sorted(others)
    # The next attempt has nothing to end.
    assert left_by_others(str(logs / "a.job.4.distcp.log")).jobs == set()


def test_a_log_that_another_user_could_have_written_ends_nothing(
    context: MethodContext, tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "a.job.1.distcp.log"
    log.write_text(PRINTED)
    log.chmod(0o664)
    os.mkfifo(tmp_path / "logs" / "a.job.2.distcp.log")
    os.symlink(log, tmp_path / "logs" / "a.job.4.distcp.log")
    assert left_by_others(context.log_path).jobs == set()
    log.chmod(0o644)
    assert left_by_others(context.log_path).jobs == {"17_0004"}


#: Brings one file whole and the half of another, beside what it finds.
HALF = """#!/bin/sh
for last; do :; done
folder=${last#file://}
ls "$folder"
printf data > "$folder/whole"
printf da > "$folder/half"
"""


def test_hdfs_get_gives_whole_files_their_names_and_leaves_nothing(
    context: MethodContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(tmp_path / "bin", "hdfs", HALF)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    store = context.destination
    killed = store.incoming_for("a/whole")
    store.make_incoming(killed)
    Path(store.url_of(killed), "whole").write_bytes(b"old!")
    files = [
        msgspec.structs.replace(file, size=4)
        for file in files_of(("a/whole", "a/whole"), ("a/half", "a/half"))
    ]
    assert [*HdfsGet().run(None, files, context)] == [0]  # type: ignore[arg-type]
    out = tmp_path / "out"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == ["a", "a/whole"]
    assert (out / "a" / "whole").read_bytes() == b"data"
    assert "whole" not in Path(context.log_path).read_text().splitlines()


@pytest.mark.parametrize(
    ("said", "is_left"),
    [("Application with id 'application_17_0004' doesn't exist in RM.", False), ("refused", True)],
)
def test_an_application_that_yarn_does_not_know_any_more_has_ended(
    context: MethodContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    is_left: bool,
) -> None:
    put_program(tmp_path / "bin", "yarn", f'#!/bin/sh\necho "{said}"\nexit 255\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    hadoop = Hadoop(HadoopSettings(), context)
    end_all(hadoop, Started(jobs={"17_0004"}), context.destination)
    hadoop.close()
    assert (ended_line("17_0004") in Path(context.log_path).read_text()) is not is_left


def test_an_application_is_ended_when_its_worker_stops(
    context: MethodContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(
        tmp_path / "bin",
        "hadoop",
        f"#!/bin/sh\ncat <<E\n{PRINTED}E\ntouch {tmp_path}/started\nsleep 600\n",
    )
    put_program(tmp_path / "bin", "yarn", f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    original = Hadoop.run

    def run(self: Hadoop, *arguments: Any, **options: Any) -> Any:
        for found in original(self, *arguments, **options):
            if (tmp_path / "started").exists():
                context.stop.set("enough")
            yield found

    monkeypatch.setattr(Hadoop, "run", run)
    files = files_of(("a/x", "a/x"))
    assert [*Distcp().run(None, files, context)] == []  # type: ignore[arg-type]
    assert (tmp_path / "asked").read_text() == "application -kill application_17_0004\n"
    assert ended_line("17_0004") in Path(context.log_path).read_text()
    assert os.listdir(tmp_path / "logs") == ["a.job.3.distcp.log"]


def test_a_failure_names_the_cause_and_not_a_stack(
    context: MethodContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(
        tmp_path / "bin",
        "hadoop",
        "#!/bin/sh\ncat <<E\n"
        "2026-11-27 10:00:00,1 WARN util.NativeCodeLoader: Unable to load native-hadoop library\n"
        "2026-11-27 10:00:00,1 ERROR tools.DistCp: Exception encountered\n"
        "java.net.UnknownHostException: Invalid host name: local host is: (unknown)\n"
        "\tat java.base/jdk.internal.reflect.NativeConstructor.newInstance0(Native Method)\n"
        "\t... 12 more\n"
        "E\nexit 231\n",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    hadoop = Hadoop(HadoopSettings(), context)
    assert not hadoop.call(["hadoop", "distcp"])
    with pytest.raises(StoreError) as raised:
        judge(hadoop, context, came=0, missing=3)
    assert str(raised.value) == (
        "hadoop distcp ended with exit code 231: Exception encountered / "
        "java.net.UnknownHostException: Invalid host name: local host is: (unknown)"
    )
    judge(hadoop, context, came=1, missing=2)  # noted: others may come


def test_only_earlier_attempts_by_the_same_method_are_looked_at(tmp_path: Path) -> None:
    for name in ("j.1.m.log", "j.2.m.log", "j.x.m.log", "j.1.n.log", "j.k.1.m.log", "j.3.m.work"):
        (tmp_path / name).write_bytes(b"")
    found = earlier_paths(str(tmp_path / "j.2.m.log"), ".log")
    assert found == [str(tmp_path / "j.1.m.log")]
