"""Source trees with everything that a filesystem allows; each transfer ends as documented."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Done, finish, run, run_ok, run_without_superpowers, start
from tests.gate import gate_before
from tests.stores.raw import LocalRaw, S3Raw
from tests.trees import contents, events, receipts, status_of, statuses, write

NFC, NFD = "caf\u00e9", "cafe\u0301"
NAMES = [
    *("with space", " leading", "trailing ", "'single'", '"double"', "new\nline", "\ttab"),
    *("a -> b", "#hash", "100%", "%2F", "%0A", "a+b", "a&b=c;d?", "*[x]{y}$z`w`|<>", "back\\slash"),
    *(
        "\U0001f9ec emoji \U0001f469\u200d\U0001f52c",
        NFC,
        NFD,
        "\u202eturned",
        "-rf",
        "~",
        "...",
        ".hidden",
    ),
    *("a" * 255, "\u00e9" * 127 + "x", "todo", "joblist.toml", "a.txt", ".jobtool-notes.part"),
]
NOT_UTF8 = ["byte \udcff", "latin-1 caf\udce9", "\udc80\udc81"]
DEEP = "/".join(["d"] * 100)
MANY = 3_000


def make_names(root: Path, names: list[str]) -> dict[str, bytes]:
    """Make a file and a folder with a file for each name; return all files with their bytes."""
    files = {}
    for number, name in enumerate(names):
        files[f"files/{name}"] = f"file {number}".encode()
        files[f"folders/{name}/inside"] = f"inside {number}".encode()
    for path, data in files.items():
        write(root / path, data)
    return files


def generate(folder: Path, destination: object, *settings: str) -> Path:
    """Make a joblist of ``folder/in``."""
    paths = ("-i", folder / "in", "-o", folder / "list", "-d", destination, "-l", "tree")
    run_ok("generate-joblist", *paths, "-v", 0)
    if settings:
        with (folder / "list" / "joblist.toml").open("a") as file:
            file.write("\n[transfer]\n" + "\n".join(settings) + "\n")
    return folder / "list"


def transfer(joblist: Path, *options: object, env: dict[str, str] | None = None) -> Done:
    done = run("transfer-worker", "-i", joblist, *options, env=env)
    assert done.stderr == "", done
    return done


def everything(root: Path) -> dict[bytes, tuple[str, object]]:
    """Everything below a folder, by the bytes of its path: its kind, and its bytes or target."""
    found: dict[bytes, tuple[str, object]] = {}
    top = os.fsencode(root)
    for folder, folders, names in os.walk(top):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, top)
            if os.path.islink(path):
                found[inside] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[inside] = ("folder", None)
            else:
                with open(path, "rb") as file:
                    found[inside] = ("file", file.read())
    return found


def attributes(root: Path) -> dict[str, tuple[int, int]]:
    """The permissions and the modification time of each file."""
    return {
        str(path.relative_to(root)): (stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def s3(rclone_s3) -> S3Raw:
    return S3Raw(rclone_s3.client, rclone_s3.new_bucket(), "x/")


def url_of(s3: S3Raw) -> str:
    return f"s3://{s3.bucket}/x"


# Names


def test_any_name_is_the_same_byte_for_byte_on_a_disk(tmp_path: Path) -> None:
    make_names(tmp_path / "in" / "item", NAMES + NOT_UTF8)
    write(tmp_path / "in" / "item" / DEEP / "bottom", b"deep down")
    write(tmp_path / "in" / "item" / "empty file", b"")
    joblist = generate(tmp_path, tmp_path / "out")
    assert transfer(joblist).exit_code == 0
    source = everything(tmp_path / "in")
    assert (
        len([what for what, _ in source.values() if what == "file"])
        == 2 * (len(NAMES) + len(NOT_UTF8)) + 2
    )
    assert everything(tmp_path / "out") == source
    assert {receipt.src_path for receipt in receipts(joblist)} == {
        str(path) for path in (tmp_path / "in").rglob("*") if path.is_file()
    }
    assert run("jobtool", "verify", joblist, "--deep").exit_code == 0


def test_any_name_that_is_utf8_is_the_same_on_s3(tmp_path: Path, s3: S3Raw, rclone_s3) -> None:
    expected = make_names(tmp_path / "in" / "item", NAMES)
    expected |= {f"{DEEP}/bottom": b"deep down", "empty file": b""}
    write(tmp_path / "in" / "item" / DEEP / "bottom", b"deep down")
    write(tmp_path / "in" / "item" / "empty file", b"")
    joblist = generate(tmp_path, url_of(s3))
    assert transfer(joblist, env=rclone_s3.environment).exit_code == 0
    assert s3.paths() == {f"item/{path}" for path in expected}
    assert {path: s3.read(f"item/{path}") for path in expected} == expected
    verified = run("jobtool", "verify", joblist, "--deep", env=rclone_s3.environment)
    assert verified.exit_code == 0


def test_names_that_s3_can_not_hold_are_an_error_each_and_the_others_are_sent(
    tmp_path: Path, s3: S3Raw, rclone_s3
) -> None:
    good = make_names(tmp_path / "in" / "item", [NFC, NFD])
    bad = make_names(tmp_path / "in" / "item", NOT_UTF8)
    long = "/".join(["l" * 200] * 6)
    write(tmp_path / "in" / "item" / long)
    joblist = generate(tmp_path, url_of(s3))
    done = transfer(joblist, env=rclone_s3.environment)
    assert done.exit_code == 1
    assert s3.paths() == {f"item/{path}" for path in good}, "nothing under another name"
    failed = events(joblist / "item.txt", "failed")
    assert len(failed) == len(bad) + 1
    for byte in ("\\xff", "\\xe9", "\\x80\\x81"):
        lines = [line for line in failed if byte in line]
        assert len(lines) == 2, (byte, failed)
        assert all("UTF-8" in line and "Rename" in line for line in lines)
    assert sum("1024 bytes" in line for line in failed) == 1
    # Renamed as the message says, these files are sent, and no others.
    for path in sorted(bad, reverse=True):
        name = path.split("/")[1]
        if (tmp_path / "in" / "item" / path).parent.name == "files":
            os.rename(tmp_path / "in/item" / path, tmp_path / "in/item/files" / ascii(name))
        else:
            os.rename(
                tmp_path / "in/item/folders" / name, tmp_path / "in/item/folders" / ascii(name)
            )
    (tmp_path / "in" / "item" / long).unlink()
    run_ok("jobtool", "retry", joblist)
    assert transfer(joblist, env=rclone_s3.environment).exit_code == 1
    assert "--if-gone ignore" in events(joblist / "item.txt", "error")[-1]
    run_ok("jobtool", "retry", joblist)
    told = transfer(joblist, "--if-gone", "ignore", "--json", "-v", 3, env=rclone_s3.environment)
    assert told.exit_code == 0
    assert {path.removeprefix("item/"): s3.read(path) for path in s3.paths()} == contents(
        tmp_path / "in" / "item"
    )


@pytest.mark.parametrize("where", ["disk", pytest.param("s3", marks=pytest.mark.wide)])
def test_thousands_of_files_in_one_folder(tmp_path: Path, s3: S3Raw, rclone_s3, where: str) -> None:
    count = MANY if where == "disk" else 1001  # more than a page of a listing
    for number in range(count):
        data = b"" if number % 2 else str(number).encode()
        write(tmp_path / "in" / "item" / f"{number}", data)
    joblist = generate(tmp_path, tmp_path / "out" if where == "disk" else url_of(s3))
    done = transfer(joblist, env=rclone_s3.environment)
    assert done.exit_code == 0
    assert len(receipts(joblist)) == count
    if where == "disk":
        assert contents(tmp_path / "out") == contents(tmp_path / "in")
    else:
        assert s3.paths() == set(contents(tmp_path / "in"))


# Special files


def test_modes_times_empty_folders_and_each_name_of_a_hard_link_arrive(tmp_path: Path) -> None:
    item = tmp_path / "in" / "item"
    write(item / "tool", b"#!/bin/sh\n").chmod(0o755)
    write(item / "secret", b"key").chmod(0o600)
    write(item / "shared", b"all").chmod(0o666)
    write(item / "old", b"old")
    os.utime(item / "old", ns=(0, 1_000_000_001))
    write(item / "in 1905", b"older")
    os.utime(item / "in 1905", ns=(0, -2_051_222_400_000_000_001))
    os.link(item / "tool", item / "the same tool")
    for folder in ("empty", "nested/empty/folders", "with\nnewline"):
        (item / folder).mkdir(parents=True)
    (tmp_path / "in" / "an item of its own").mkdir()
    joblist = generate(tmp_path, tmp_path / "out")
    assert transfer(joblist).exit_code == 0
    assert everything(tmp_path / "out") == everything(tmp_path / "in")
    assert attributes(tmp_path / "out") == attributes(tmp_path / "in")
    assert len(receipts(joblist)) == 6


def make_specials(folder: Path) -> set[str]:
    """Make items without data; return the names."""
    os.mkfifo(folder / "a pipe")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as unix:
        unix.bind(os.path.relpath(folder / "socket", Path.cwd()))
    return {"a pipe", "socket"}


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_pipes_and_sockets_are_skipped_and_the_log_says_so(
    tmp_path: Path, s3: S3Raw, rclone_s3, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in" / "item" / "file", b"data")
    (tmp_path / "in" / "item" / "empty folder").mkdir()
    monkeypatch.chdir(tmp_path / "in" / "item")  # a socket's path may be 107 bytes long
    names = make_specials(tmp_path / "in" / "item")
    joblist = generate(tmp_path, tmp_path / "out" if where == "disk" else url_of(s3))
    assert transfer(joblist, env=rclone_s3.environment).exit_code == 0
    skipped = events(joblist / "item.txt", "skipped")
    assert len(skipped) == len(names)
    for name, what in (("a pipe", "pipe"), ("socket", "socket")):
        (line,) = [line for line in skipped if f"item/{name}" in line]
        assert f"a {what}, which holds no data" in line
    (success,) = events(joblist / "item.txt", "success")
    assert "files=1 " in success
    assert success.endswith(" skipped=2 attempt=1")
    if where == "disk":
        expected = {b"item", b"item/file", b"item/empty folder"}
        assert set(everything(tmp_path / "out")) == expected
    else:
        assert s3.paths() == {"item/file"}


# Links


def make_links(folder: Path) -> None:
    """Links inside the tree, to a file and to a folder."""
    write(folder / "real" / "file", b"linked to")
    (folder / "to file").symlink_to("real/file")
    (folder / "to folder").symlink_to("real")
    (folder / "absolute").symlink_to(folder / "real" / "file")


BAD_LINKS = {
    "dangling": ("nowhere", "No such file"),
    "outside": ("/etc", "outside"),
    "upwards": ("../other/file", "outside"),
    "loop": ("loop", "symbolic links"),
    "above": (".", "loops"),
}


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_links_inside_the_tree_are_followed(
    tmp_path: Path, s3: S3Raw, rclone_s3, where: str
) -> None:
    make_links(tmp_path / "in" / "item")
    joblist = generate(tmp_path, tmp_path / "out" if where == "disk" else url_of(s3))
    assert transfer(joblist, env=rclone_s3.environment).exit_code == 0
    raw = LocalRaw(str(tmp_path / "out")) if where == "disk" else s3
    names = ("absolute", "real/file", "to file", "to folder/file")
    assert raw.paths() == {f"item/{name}" for name in names}
    assert {raw.read(path) for path in raw.paths()} == {b"linked to"}
    assert not any(what == "link" for what, _ in everything(tmp_path / "out").values())


@pytest.mark.parametrize("name", BAD_LINKS)
def test_a_link_that_dangles_loops_or_leads_out_is_an_error_and_the_rest_is_sent(
    tmp_path: Path, name: str
) -> None:
    target, reason = BAD_LINKS[name]
    write(tmp_path / "in" / "other" / "file")
    write(tmp_path / "in" / "item" / "file")
    (tmp_path / "in" / "item" / name).symlink_to(target)
    joblist = generate(tmp_path, tmp_path / "out")
    assert transfer(joblist).exit_code == 1
    assert statuses(joblist) == {"item": "error", "other": "success"}
    (error,) = events(joblist / "item.txt", "error")
    assert f"item/{name}" in error
    assert reason in error
    assert contents(tmp_path / "out").keys() == {"item/file", "other/file"}


def test_links_may_be_left_out(tmp_path: Path) -> None:
    make_links(tmp_path / "in" / "item")
    for name, (target, _) in BAD_LINKS.items():
        (tmp_path / "in" / "item" / name).symlink_to(target)
    joblist = generate(tmp_path, tmp_path / "out", 'links = "skip"')
    assert transfer(joblist).exit_code == 0
    assert contents(tmp_path / "out") == {"item/real/file": b"linked to"}
    skipped = events(joblist / "item.txt", "skipped")
    assert len(skipped) == len(BAD_LINKS) + 3
    (line,) = [line for line in skipped if "item/dangling" in line]
    assert "a link to nowhere, and --links skip was asked for" in line


def test_any_link_may_be_an_error(tmp_path: Path) -> None:
    write(tmp_path / "in" / "item" / "file")
    (tmp_path / "in" / "item" / "link").symlink_to("file")
    joblist = generate(tmp_path, tmp_path / "out")
    assert transfer(joblist, "--links", "error").exit_code == 1
    (error,) = events(joblist / "item.txt", "error")
    assert "item/link is a link to file" in error
    run_ok("jobtool", "retry", joblist, "-v", 0)
    assert transfer(joblist).exit_code == 0


def test_links_may_be_kept_as_they_are_written(tmp_path: Path, s3: S3Raw, rclone_s3) -> None:
    make_links(tmp_path / "in" / "item")
    for name, (target, _) in BAD_LINKS.items():
        (tmp_path / "in" / "item" / name).symlink_to(target)
    joblist = generate(tmp_path, tmp_path / "out", 'links = "keep"')
    assert transfer(joblist).exit_code == 0
    assert everything(tmp_path / "out") == everything(tmp_path / "in")
    assert len(receipts(joblist)) == 1
    assert run("jobtool", "verify", joblist, "--deep").exit_code == 0

    # A link with another target is made anew. A file in its place is kept.
    (tmp_path / "in" / "item" / "dangling").unlink()
    (tmp_path / "in" / "item" / "dangling").symlink_to("somewhere")
    run_ok("jobtool", "retry", joblist, "--job", "item", "-v", 0)
    assert transfer(joblist).exit_code == 0
    assert everything(tmp_path / "out") == everything(tmp_path / "in")
    (tmp_path / "out" / "item" / "loop").unlink()
    write(tmp_path / "out" / "item" / "loop", b"mine")
    run_ok("jobtool", "retry", joblist, "--job", "item", "-v", 0)
    assert transfer(joblist).exit_code == 1
    (failed,) = events(joblist / "item.txt", "failed")
    assert "item/loop" in failed
    assert (tmp_path / "out" / "item" / "loop").read_bytes() == b"mine"


def test_kept_links_are_an_error_each_on_s3(tmp_path: Path, s3: S3Raw, rclone_s3) -> None:
    make_links(tmp_path / "in" / "item")
    joblist = generate(tmp_path, url_of(s3), 'links = "keep"')
    assert transfer(joblist, env=rclone_s3.environment).exit_code == 1
    failed = events(joblist / "item.txt", "failed")
    assert len(failed) == 3
    assert all("is a link" in line and url_of(s3) in line for line in failed)
    assert s3.paths() == {"item/real/file"}


# What can't be read


def test_a_file_that_can_not_be_read_is_an_error_that_names_it_and_the_others_are_sent(
    tmp_path: Path,
) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "in" / "item" / name, name.encode())
    (tmp_path / "in" / "item" / "b").chmod(0)
    joblist = generate(tmp_path, tmp_path / "out")
    done = run_without_superpowers("transfer-worker", "-i", joblist)
    assert (done.exit_code, done.stderr) == (1, "")
    (failed,) = events(joblist / "item.txt", "failed")
    assert "item/b" in failed
    assert "Permission denied" in failed
    assert contents(tmp_path / "out") == {"item/a": b"a", "item/c": b"c"}
    (tmp_path / "in" / "item" / "b").chmod(0o644)
    run_ok("jobtool", "retry", joblist, "--match", "Permission denied", "-v", 0)
    told = run_without_superpowers("transfer-worker", "-i", joblist, "--json", "-v", 3)
    sent = [json.loads(line) for line in told.lines if '"file"' in line]
    assert [event["source"] for event in sent] == [str(tmp_path / "in" / "item" / "b")]


def test_a_folder_that_can_not_be_listed_is_an_error_and_the_rest_is_sent(
    tmp_path: Path,
) -> None:
    write(tmp_path / "in" / "item" / "a")
    closed = write(tmp_path / "in" / "item" / "closed" / "b").parent
    write(tmp_path / "in" / "other" / "c")
    joblist = generate(tmp_path, tmp_path / "out")
    closed.chmod(0)
    try:
        done = run_without_superpowers("transfer-worker", "-i", joblist)
    finally:
        closed.chmod(0o755)
    assert (done.exit_code, done.stderr) == (1, "")
    assert statuses(joblist) == {"item": "error", "other": "success"}
    (error,) = events(joblist / "item.txt", "error")
    assert "item/closed" in error
    assert "Permission denied" in error
    assert contents(tmp_path / "out").keys() == {"item/a", "other/c"}


# What changes meanwhile


@contextlib.contextmanager
def growing(path: Path) -> Iterator[None]:
    """Append to a file during the block, as fast as possible."""
    is_over = threading.Event()

    def write_on() -> None:
        with path.open("ab", buffering=0) as file:
            while not is_over.is_set():
                file.write(b"x")
                time.sleep(0.0005)

    thread = threading.Thread(target=write_on)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextlib.contextmanager
def held_worker(joblist: Path, server) -> Iterator[tuple[object, object]]:
    """A worker that has listed its job and waits at a gate with the job's first file."""
    with gate_before(server.endpoint_url, allowed=0) as gate:
        env = {**server.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("transfer-worker", "-i", joblist, "--threads", 1, env=env)
        gate.wait_until_held()
        yield process, gate


def test_a_file_that_never_stops_growing_is_an_error_that_says_so(
    tmp_path: Path, s3: S3Raw, rclone_s3
) -> None:
    write(tmp_path / "in" / "item" / "1 first")
    log = write(tmp_path / "in" / "item" / "2 growing", b"start")
    write(tmp_path / "in" / "item" / "3 last")
    joblist = generate(tmp_path, url_of(s3), "max_attempts = 1")
    with held_worker(joblist, rclone_s3) as (process, gate):
        size = log.stat().st_size
        with growing(log):
            while log.stat().st_size == size:
                time.sleep(0.001)
            gate.open()
            done = finish(process)
    assert (done.exit_code, done.stderr) == (1, "")
    (failed,) = events(joblist / "item.txt", "failed")
    assert "2 growing" in failed
    assert "was changed while it was read" in failed
    assert "requires_intervention: true\n" in (joblist / "item.txt").read_text()
    assert s3.paths() == {"item/1 first", "item/3 last"}, "no state of it is published"


def test_a_file_that_stops_growing_is_sent_as_it_is_then(
    tmp_path: Path, s3: S3Raw, rclone_s3
) -> None:
    write(tmp_path / "in" / "item" / "1 first")
    log = write(tmp_path / "in" / "item" / "2 growing", b"start")
    shrunk = write(tmp_path / "in" / "item" / "3 shrinking", b"long" * 1000)
    joblist = generate(tmp_path, url_of(s3))
    with held_worker(joblist, rclone_s3) as (process, gate):
        with log.open("ab") as file:
            file.write(b" and more")
        shrunk.write_bytes(b"short")
        gate.open()
        assert finish(process).exit_code == 0
    found = {path.removeprefix("item/"): s3.read(path) for path in s3.paths()}
    assert found == contents(tmp_path / "in" / "item")
    (receipt,) = [one for one in receipts(joblist) if one.src_path == str(log)]
    data = b"start and more"
    assert (receipt.size, receipt.mtime_ns) == (len(data), log.stat().st_mtime_ns)
    assert receipt.hashsum_src == receipt.hashsum_dst == hashlib.md5(data).hexdigest()


def test_a_file_that_vanishes_is_an_error_that_names_it(
    tmp_path: Path, s3: S3Raw, rclone_s3
) -> None:
    write(tmp_path / "in" / "item" / "1 first")
    gone = write(tmp_path / "in" / "item" / "2 gone")
    write(tmp_path / "in" / "item" / "3 last")
    joblist = generate(tmp_path, url_of(s3))
    with held_worker(joblist, rclone_s3) as (process, gate):
        gone.unlink()
        gate.open()
        assert finish(process).exit_code == 1
    assert status_of(joblist / "item.txt") == "error"
    (failed,) = events(joblist / "item.txt", "failed")
    assert "2 gone" in failed
    assert "found nothing" in failed
    assert s3.paths() == {"item/1 first", "item/3 last"}
