"""Filters from `generate-joblist` to `jobtool verify`, as people run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

import jobtool
from jobtool.cli.filteroptions import filter_flags
from tests.cluster.operations import need_strace
from tests.commands import BIN, assert_one_line_error, environment, run, run_ok
from tests.prepare import prepare
from tests.servers.s3 import S3Server

FILES = (
    "a/keep.tif",
    "a/leave.tmp",
    "a/cache/deep/one.tif",
    "b/keep.tif",
    "b/odd \udcff\n.tmp",
    "cache/whole.tif",
    "leave.tmp",
    "keep.tif",
)
EXCLUDE = ("--exclude", "*.tmp", "--exclude", "cache/")
KEPT = {"a/keep.tif", "b/keep.tif", "keep.tif"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
    return root


def _generate(source: object, to: object, *options: object, joblist: Path) -> None:
    where = ("-i", source, "-o", joblist, "-d", to, "-v", 0)
    prepare("generate-joblist", *where, *options)


def _transfer(joblist: Path, *options: object) -> list[dict[str, object]]:
    done = run_ok("transfer-worker", "-i", joblist, "--json", *options)
    return [json.loads(line) for line in done.lines]


def _names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def _successes(events: list[dict[str, object]]) -> dict[object, tuple[object, object]]:
    return {
        event["job"]: (event["files"], event["excluded"])
        for event in events
        if event["event"] == "success"
    }


def test_what_is_excluded_is_counted_and_is_neither_missing_nor_extra(
    tmp_path: Path, source: Path
) -> None:
    joblist, out = tmp_path / "jobs", tmp_path / "out"
    _generate(source, out, "-l", "tree", *EXCLUDE, joblist=joblist)
    assert _successes(_transfer(joblist)) == {"a": (1, 2), "b": (1, 1), "keep.tif": (1, 0)}
    assert _names(out) == KEPT
    assert "excluded=2" in (joblist / "a.txt").read_text()
    (out / "a/left by others.tmp").write_bytes(b"not jobtool's")
    (out / "a/cache").mkdir()
    (out / "a/cache/x.tif").write_bytes(b"nor this")
    run_ok("jobtool", "verify", joblist)
    (out / "a/new.tif").write_bytes(b"this is extra")
    done = run("jobtool", "verify", joblist, "-v", 0)
    assert (done.exit_code, done.lines[0]) == (1, f"❌ extra: {out}/a/new.tif")


def test_a_folder_that_is_left_out_is_never_opened(tmp_path: Path, source: Path) -> None:
    need_strace()
    joblist, log = tmp_path / "jobs", tmp_path / "log"
    commands = (
        ["generate-joblist", "-i", source, "-o", joblist, "-d", tmp_path / "out", *EXCLUDE],
        ["transfer-worker", "-i", joblist],
        ["jobtool", "doctor", joblist],
    )
    opened = set()
    for name, *arguments in commands:
        traced = ["strace", "-f", "-y", "-e", "trace=open,openat,openat2", "-o", str(log)]
        command = [*traced, str(BIN / str(name)), *map(str, arguments)]
        subprocess.run(command, env=environment(), check=True, capture_output=True)
        text = log.read_text(errors="surrogateescape")
        opened |= set(re.findall(rf"<({re.escape(str(source))}[^>]*)>$", text, re.MULTILINE))
    assert str(source / "a") in opened
    assert not [path for path in opened if "/cache" in path]
    assert _names(tmp_path / "out") == KEPT


def test_s3_sends_and_receives_the_same_files(
    tmp_path: Path, source: Path, rclone_s3: S3Server
) -> None:
    (source / "b/odd \udcff\n.tmp").unlink()
    bucket = rclone_s3.new_bucket()
    up, down = tmp_path / "up", tmp_path / "down"
    where = ("-v", 0, "-l", "tree")
    env = rclone_s3.environment
    prepare(
        *("generate-joblist", "-i", source, "-o", up, "-d", f"s3://{bucket}/x", *where), env=env
    )
    run_ok("transfer-worker", "-i", up, "-v", 0, env=env)
    prepare(
        *("generate-joblist", "-i", f"s3://{bucket}/x", "-o", down, "-d", tmp_path / "out"),
        *where,
        *EXCLUDE,
        env=env,
    )
    run_ok("transfer-worker", "-i", down, "-v", 0, env=env)
    assert _names(tmp_path / "out") == KEPT


def test_sizes_and_ages(tmp_path: Path, source: Path) -> None:
    old = time.time() - 40 * 86400
    os.utime(source / "a/keep.tif", (old, old))
    (source / "b/keep.tif").write_bytes(b"x" * 5000)
    joblist, out = tmp_path / "jobs", tmp_path / "out"
    options = ("-l", "tree", "--max-age", "30d", "--max-size", "4kB", "--exclude", "*.tmp")
    _generate(source, out, *options, joblist=joblist)
    written = (joblist / "joblist.toml").read_text()
    _transfer(joblist)
    assert _names(out) == {"a/cache/deep/one.tif", "cache/whole.tif", "keep.tif"}
    prepare("generate-joblist", "-i", source, "-o", joblist, "-v", 0)
    assert (joblist / "joblist.toml").read_text() == written, "filters are kept unless given again"


def test_the_order_of_rules_counts(tmp_path: Path, source: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("# only these\n- cache/\n+ *.tif\n- *\n")
    _generate(source, tmp_path / "1", "-l", "tree", "--filter-from", rules, joblist=tmp_path / "j1")
    _generate(source, tmp_path / "2", "-l", "tree", "--include", "*.tif", joblist=tmp_path / "j2")
    _transfer(tmp_path / "j1")
    _transfer(tmp_path / "j2")
    assert _names(tmp_path / "1") == KEPT
    assert _names(tmp_path / "2") == {name for name in FILES if name.endswith(".tif")}


def test_what_a_filter_leaves_out_later_isnt_gone_and_what_arrived_stays(
    tmp_path: Path, source: Path
) -> None:
    joblist, out = tmp_path / "jobs", tmp_path / "out"
    (source / "a/cannot be written").write_bytes(b"x")
    (out / "a/cannot be written").mkdir(parents=True)
    _generate(source, out, "-l", "tree", joblist=joblist)
    assert run("transfer-worker", "-i", joblist, "-v", 0).exit_code == 1
    assert (out / "a/leave.tmp").exists()
    _generate(source, out, *EXCLUDE, "--exclude", "/a/cannot*", joblist=joblist)
    run_ok("jobtool", "retry", joblist)
    _transfer(joblist)
    assert (joblist / "a.txt").read_text().startswith("success")
    assert (out / "a/leave.tmp").exists()
    run_ok("jobtool", "verify", joblist)
    (out / "a/leave.tmp").unlink()
    done = run("jobtool", "verify", joblist, "-v", 0)
    assert done.lines[0] == f"❌ missing: {out}/a/leave.tmp"


def test_what_is_usually_left_out_is_written_as_rules(tmp_path: Path, source: Path) -> None:
    for name in (".nfs0001", ".snapshot/daily/x", "lost+found/y", "a~", "Thumbs.db", "b.tmp~x"):
        (source / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "a" / name).write_bytes(b"x")
    joblist, out = tmp_path / "jobs", tmp_path / "out"
    _generate(
        source, out, "-l", "tree", "--filter", "+ leave.tmp", "--exclude-usual", joblist=joblist
    )
    rules = tomllib.loads((joblist / "joblist.toml").read_text())["filters"]["rules"]
    assert (rules[0], "- .snapshot/" in rules) == ("+ leave.tmp", True)
    _transfer(joblist)
    kept = {name for name in FILES if name != FILES[4]} | {"a/b.tmp~x"}
    assert _names(out) == kept
    only = ("-l", "tree", "--include", "*.tif", "--exclude-usual")
    _generate(source, tmp_path / "2", *only, joblist=tmp_path / "only")
    rules = tomllib.loads((tmp_path / "only/joblist.toml").read_text())["filters"]["rules"]
    assert (rules[0], rules[-2:]) == ("- .nfs*", ["+ *.tif", "- /**"])


def test_from_python(tmp_path: Path, source: Path) -> None:
    joblist, out = tmp_path / "jobs", tmp_path / "out"
    table = {"rules": ["- cache/", "- *.tmp"], "min_bytes": 9}
    jobtool.generate_joblist(source, joblist, destination=out, layout="tree", filters=table)
    jobtool.transfer_jobs(joblist)
    assert _names(out) == {"a/keep.tif", "b/keep.tif"}
    with pytest.raises(jobtool.UsageError, match=r"filters: .*`rule`"):
        jobtool.generate_joblist(source, tmp_path / "2", destination=out, filters={"rule": []})


def test_links_that_are_left_out_arent_followed(tmp_path: Path, source: Path) -> None:
    (source / "a/out.tmp").symlink_to("/etc/hostname")
    (source / "a/dangling.tmp").symlink_to("nowhere")
    (source / "b/cache").symlink_to("/etc")
    joblist, out = tmp_path / "jobs", tmp_path / "out"
    _generate(source, out, "-l", "tree", *EXCLUDE, joblist=joblist)
    assert _successes(_transfer(joblist))["a"] == (1, 4)
    assert _names(out) == KEPT


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--exclude", "a{"], "isn't closed"),
        (["--include", "a", "--exclude", "b"], "Write both as --filter"),
        (["--filter", "a"], "expected a rule such as"),
        (["--filter-from", "nowhere"], "No such file"),
        (["--min-size", "5MB", "--max-size", "1MB"], "expected min_bytes up to max_bytes"),
        (["--min-size", "5 parsecs"], "expected a size"),
        (["--min-age", "2d", "--max-age", "1d"], "expected modified_since up to modified_until"),
        (["-l", "packages", "--files-from", "-"], "isn't for the layout 'packages'"),
        (["--exclude", "**"], "found none that the filters include"),
    ],
)
def test_filters_that_cant_be_are_refused(
    tmp_path: Path, source: Path, options: list[str], told: str
) -> None:
    where = ("-i", source, "-o", tmp_path / "jobs", "-d", tmp_path / "out", "-v", 0)
    done = run("generate-joblist", *where, *options)
    assert done.exit_code != 0
    assert told in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "jobs").exists()


def test_rows_of_a_manifest_that_are_left_out_are_counted(tmp_path: Path, source: Path) -> None:
    table, out = tmp_path / "files.csv", tmp_path / "out"
    rows = (f"in/{name},{number}\n" for number, name in enumerate(FILES) if "\n" not in name)
    table.write_text("src_path,dst_path\n" + "".join(rows))
    joblist = tmp_path / "jobs"
    where = ("-i", table, "-o", joblist, "-d", out, "-l", "manifest")
    done = prepare("generate-joblist", *where, *EXCLUDE, "--min-size", "9")
    assert "5 row(s) excluded" in done.stdout
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    assert _names(out) == {"0", "3"}
    run_ok("jobtool", "verify", joblist)
    again = prepare("generate-joblist", "-i", table, "-o", joblist)
    assert "Created 0 job(s); 1 left as they were, 5 row(s) excluded." in again.stdout


def test_sizes_that_a_manifest_doesnt_give_are_asked_for(tmp_path: Path) -> None:
    table = tmp_path / "files.csv"
    table.write_text("src_path,dst_path\ns3://bucket/key,x\n")
    where = ("-i", table, "-o", tmp_path / "jobs", "-d", tmp_path / "out", "-l", "manifest")
    done = run("generate-joblist", *where, "--min-size", "9", "-v", 0)
    assert_one_line_error(done, 2, "row 1", "isn't known, so that filters can't judge it")


def test_a_worker_says_why_it_has_no_filters(tmp_path: Path, source: Path) -> None:
    joblist = tmp_path / "jobs"
    _generate(source, tmp_path / "out", joblist=joblist)
    for flag in filter_flags():
        value = () if flag == "--exclude-usual" else ("1",)
        done = run("transfer-worker", "-i", joblist, flag, *value)
        assert_one_line_error(done, 2, f"{flag}: a worker has no filters of its own")
    assert "--exclude" not in run_ok("transfer-worker", "--help").stdout


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('rules = ["*.tmp"]', "expected a rule such as"),
        ('rule = ["- a"]', "rules"),
        ("min_bytes = -1", "min_bytes"),
        ("modified_since = 2026-01-01", "modified_since"),
        ("modified_since = 2026-01-01T00:00:00", "modified_since"),
    ],
)
def test_a_mistake_in_the_table_is_told(
    tmp_path: Path, source: Path, table: str, told: str
) -> None:
    joblist = tmp_path / "jobs"
    _generate(source, tmp_path / "out", joblist=joblist)
    settings = joblist / "joblist.toml"
    settings.write_text(settings.read_text() + f"\n[filters]\n{table}\n")
    done = run("transfer-worker", "-i", joblist, "-v", 0)
    assert done.exit_code != 0
    assert "joblist.toml" in done.stderr
    assert told in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
