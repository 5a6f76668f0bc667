"""Receipts as md5sum, sha256sum and bagit.py read them: by these programs themselves."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import bagit
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import jobtool
from jobtool.jobs.joblist import JobList
from jobtool.jobs.table import write_table
from jobtool.report.checksums import sum_line
from tests.commands import assert_one_line_error, run, run_ok
from tests.prepare import prepare
from tests.trees import contents, make_items, write

HOSTILE = [
    "new\nline",
    "\\back\\slash\\",
    "-dash",
    " blank",
    "blank ",
    "car\rriage",
    "car\r",
    "\\n",
    "quote'\"",
    "*star",
    "#hash",
    "ä",
    "not UTF-8 \udcff",
]


def transferred(tmp_path: Path, destination: object, names: list[str], env=None) -> Path:
    items = make_items(tmp_path / "in", 2)
    for name in names:
        write(items / "item000" / name / name, os.fsencode(name))
    joblist = tmp_path / "list"
    paths = ("-i", items, "-o", joblist, "-d", destination, "-l", "tree")
    prepare("generate-joblist", *paths, env=env)
    prepare("transfer-worker", joblist, env=env)
    return joblist


def check(program: str, sums: Path, folder: Path) -> subprocess.CompletedProcess[bytes]:
    options = ["--strict", "--quiet", "-c"]
    return subprocess.run([program, *options, str(sums)], cwd=folder, capture_output=True)


@pytest.mark.parametrize("form", ["md5sum", "sha256sum"])
def test_coreutils_accept_the_lines_and_find_what_is_damaged(tmp_path: Path, form: str) -> None:
    joblist = transferred(tmp_path, tmp_path / "out", HOSTILE)
    sums = tmp_path / "sums"
    more = ("--read",) if form == "sha256sum" else ()
    told = run_ok("jobtool", "receipts", joblist, "--format", form, "-o", sums, *more)
    assert f"Wrote {len(HOSTILE) + 4} receipt(s)" in told.stdout
    done = check(form, sums, tmp_path / "out")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert sums.read_bytes().count(b"\n") == len(HOSTILE) + 4
    write(tmp_path / "out" / "item000" / "new\nline" / "new\nline", b"changed")
    assert check(form, sums, tmp_path / "out").returncode == 1


def test_a_job_has_its_own_folder_as_the_base(tmp_path: Path) -> None:
    joblist = transferred(tmp_path, tmp_path / "out", [])
    arguments = ("jobtool", "receipts", joblist, "--format", "md5sum", "-o", tmp_path / "sums")
    run_ok(*arguments, "--job", "item001")
    assert sorted(line.split()[1] for line in (tmp_path / "sums").read_text().splitlines()) == [
        "0.bin",
        "1.bin",
    ]
    assert check("md5sum", tmp_path / "sums", tmp_path / "out" / "item001").returncode == 0
    run_ok(*arguments, "--relative-to", tmp_path)
    assert check("md5sum", tmp_path / "sums", tmp_path).returncode == 0
    assert "out/item000/0.bin" in (tmp_path / "sums").read_text()
    run_ok(*arguments, "--relative-to", tmp_path / "in")  # whole paths are right from anywhere
    assert check("md5sum", tmp_path / "sums", Path("/")).returncode == 0
    assert_one_line_error(run(*arguments, "--job", "item01"), 2, "Did you mean item001?")


def test_a_dash_is_a_file(tmp_path: Path) -> None:
    """md5sum takes a dash for its standard input."""
    write(tmp_path / "in" / "item" / "-", b"a file")
    joblist = tmp_path / "list"
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", joblist, "-d", tmp_path / "out")
    prepare("transfer-worker", joblist)
    for folder, options in (("out", ()), ("out/item", ("--job", "item"))):
        arguments = ("--format", "md5sum", "-o", tmp_path / "sums", *options)
        run_ok("jobtool", "receipts", joblist, *arguments)
        assert check("md5sum", tmp_path / "sums", tmp_path / folder).returncode == 0


def test_a_receipt_that_proves_nothing_gives_no_digest(tmp_path: Path) -> None:
    joblist = transferred(tmp_path, tmp_path / "out", [])
    table = joblist / "receipts" / "item000.parquet"
    first, *others = JobList.open(str(joblist)).receipts_of("item000")
    write_table(str(table), [replace(first, hashsum_src="0" * 32), *others])
    arguments = ("jobtool", "receipts", joblist, "--format", "md5sum", "-o", tmp_path / "sums")
    assert_one_line_error(run(*arguments), 1, "1 of 4 file(s)", "MD5", "--read")
    run_ok(*arguments, "--read")
    assert check("md5sum", tmp_path / "sums", tmp_path / "out").returncode == 0


def test_compressed_files_have_the_digests_of_what_is_stored(tmp_path: Path) -> None:
    items = tmp_path / "in" / "item"
    write(items / "a", b"a" * 100_000)
    joblist = tmp_path / "list"
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", joblist, "-d", tmp_path / "out")
    prepare("transfer-worker", joblist, "--compression", "zstd")
    for form, more in (("md5sum", ()), ("sha256sum", ("--read",))):
        run_ok("jobtool", "receipts", joblist, "--format", form, "-o", tmp_path / form, *more)
        assert b"a.zst" in (tmp_path / form).read_bytes()
        assert check(form, tmp_path / form, tmp_path / "out").returncode == 0


def test_no_digest_is_made_up(tmp_path: Path) -> None:
    joblist = transferred(tmp_path, tmp_path / "out", [])
    arguments = ("jobtool", "receipts", joblist, "--format", "sha256sum", "-o", tmp_path / "sums")
    done = run(*arguments)
    assert_one_line_error(done, 1, "4 of 4 file(s)", "SHA-256", "--format md5sum", "--read")
    changed = tmp_path / "out" / "item000" / "0.bin"
    data = changed.read_bytes()
    changed.write_bytes(b"x" * len(data))
    assert_one_line_error(run(*arguments, "--read"), 1, str(changed), "by its receipt")
    changed.unlink()
    assert_one_line_error(run(*arguments, "--read"), 1, str(changed))
    assert sorted(os.listdir(tmp_path)) == ["in", "list", "out"]
    with pytest.raises(jobtool.UsageError, match="format: expected one of md5sum"):
        jobtool.write_checksums(joblist, tmp_path / "sums", format="sha1")  # type: ignore[arg-type]
    table = ("jobtool", "receipts", joblist, "-o", tmp_path / "t.csv", "--job", "item000")
    assert_one_line_error(run(*table), 2, "--job", "--format")


def test_objects_are_read_for_their_sha256s(tmp_path: Path, rclone_s3) -> None:
    bucket, env = rclone_s3.new_bucket(), rclone_s3.environment
    joblist = transferred(tmp_path, f"s3://{bucket}/p", ["new\nline", "ä"], env=env)
    for form, more in (("md5sum", ()), ("sha256sum", ("--read",))):
        arguments = ("--format", form, "-o", tmp_path / form, *more)
        run_ok("jobtool", "receipts", joblist, *arguments, env=env)
        assert check(form, tmp_path / form, tmp_path / "in").returncode == 0
    other = ("--format", "md5sum", "-o", tmp_path / "x", "--relative-to", f"s3://{bucket}/q")
    assert_one_line_error(run("jobtool", "receipts", joblist, *other, env=env), 2, "--relative-to")


@given(name=st.text(st.characters(blacklist_characters="\0/"), min_size=1))
def test_a_line_is_one_line_that_md5sum_reads_back(name: str) -> None:
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return
    line = sum_line("0" * 32, name)
    assert line.count(b"\n") == 1
    escaped, _, found = (
        line[:-1].rpartition(b"0" * 32 + b"  ") if b"0" * 32 not in raw else (b"", b"", b"")
    )
    if found and escaped == b"\\":
        codes = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}
        out, at = b"", 0
        while at < len(found):
            pair = found[at : at + 2]
            out += codes.get(pair, found[at : at + 1])
            at += 2 if pair in codes else 1
        found = out
    assert found in (b"./-" if raw == b"-" else raw, b"")


# Bags.


def is_valid(folder: Path) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "bagit", "--validate", str(folder)], capture_output=True, text=True
    )
    return done.returncode == 0


def test_a_destination_named_data_becomes_a_bag(tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    fitting = ["new\nline", "\\back\\slash\\", " blank", "quote'\"", "ä", "car\rriage"]
    joblist = transferred(tmp_path, bag / "data", fitting)
    run_ok("jobtool", "receipts", joblist, "--format", "bagit", "-o", bag)
    assert sorted(os.listdir(bag)) == [
        "bag-info.txt",
        "bagit.txt",
        "data",
        "manifest-md5.txt",
        "tagmanifest-md5.txt",
    ]
    assert is_valid(bag)
    run_ok("jobtool", "receipts", joblist, "--format", "bagit", "-o", bag)  # again
    assert is_valid(bag)
    write(bag / "data" / "stranger")
    done = run("jobtool", "receipts", joblist, "--format", "bagit", "-o", bag)
    assert_one_line_error(done, 1, "no others", "found 11 files")
    (bag / "data" / "stranger").unlink()
    write(bag / "data" / "item000" / "0.bin", b"damaged")
    assert not is_valid(bag)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_elsewhere_a_bag_says_where_its_files_are(tmp_path: Path, rclone_s3, kind: str) -> None:
    bucket, env = rclone_s3.new_bucket(), rclone_s3.environment
    destination = f"s3://{bucket}/p" if kind == "s3" else tmp_path / "out"
    joblist = transferred(tmp_path, destination, ["new\nline", "ä %25", "a b"], env=env)
    bag = tmp_path / "bag"
    run_ok("jobtool", "receipts", joblist, "--format", "bagit", "-o", bag, env=env)
    assert not is_valid(bag)  # it has holes
    opened = bagit.Bag(str(bag))
    fetched = 0
    for url, size, name in opened.fetch_entries():
        path = bag / name.replace("%0A", "\n")  # which bagit.py leaves to its callers
        path.parent.mkdir(parents=True, exist_ok=True)
        place = urlsplit(url)
        key = unquote_to_bytes(place.path).decode()
        if kind == "s3":
            assert place.netloc == bucket
            rclone_s3.client.download_file(bucket, key[1:], str(path))
        else:
            shutil.copy(key, path)
        assert path.stat().st_size == int(size)
        fetched += 1
    assert fetched == 7
    assert is_valid(bag)
    assert contents(bag / "data") == contents(tmp_path / "in")


@pytest.mark.parametrize("name", ["not UTF-8 \udcff", "blank ", "%0A"])
def test_a_name_that_a_bag_cant_have_is_refused(tmp_path: Path, name: str) -> None:
    bag = tmp_path / "bag"
    joblist = transferred(tmp_path, bag / "data", [name])
    done = run("jobtool", "receipts", joblist, "--format", "bagit", "-o", bag)
    assert_one_line_error(done, 1, "as BagIt writes names", "--format md5sum")
    assert os.listdir(bag) == ["data"]


def test_the_function_writes_what_the_command_writes(tmp_path: Path) -> None:
    joblist = transferred(tmp_path, tmp_path / "out", [])
    assert jobtool.write_checksums(joblist, tmp_path / "sums", format="sha256sum", read=True) == 4
    path = tmp_path / "out" / "item000" / "0.bin"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"{digest}  item000/0.bin\n" in (tmp_path / "sums").read_text()
