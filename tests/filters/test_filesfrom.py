"""`--files-from` from `generate-joblist` to `jobtool verify`, as people run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

import jobtool
from tests.cluster.operations import need_strace
from tests.commands import BIN, Done, environment, run, run_ok
from tests.prepare import prepare
from tests.servers.s3 import S3Server

FILES = (
    "a/one.tif",
    "a/two.tif",
    "a/cache/three.tif",
    "a/deep/er/four.tif",
    "b/one.tif",
    "b/odd \udcff\n +name.tif",
    "c/one.tif",
    "top.txt",
    "# a comment.txt",
    " spaces around ",
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))
    return root


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


def _generate(
    source: object, joblist: Path, *options: object, env: Mapping[str, str] | None = None
) -> Done:
    where = ("-i", source, "-o", joblist, "-d", joblist.parent / "out", "-l", "tree")
    return run("generate-joblist", *where, *options, env=env)


def _list(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "list"
    path.write_bytes(text if isinstance(text, bytes) else os.fsencode(text))
    return path


def _names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def _null(*names: str) -> bytes:
    return b"".join(os.fsencode(name) + b"\0" for name in names)


def test_only_named_files_are_transferred_at_each_attempt(
    tmp_path: Path, source: Path, joblist: Path
) -> None:
    text = "\ufeff# my files\r\n\n; more\n  a/one.tif  \r\n./a/deep/er/four.tif\n/b/one.tif\n"
    names = _list(tmp_path, text + f"{source}/top.txt")
    done = _generate(source, joblist, "--files-from", names, "-v", 3)
    assert done.exit_code == 0, done
    assert "Named: 4 file(s) (names on lines)" in done.stdout
    names.unlink()  # the joblist has its own copy
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    kept = {"a/one.tif", "a/deep/er/four.tif", "b/one.tif", "top.txt"}
    assert _names(tmp_path / "out") == kept
    assert "excluded=2" in (joblist / "a.txt").read_text()
    run_ok("jobtool", "verify", joblist)
    (tmp_path / "out/a/one.tif").unlink()
    (source / "a/new.tif").write_bytes(b"came later")
    assert run("jobtool", "verify", joblist, "--repair").exit_code == 1
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    assert _names(tmp_path / "out") == kept


def test_names_ended_by_nul_may_be_any(tmp_path: Path, source: Path, joblist: Path) -> None:
    named = [FILES[5], FILES[8], FILES[9], "a/one.tif", "a/one.tif"]
    done = _generate(source, joblist, "--files-from", _list(tmp_path, _null(*named)))
    assert done.exit_code == 0, done
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    assert _names(tmp_path / "out") == set(named)


def test_the_output_of_find(tmp_path: Path, source: Path, joblist: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    found = subprocess.run(
        ["find", f"{tmp_path}/link/", "-print0"], capture_output=True, check=True
    ).stdout
    printed = subprocess.run(
        ["find", ".", "-type", "f", "-printf", "%s %T@ %p\\0"],
        cwd=source,
        capture_output=True,
        check=True,
    ).stdout
    where = ("-i", source, "-o", joblist, "-d", tmp_path / "out", "-l", "tree")
    command = [BIN / "generate-joblist", *where, "--files-from", "-"]
    subprocess.run([*map(str, command)], input=found, env=environment(), check=True)
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    assert _names(tmp_path / "out") == set(FILES)
    run_ok("jobtool", "verify", joblist)
    other = tmp_path / "other"
    options = ("--files-from", _list(tmp_path, printed), "--list-format", "find", "-v", 3)
    done = _generate(source, other, *options)
    size = sum(len(os.fsencode(name)) for name in FILES)
    assert f"Named: {len(FILES)} file(s), {size} B (find)" in done.stdout, done


def test_a_name_that_isnt_there_is_an_error_of_its_job(
    tmp_path: Path, source: Path, joblist: Path
) -> None:
    names = _list(tmp_path, "a/one.tif\na/gone.tif\nnowhere/x.tif\nmissing.txt\nb/one.tif\n")
    assert _generate(source, joblist, "--files-from", names).exit_code == 0
    done = run("transfer-worker", "-i", joblist, "--json")
    assert done.exit_code == 1
    errors = {
        event["job"]: event["reason"]
        for event in map(json.loads, done.lines)
        if event["event"] == "error"
    }
    assert set(errors) == {"a", "nowhere", "missing.txt"}
    assert "a/gone.tif, which --files-from names; found nothing" in errors["a"]
    assert _names(tmp_path / "out") == {"a/one.tif", "b/one.tif"}
    (source / "a/gone.tif").write_bytes(b"back")
    run("jobtool", "retry", joblist)
    assert run("transfer-worker", "-i", joblist, "-v", 0).exit_code == 1
    assert "a/gone.tif" in _names(tmp_path / "out")


def test_a_folder_isnt_a_name_but_for_an_empty_one(
    tmp_path: Path, source: Path, joblist: Path
) -> None:
    (source / "a/empty").mkdir()
    (source / "hollow").mkdir()
    names = _list(tmp_path, "a/one.tif\na/empty\na/deep\nhollow\nc\n")
    assert _generate(source, joblist, "--files-from", names).exit_code == 0
    done = run("transfer-worker", "-i", joblist, "-v", 0)
    assert done.exit_code == 1
    assert re.search(r"in/a/deep, which --files-from.*isn't empty", done.stdout + done.stderr), done
    assert re.search(r"in/c, which --files-from.*isn't empty", done.stdout + done.stderr), done
    assert not (tmp_path / "out/c/one.tif").exists()
    done = _generate(source, joblist, "--files-from", _list(tmp_path, "a/one.tif\na/empty\n"))
    run("jobtool", "retry", joblist, "--job", "a")
    run("transfer-worker", "-i", joblist, "-v", 0)
    assert (tmp_path / "out/a/empty").is_dir()
    assert (tmp_path / "out/hollow").is_dir()


def test_names_that_no_job_can_have_are_told(tmp_path: Path, source: Path, joblist: Path) -> None:
    names = _list(tmp_path, _null("a/one.tif", "../up", "a//b", "c/", "x" * 9000, "."))
    done = _generate(source, joblist, "--files-from", names)
    assert done.exit_code == 1
    for told in ("a part '..'", "an empty part", "a slash at its end", "1 to 8192 bytes"):
        assert told in done.stdout + done.stderr, done
    plate = "s/workspace/segmentation/k/objects/b1/p1"
    (source / plate / "p1.zarr").mkdir(parents=True)
    named = _list(tmp_path, f"{plate}/p1.zarr/zarr.json\ntop.txt\n")
    plates = ("-l", "plates", "--files-from", named)
    where = ("-i", source, "-o", tmp_path / "2", "-d", tmp_path / "out")
    done = run("generate-joblist", *where, *plates)
    assert done.exit_code == 1
    assert "top.txt" in done.stdout + done.stderr, done


def test_rules_and_names_both_count(tmp_path: Path, source: Path, joblist: Path) -> None:
    names = _list(tmp_path, "a/one.tif\na/cache/three.tif\nb/one.tif\nc/one.tif\n")
    options = ("--files-from", names, "--exclude", "cache/", "--exclude", "/c/**")
    assert _generate(source, joblist, *options).exit_code == 0
    run_ok("transfer-worker", "-i", joblist, "-v", 0)
    assert _names(tmp_path / "out") == {"a/one.tif", "b/one.tif"}


def test_folders_without_names_arent_opened(tmp_path: Path, source: Path, joblist: Path) -> None:
    need_strace()
    log = tmp_path / "log"
    names = _list(tmp_path, "a/deep/er/four.tif\nb/one.tif\n")
    opened = set()
    where = ["-i", source, "-o", joblist, "-d", tmp_path / "out", "-l", "tree"]
    for name, *arguments in (
        ["generate-joblist", *where, "--files-from", names],
        ["transfer-worker", "-i", joblist],
    ):
        traced = ["strace", "-f", "-y", "-e", "trace=open,openat,openat2", "-o", str(log)]
        command = [*traced, str(BIN / str(name)), *map(str, arguments)]
        subprocess.run(command, env=environment(), check=True, capture_output=True)
        text = log.read_text(errors="surrogateescape")
        opened |= set(re.findall(rf"<({re.escape(str(source))}[^>]*)>$", text, re.MULTILINE))
    assert {str(source / "a"), str(source / "a/deep/er")} <= opened
    assert not {str(source), str(source / "a/cache"), str(source / "c")} & opened


def test_names_that_a_store_cant_have_are_errors_of_their_job(
    tmp_path: Path, joblist: Path, rclone_s3: S3Server
) -> None:
    bucket, env = rclone_s3.new_bucket(), rclone_s3.environment
    (rclone_s3.folder / bucket / "a").mkdir()
    (rclone_s3.folder / bucket / "a/1").write_bytes(b"1")
    names = _list(tmp_path, _null("a/caf\udce9", "a/" + "z" * 2000, "a/\x01"))
    assert _generate(f"s3://{bucket}", joblist, "--files-from", names, env=env).exit_code == 0
    done = run("transfer-worker", "-i", joblist, "-v", 0, env=env)
    assert (done.exit_code, "Traceback" in done.stdout + done.stderr) == (1, False)
    log = (joblist / "a.txt").read_text()
    assert "this name isn't. Rename the file." in log
    assert "at most 1024 bytes" in log
    assert "found nothing. Put it back" in log


@pytest.mark.parametrize("most", [0, 2000])
def test_objects_are_looked_up_or_listed(
    tmp_path: Path, joblist: Path, rclone_s3: S3Server, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, env = rclone_s3.new_bucket(), rclone_s3.environment
    root = tmp_path / "in"
    for name in ("x/a/1 +ü.tif", "x/a/2.tif", "x/b/1.tif", "y/1"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    up = tmp_path / "up"
    prepare("generate-joblist", "-i", root, "-o", up, "-d", f"s3://{bucket}", "-l", "tree", env=env)
    run_ok("transfer-worker", "-i", up, "-v", 0, env=env)
    listed = "2024-01-31 10:00:00         12 x/a/1 +ü.tif\n2024-01-31 10:00:00   7 x/b/1.tif\n"
    names = _list(tmp_path, listed + "2024-01-31 10:00:00   3 x/b/gone\n")
    url = f"s3://{bucket}/x"
    done = _generate(url, joblist, "--files-from", names, "-v", 3, env=env)
    assert "Named: 3 file(s), 22 B (aws s3 ls)" in done.stdout, done
    monkeypatch.setattr("jobtool.transfer.selecting.MOST_LOOKS", most)
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    found = jobtool.transfer_jobs(joblist)
    assert _names(tmp_path / "out") == {"a/1 +ü.tif", "b/1.tif"}
    assert found.exit_code == 1
    assert "x/b/gone, which --files-from names" in (joblist / "b.txt").read_text()


def test_the_list_is_kept_until_filters_are_given_again(
    tmp_path: Path, source: Path, joblist: Path
) -> None:
    options = ("--files-from", _list(tmp_path, "a/one.tif\n"))
    assert _generate(source, joblist, *options).exit_code == 0
    before = (joblist / "joblist.toml").read_text()
    assert _generate(source, joblist).exit_code == 0
    assert (joblist / "joblist.toml").read_text() == before
    assert sorted(path.name for path in joblist.glob("*.txt")) == ["a.txt"]
    place = joblist / re.search(r'files_from = "(names/[0-9a-f]{32})"', before)[1]  # type: ignore[index]
    assert place.read_bytes().partition(b"\n")[2] == b"a/one.tif\0"
    place.write_bytes(place.read_bytes()[:-2])
    done = run("transfer-worker", "-i", joblist, "-v", 0)
    assert done.exit_code != 0
    assert "it was cut" in done.stdout + done.stderr, done
    assert not _names(tmp_path / "out") if (tmp_path / "out").exists() else True


def test_a_run_that_was_killed_before_joblist_toml_is_taken_up(
    tmp_path: Path, source: Path, joblist: Path
) -> None:
    names = _list(tmp_path, "a/one.tif\n")
    assert _generate(source, joblist, "--files-from", names).exit_code == 0
    (place,) = (joblist / "names").iterdir()
    left = joblist / "names" / f".{place.name}.0123456789ab.tmp"
    for path in [*joblist.iterdir()]:
        if path.name != "names":
            path.unlink() if path.is_file() else path.rmdir()
    place.rename(left)
    assert _generate(source, joblist, "--files-from", names).exit_code == 0
    assert (joblist / "a.txt").exists()
    assert [*(joblist / "names").iterdir()] == [place]


def test_a_dry_run_writes_nothing(tmp_path: Path, source: Path, joblist: Path) -> None:
    names = _list(tmp_path, "a/one.tif\n")
    done = _generate(source, joblist, "--files-from", names, "--dry-run")
    assert (done.exit_code, "Would create 1 job(s)" in done.stdout) == (0, True), done
    assert not joblist.exists()


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("", [], "names no file"),
        ("# only this\n", [], "names no file"),
        ("\ufeffx".encode("utf-16"), [], "found UTF-16"),
        ("a" * 300_000, [], "bytes without an end"),
        ("2024-01-31 10:00:00  12 x\nmore\n", [], "Keys with line ends need an S3 Inventory"),
        ("12 x\0", ["--list-format", "find"], "record 1: expected what find -printf"),
        ("{}", ["--list-format", "inventory"], "manifest.json of an S3 Inventory"),
        ("a/one.tif\n", ["-l", "manifest"], "Give the list as the input path"),
    ],
)
def test_lists_that_cant_be_are_refused(
    tmp_path: Path, source: Path, joblist: Path, text: str | bytes, options: list[str], told: str
) -> None:
    done = _generate(source, joblist, "--files-from", _list(tmp_path, text), *options, "-v", 0)
    assert done.exit_code == 2, done
    assert told in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not joblist.exists()


def test_from_python(tmp_path: Path, source: Path, joblist: Path) -> None:
    out = tmp_path / "out"
    with _list(tmp_path, _null(FILES[5], "top.txt")).open("rb") as file:
        made = jobtool.generate_joblist(
            source, joblist, destination=out, layout="tree", files_from=[file]
        )
    assert (made.created, made.names_left_out) == (2, 0)
    jobtool.transfer_jobs(joblist)
    assert _names(out) == {FILES[5], "top.txt"}
