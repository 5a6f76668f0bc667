"""Attributes of files and folders, as workers keep them between folders."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cluster.operations import need_strace
from tests.commands import BIN, environment, run, run_ok
from tests.prepare import prepare
from tests.trees import events, statuses, write

TIME_S = 981_173_106


def generate(tmp_path: Path, *more: object, layout: str = "tree") -> Path:
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out")
    prepare("generate-joblist", *paths, "-l", layout, *more)
    return tmp_path / "list"


def transfer(tmp_path: Path, *options: object, **more: object) -> None:
    run_ok("transfer-worker", "-i", tmp_path / "list", *options, **more)
    assert set(statuses(tmp_path / "list").values()) == {"success"}


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): mode_of(path) for path in sorted(root.rglob("*"))}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One item with folders of many modes, and their times."""
    root = tmp_path / "in" / "item"
    write(root / "private" / "deep" / "file", b"secret")
    write(root / "group" / "file", b"shared").chmod(0o664)
    write(root / "read-only" / "below" / "file", b"archived").chmod(0o444)
    (root / "empty").mkdir()
    for name, mode in (
        ("private/deep", 0o755),
        ("private", 0o700),
        ("group", 0o2770),
        ("read-only/below", 0o555),
        ("read-only", 0o555),
        ("empty", 0o711),
        ("", 0o750),
    ):
        (root / name).chmod(mode)
        os.utime(root / name, (TIME_S, TIME_S))
    return root


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_folders_arrive_with_their_modes_and_times(tmp_path: Path, tree: Path, umask: int) -> None:
    generate(tmp_path)
    command = f"umask {umask:03o}; exec {BIN / 'transfer-worker'} -i {tmp_path / 'list'}"
    subprocess.run(["bash", "-c", command], check=True, env=environment(), capture_output=True)
    out = tmp_path / "out" / "item"
    assert modes(out) == modes(tree)
    assert mode_of(out) == 0o750
    assert {path.stat().st_mtime for path in [out, *out.rglob("*")] if path.is_dir()} == {TIME_S}


@pytest.mark.parametrize("umask", [0o027, 0o077])
def test_without_modes_the_umask_rules_files_and_folders_alike(
    tmp_path: Path, tree: Path, umask: int
) -> None:
    generate(tmp_path)
    command = f"umask {umask:03o}; exec {BIN / 'transfer-worker'} --preserve none -i "
    command += shlex.quote(str(tmp_path / "list"))
    subprocess.run(["bash", "-c", command], check=True, env=environment(), capture_output=True)
    out = tmp_path / "out"
    assert {mode_of(path) for path in out.rglob("*") if path.is_dir()} == {0o777 & ~umask}
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {mode_of(path) for path in files} == {0o666 & ~umask}
    assert all(path.stat().st_mtime > TIME_S for path in files)


def under_strace(tmp_path: Path, injection: str, *options: object) -> subprocess.CompletedProcess:
    """Run a worker whose system calls fail as configured."""
    need_strace()
    calls = injection.partition(":")[0]
    tracing = ("strace", "-f", "-o", "/dev/null", "-e", f"trace={calls}", "-e")
    worker = (BIN / "transfer-worker", "-i", tmp_path / "list", "--claims", "lock", *options)
    return subprocess.run(
        [*tracing, f"inject={injection}", *map(str, worker)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
    )


def test_until_all_is_there_nobody_else_may_enter_and_a_kill_before_the_end_is_mended(
    tmp_path: Path, tree: Path
) -> None:
    generate(tmp_path)
    done = under_strace(tmp_path, "chmod,fchmodat:signal=KILL:when=1")
    assert done.returncode != 0
    out = tmp_path / "out" / "item"
    assert {path.read_bytes() for path in out.rglob("file")} == {b"secret", b"shared", b"archived"}
    assert {mode_of(path) for path in [out, *out.rglob("*")] if path.is_dir()} == {0o1700}
    transfer(tmp_path)
    assert modes(out) == modes(tree)
    assert mode_of(out) == 0o750


@pytest.mark.parametrize("error", ["EPERM", "EOPNOTSUPP"])
def test_a_refused_mode_or_time_is_a_line_of_the_log_and_no_failure(
    tmp_path: Path, error: str
) -> None:
    for number in range(5):
        path = write(tmp_path / "in" / "item" / f"{number}", b"data")
        path.chmod(0o640)
        os.utime(path, (1, 1))  # a copy made now must not have this time by chance
    (tmp_path / "in" / "item").chmod(0o700)
    os.utime(tmp_path / "in" / "item", (1, 1))
    generate(tmp_path)
    done = under_strace(tmp_path, f"fchmod,chmod,fchmodat,utimensat:error={error}")
    assert done.returncode == 0, done
    assert statuses(tmp_path / "list") == {"item": "success"}
    lines = events(tmp_path / "list" / "item.txt", "attributes")
    first = [str(tmp_path / "in" / "item" / f"{number}") for number in range(5)]
    (times,) = (line for line in lines if "attribute=times" in line)
    assert "count=6" in times  # the folder, too
    assert "the filesystem refuses it" in times
    assert sum(path in times for path in first) == 3
    # The mode that they were made with is the source's already.
    assert [line for line in lines if "attribute=mode" in line and "count=1" in line]
    assert {mode_of(path) for path in (tmp_path / "out" / "item").iterdir()} == {0o640}


def test_a_refused_mode_of_a_large_file_fails_it_neither(tmp_path: Path) -> None:
    large = write(tmp_path / "in" / "item" / "large", b"x" * 6 * 1024 * 1024)
    large.chmod(0o444)
    for path in (large, large.parent):
        os.utime(path, (1, 1))
    generate(tmp_path)
    with open(tmp_path / "list" / "joblist.toml", "a") as settings:
        settings.write("[transfer]\npart_size_bytes = 5242880\n")
    done = under_strace(tmp_path, "fchmod,utimensat:error=EPERM")
    assert (done.returncode, statuses(tmp_path / "list")) == (0, {"item": "success"}), done
    assert len(events(tmp_path / "list" / "item.txt", "attributes")) == 2


def test_a_folder_that_was_there_before_keeps_its_mode_and_the_log_says_so(tmp_path: Path) -> None:
    write(tmp_path / "in" / "item" / "below" / "file")
    (tmp_path / "in" / "item").chmod(0o700)
    (tmp_path / "out" / "item" / "below").mkdir(parents=True)
    (tmp_path / "out" / "item").chmod(0o1777)
    (tmp_path / "out" / "item" / "below").chmod(0o700)
    generate(tmp_path)
    transfer(tmp_path)
    assert mode_of(tmp_path / "out" / "item") == 0o1777
    assert mode_of(tmp_path / "out" / "item" / "below") == 0o700
    lines = events(tmp_path / "list" / "item.txt", "attributes")
    less, more = sorted(lines, key=lambda line: "more open" in line)
    assert "more open" in more
    assert f"first={tmp_path / 'in' / 'item'}" in more
    assert "less open" in less
    assert str(tmp_path / "in" / "item" / "below") in less


def test_a_private_folder_above_the_jobs_own_is_no_more_open_at_the_destination(
    tmp_path: Path,
) -> None:
    write(tmp_path / "in" / "private" / "item" / "file")
    (tmp_path / "in" / "private").chmod(0o700)
    (tmp_path / "layout.toml").write_text(
        '[layout]\npattern = "{owner}/{item}"\nname = "{item}"\n'
        'destination = "{destination}/{owner}/{item}"\n',
        encoding="utf-8",
    )
    generate(tmp_path, layout=str(tmp_path / "layout.toml"))
    transfer(tmp_path)
    assert mode_of(tmp_path / "out" / "private") == 0o700


@pytest.mark.parametrize("mode", [0o700, 0o751])
def test_an_empty_folder_that_is_a_job_arrives_with_its_mode(tmp_path: Path, mode: int) -> None:
    (tmp_path / "in" / "item").mkdir(parents=True)
    (tmp_path / "in" / "item").chmod(mode)
    generate(tmp_path)
    transfer(tmp_path)
    assert mode_of(tmp_path / "out" / "item") == mode


def test_the_destinations_group_is_handed_down(tmp_path: Path) -> None:
    write(tmp_path / "in" / "item" / "below" / "file")
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o2770)
    generate(tmp_path)
    transfer(tmp_path)
    assert mode_of(tmp_path / "out" / "item" / "below") == 0o2755


def test_many_folders_are_given_their_attributes_by_threads(tmp_path: Path) -> None:
    root = tmp_path / "in" / "item"
    for number in range(300):
        write(root / f"{number:03d}" / "below" / "file")
        (root / f"{number:03d}").chmod(0o700 if number % 3 else 0o500)
    generate(tmp_path)
    transfer(tmp_path)
    assert modes(tmp_path / "out" / "item") == modes(root)


def test_holes_stay_holes_in_parts_and_the_digest_is_that_of_all_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / "item" / "image", b"header")
    os.truncate(path, 100 * 1024 * 1024)
    generate(tmp_path)
    transfer(tmp_path)
    arrived = tmp_path / "out" / "item" / "image"
    assert arrived.stat().st_size == path.stat().st_size
    assert arrived.stat().st_blocks * 512 < 1024 * 1024
    run_ok("jobtool", "verify", tmp_path / "list", "--deep")


def test_hard_links_are_told_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / "item" / "file")
    for number in range(4):
        os.link(path, path.with_name(f"link{number}"))
    write(tmp_path / "in" / "item" / "alone")
    generate(tmp_path)
    transfer(tmp_path)
    (line,) = events(tmp_path / "list" / "item.txt", "attributes")
    assert "hard link" in line
    assert "count=5" in line


def test_what_is_kept_may_be_said_in_the_joblist_and_on_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / "item" / "file")
    os.setxattr(path, "user.origin", b"telescope")
    path.chmod(0o640)
    os.utime(path, (TIME_S, TIME_S))
    generate(tmp_path)
    settings = tmp_path / "list" / "joblist.toml"
    settings.write_text(settings.read_text() + '\n[transfer]\npreserve = ["xattrs"]\n')
    transfer(tmp_path)
    arrived = tmp_path / "out" / "item" / "file"
    assert os.getxattr(arrived, "user.origin") == b"telescope"
    assert (mode_of(arrived), arrived.stat().st_mtime > TIME_S) == (0o644, True)
    run_ok("jobtool", "retry", tmp_path / "list", "--job", "item")
    arrived.unlink()
    transfer(tmp_path, "--preserve", "times,mode")
    assert (mode_of(arrived), arrived.stat().st_mtime) == (0o640, TIME_S)


@pytest.mark.parametrize("words", ["mode,size", "", "none,mode"])
def test_an_unknown_attribute_is_refused_with_the_list(tmp_path: Path, words: str) -> None:
    write(tmp_path / "in" / "item" / "file")
    generate(tmp_path)
    done = run("transfer-worker", "-i", tmp_path / "list", "--preserve", words)
    assert done.exit_code == 2
    assert "mode, times, xattrs, acl, owner" in done.stderr
    assert "Traceback" not in done.stderr
    assert statuses(tmp_path / "list") == {"item": "todo"}


def test_from_bucket_to_bucket_headers_travel_and_what_does_not_is_in_the_log(
    tmp_path: Path, rclone_s3
) -> None:
    source, destination = rclone_s3.new_bucket(), rclone_s3.new_bucket()
    for number in range(5):
        rclone_s3.client.put_object(
            Bucket=source,
            Key=f"item/{number}",
            Body=b"{}",
            ContentType="application/geo+json",
            Metadata={"long": "x" * 1700, "short": "1"},
        )
    paths = ("-i", f"s3://{source}", "-o", tmp_path / "list", "-d", f"s3://{destination}")
    prepare("generate-joblist", *paths, "-l", "tree", env=rclone_s3.environment)
    transfer(tmp_path, "--preserve", "times,owner", env=rclone_s3.environment)
    lines = events(tmp_path / "list" / "item.txt", "attributes")
    (metadata,) = (line for line in lines if "metadata" in line)
    assert "count=5" in metadata
    assert metadata.count(f"s3://{source}/item/") == 3
    owners = [line for line in lines if "attribute=owner" in line]
    assert [f"s3://{source}" in owners[0], f"s3://{destination}" in owners[0]] == [True, True]
    for number in range(5):
        head = rclone_s3.client.head_object(Bucket=destination, Key=f"item/{number}")
        assert head["ContentType"] == "application/geo+json"


def test_a_folder_that_goes_to_s3_says_what_was_asked_for_and_is_not_kept(
    tmp_path: Path, moto_s3
) -> None:
    for name in ("a", "b"):
        write(tmp_path / "in" / "item" / name)
    bucket = moto_s3.new_bucket()
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", f"s3://{bucket}")
    prepare("generate-joblist", *paths, "-l", "tree", env=moto_s3.environment)
    transfer(tmp_path, "--preserve", "all", env=moto_s3.environment)
    lines = events(tmp_path / "list" / "item.txt", "attributes")
    told = {word for line in lines for word in line.split() if word.startswith("attribute=")}
    assert told == {f"attribute={word}" for word in ("mode", "xattrs", "acl", "owner")}
    assert len(lines) == 4
    run_ok("jobtool", "retry", tmp_path / "list", "--job", "item", env=moto_s3.environment)
    moto_s3.client.delete_object(Bucket=bucket, Key="item/a")
    transfer(tmp_path, env=moto_s3.environment)
    assert events(tmp_path / "list" / "item.txt", "attributes") == lines  # not by default


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_from_s3_the_umask_rules_files_and_folders_alike(
    tmp_path: Path, rclone_s3, umask: int
) -> None:
    bucket = rclone_s3.new_bucket()
    for key in ("item/a", "item/below/b"):
        rclone_s3.client.put_object(Bucket=bucket, Key=key, Body=b"data")
    paths = ("-i", f"s3://{bucket}", "-o", tmp_path / "list", "-d", tmp_path / "out")
    prepare("generate-joblist", *paths, "-l", "tree", env=rclone_s3.environment)
    command = f"umask {umask:03o}; exec {BIN / 'transfer-worker'} -i {tmp_path / 'list'}"
    environ = environment(rclone_s3.environment)
    subprocess.run(["bash", "-c", command], check=True, env=environ, capture_output=True)
    found = {mode_of(path) for path in (tmp_path / "out").rglob("*") if path.is_dir()}
    assert found == {0o777 & ~umask}
    found = {mode_of(path) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {0o666 & ~umask}
